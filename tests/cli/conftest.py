"""The command line, called as a user does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Calls `edge-agent` and returns exit code, stdout and stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        try:
            main(arguments)
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
