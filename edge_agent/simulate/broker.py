"""An MQTT 5 broker inside `edge-agent --simulate`, so that the whole path runs with nothing else installed.

It is rumqttd, which iotcore carries in its wheel, in a child process that listens on loopback alone.
"""

from __future__ import annotations

import signal
import socket
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from edge_agent.errors import Unavailable
from edge_agent.version import install_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

HOST: Final = "127.0.0.1"
_CONFIG: Final = """
id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 16777216
max_segment_count = 4
[v5.1]
name = "v5"
listen = "{host}:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 1048576
max_inflight_count = 100
dynamic_filters = true
"""
"""One listener, MQTT 5 only: with a second one for 3.1.1, rumqttd panics when a property reaches its subscriber."""


class EmbeddedBroker:
    """A broker on a free loopback port, for as long as the `with` block lasts."""

    def __init__(self) -> None:
        self.port = _free_port()

    @property
    def url(self) -> str:
        """URL for clients, `mqtt://127.0.0.1:PORT`."""
        return f"mqtt://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            Unavailable: it is not installed, or does not start.
        """
        try:
            from iotcore import Broker  # noqa: PLC0415 an extra
        except ImportError:
            raise Unavailable(
                f"the embedded broker is not installed: {install_command('simulate')}; or give --broker URL"
            ) from None
        self._directory = tempfile.TemporaryDirectory(prefix="edge-agent-broker-")
        path = Path(self._directory.name) / "rumqttd.toml"
        path.write_text(_CONFIG.format(host=HOST, port=self.port), encoding="ascii")
        self._broker = Broker(config_path=str(path))
        try:
            with _signals_ignored():
                self._broker.start()
        except (OSError, RuntimeError) as error:
            self._directory.cleanup()
            raise Unavailable(f"the embedded broker does not start: {error}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        # The child ends when its standard input is closed, as it is when the parent ends; it ignores SIGTERM.
        child = self._broker._process  # noqa: SLF001 there is no other way to it
        if child is not None and child.stdin is not None:
            child.stdin.close()
        self._broker.stop()
        self._directory.cleanup()


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """A child that is started meanwhile ignores SIGINT and SIGTERM: the broker must outlive the client's disconnect."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python leaves signals to the main thread
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
