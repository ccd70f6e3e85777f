"""The production serial port on a simulated line whose devices also send by themselves, on the simulated clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.bus.base import Listener, SerialPort
    from edge_agent.simulate.uart import PtyDevice


class SimulatedPort:
    """Implements `bus.base.SerialPort`: before anybody listens, the devices send what is due by their clock.

    Args:
        device: the line.
        port: the production port, opened on the line's `path`.
    """

    def __init__(self, device: PtyDevice, port: SerialPort) -> None:
        self._device = device
        self._port = port
        self._ear = port.listen()

    def exchange(
        self,
        request: bytes,
        *,
        reply_length: int,
        timeout_s: float,
        complete: Callable[[bytes], bool] | None = None,
    ) -> bytes:
        """As the production port."""
        if self._device.talkers:
            self.hear()
        return self._port.exchange(request, reply_length=reply_length, timeout_s=timeout_s, complete=complete)

    def listen(self) -> SimulatedListener:
        """As the production port."""
        return SimulatedListener(self, self._port.listen())

    def close(self) -> None:
        """Close the production port; the line stays."""
        self._port.close()

    def hear(self) -> None:
        """Let the devices send what is due, and the production port take it. Raises as that does."""
        self._ear.take()  # open it first: what came before is not for us
        self._device.speak(self._ear.take)


class SimulatedListener:
    """Implements `bus.base.Listener`."""

    def __init__(self, port: SimulatedPort, listener: Listener) -> None:
        self._port = port
        self._listener = listener

    @property
    def lost(self) -> int:
        """As the production listener."""
        return self._listener.lost

    def take(self) -> bytes:
        """As the production listener."""
        self._port.hear()
        return self._listener.take()
