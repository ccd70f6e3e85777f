"""Numbered registers with a pointer, as most chips of this folder have them."""

from __future__ import annotations


class RegisterFile:
    """256 registers. Chips derive from it and define what their registers do.

    Args:
        pairs: a write is pairs of register and value, as at Bosch; otherwise one register, then its value and those
            of the following.

    Attributes:
        registers: their present contents.
    """

    def __init__(self, *, pairs: bool = False) -> None:
        self.registers = bytearray(256)
        self._pairs = pairs
        self._pointer = 0

    def write(self, data: bytes) -> None:
        """Set registers. A number without a value sets the pointer; an empty write probes the address."""
        self.settle()
        if self._pairs:
            for register, value in zip(data[::2], data[1::2], strict=False):
                self._pointer = register
                self.store(register, value)
            if len(data) % 2:
                self._pointer = data[-1]
        elif data:
            self._pointer = self.first_register(data[0])
            for value in data[1:]:
                self.store(self._pointer, value)
                self._pointer = self.next_register(self._pointer)

    def read(self, count: int) -> bytes:
        """Registers from the pointer on, all of one moment. The pointer then follows the last one."""
        self.settle()
        reply = bytearray()
        for _ in range(count):
            reply.append(self.fetch(self._pointer))
            self._pointer = self.next_register(self._pointer)
        return bytes(reply)

    def power_cycle(self) -> None:
        """Set all registers and the pointer to zero. Chips add their power-on values."""
        self.registers = bytearray(256)
        self._pointer = 0

    def settle(self) -> None:
        """Bring the registers up to the present moment. Called before every access."""

    def store(self, register: int, value: int) -> None:
        """Write one register; chips override it."""
        self.registers[register] = value

    def fetch(self, register: int) -> int:
        """Read one register; chips override it."""
        return self.registers[register]

    def first_register(self, number: int) -> int:
        """The register for a number that the controller sends."""
        return number

    def next_register(self, register: int) -> int:
        """The register to which the pointer moves after one."""
        return (register + 1) % 256
