"""Access to registers with 8-bit numbers, and a checked read of calibrations without a checksum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.errors import BadReply

if TYPE_CHECKING:
    from edge_agent.bus.base import I2CBus


class Registers:
    """One chip's registers. All calls raise what the bus raises.

    Args:
        bus: its adapter.
        address: 7-bit.
    """

    def __init__(self, bus: I2CBus, address: int) -> None:
        self.bus = bus
        self.address = address

    def read(self, register: int, count: int = 1) -> bytes:
        """Read `count` registers in one burst."""
        return self.bus.transfer(self.address, bytes((register,)), count)

    def write(self, register: int, value: int) -> None:
        """Write one register."""
        self.bus.transfer(self.address, bytes((register, value)), 0)

    def read_calibration(self, register: int, count: int) -> bytes:
        """Read a calibration twice and compare, because a damaged bit would affect all later measurements.

        Raises:
            BadReply: the two differ, or are all zeros or all ones: the chip is gone or still starting.
        """
        first, second = self.read(register, count), self.read(register, count)
        if first != second:
            raise BadReply(
                f"the calibration reads {first.hex()} and then {second.hex()}: look for long wires, missing pull-ups "
                "or a too fast bus"
            )
        if set(first) in ({0x00}, {0xFF}):
            raise BadReply(f"calibration is all {first[0]:#04x}: the chip vanished or is still starting")
        return first
