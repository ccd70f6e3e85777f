"""Lets Sensirion's own drivers read the simulated chips: what their connection calls a transceiver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sensirion_i2c_driver import I2cConnection

from edge_agent.errors import BusError

if TYPE_CHECKING:
    from edge_agent.clock import SimulatedClock
    from edge_agent.simulate.i2c import SimulatedI2C

_OK: Final = 0
_NACK: Final = 2


class Transceiver:
    """One simulated adapter. Delays pass on the simulated clock."""

    API_VERSION: Final = 1
    description: Final = "simulated"
    channel_count: Final = None

    def __init__(self, bus: SimulatedI2C, clock: SimulatedClock) -> None:
        self._bus = bus
        self._clock = clock

    def transceive(
        self, slave_address: int, tx_data: bytes | None, rx_length: int | None, read_delay: float, timeout: float
    ) -> tuple[int, Exception | None, bytes]:
        """Write, wait, read; each with its own STOP."""
        del timeout
        try:
            if tx_data is not None:
                self._bus.transfer(slave_address, tx_data, 0)
            self._clock.advance_to(self._clock.now_ns() + round(read_delay * 1e9))
            reply = self._bus.transfer(slave_address, b"", rx_length) if rx_length else b""
        except BusError as error:
            return _NACK, error, b""
        return _OK, None, reply


def connection(bus: SimulatedI2C, clock: SimulatedClock) -> I2cConnection:
    """What their devices take."""
    return I2cConnection(Transceiver(bus, clock))
