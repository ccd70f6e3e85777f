"""Fixtures that start programs and end them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.program import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def record() -> Iterator[Callable[..., Recorder]]:
    """Starts recorders at a port, of everything or of the given topics, and ends them after the test."""
    started: list[Recorder] = []

    def start(port: int, topics: str = "edge/#") -> Recorder:
        recorder = Recorder(port, topics)
        recorder.__enter__()
        started.append(recorder)
        return recorder

    yield start
    for recorder in started:
        recorder.__exit__()


@pytest.fixture
def start_edge_agent() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `edge-agent` in the background, and ends it after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "edge_agent", *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
