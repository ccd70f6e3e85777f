"""What tests of several folders share."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from edge_agent.clock import NS_PER_S, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# What lands is judged by the same examples every time; new ones are looked for wherever else the tests run.
# Tests assert what the program does, not how long that takes on a machine that does something else as well.
settings.register_profile("anywhere", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "anywhere")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of the shared measurement data, beside the repository or where EDGE_AGENT_SHARED says."""
    named = os.environ.get("EDGE_AGENT_SHARED")
    folder = Path(named) if named else Path(__file__).parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set EDGE_AGENT_SHARED to where it is")
    return folder


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@dataclass
class Mosquitto:
    """A real broker on a loopback port."""

    program: str
    directory: Path
    port: int
    settings: str
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        config = self.directory / f"mosquitto-{self.port}.conf"
        listener = f"listener {self.port} 127.0.0.1\n"
        config.write_text(f"user root\n{listener}{self.settings}\n", encoding="ascii")
        log = self.directory / f"mosquitto-{self.port}.log"
        with log.open("ab") as out:
            self.process = subprocess.Popen([self.program, "-c", str(config)], stdout=out, stderr=out)
        clock, never = SystemClock(), threading.Event()
        deadline_ns = clock.now_ns() + 10 * NS_PER_S
        while not _accepts(self.port):
            assert self.process.poll() is None, log.read_text()
            assert clock.now_ns() < deadline_ns, log.read_text()
            clock.wait(never, clock.now_ns() + NS_PER_S // 100)

    def kill(self) -> None:
        """End it without a goodbye."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def restart(self) -> None:
        """Start it again at the same port; it remembers nothing."""
        self.kill()
        self.start()


@pytest.fixture
def start_mosquitto(tmp_path: Path) -> Iterator[Callable[[str], Mosquitto]]:
    """Starts brokers with the given lines in their configuration, and ends them after the test."""
    program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if program is None:
        reason = "mosquitto is not installed: apt install mosquitto"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    started: list[Mosquitto] = []

    def start(settings: str) -> Mosquitto:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        broker = Mosquitto(program, tmp_path, port, settings)
        started.append(broker)
        broker.start()
        return broker

    yield start
    for broker in started:
        broker.kill()


@pytest.fixture
def mosquitto(start_mosquitto: Callable[[str], Mosquitto]) -> Mosquitto:
    """A broker that lets everybody in."""
    return start_mosquitto("allow_anonymous true")
