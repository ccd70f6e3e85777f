"""The production serial port on a simulated line. Devices that send by themselves do so by the simulated clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.bus.base import Listener, SerialPort
    from edge_agent.simulate.uart import PtyDevice


class SimulatedPort:
    """Implements `bus.base.SerialPort`. Before each read the devices send what is due by the simulated clock.

    Args:
        device: the simulated line.
        port: the production port, opened on the `path` of the line.
    """

    def __init__(self, device: PtyDevice, port: SerialPort) -> None:
        self._device = device
        self._port = port
        self._listener = port.listen()

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
            self.receive_due()
        return self._port.exchange(request, reply_length=reply_length, timeout_s=timeout_s, complete=complete)

    def listen(self) -> SimulatedListener:
        """As the production port."""
        return SimulatedListener(self, self._port.listen())

    def close(self) -> None:
        """Close the production port; the simulated line stays."""
        self._port.close()

    def receive_due(self) -> None:
        """Let the devices send what is due, and the production port read it. Raises as that port does."""
        self._listener.take()  # opens the port first: what was sent before is lost
        self._device.speak(self._listener.take)


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
        self._port.receive_due()
        return self._listener.take()
