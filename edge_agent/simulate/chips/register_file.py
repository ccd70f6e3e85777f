"""Numbered registers behind a pointer: what most chips of this folder look like from the bus."""

from __future__ import annotations


class RegisterFile:
    """256 registers. A chip derives from it and says what its registers do.

    Args:
        pairs: a write is pairs of register and value, as at Bosch; otherwise one register, then its value and those
            of the following.

    Attributes:
        registers: what stands in them now.
    """

    def __init__(self, *, pairs: bool = False) -> None:
        self.registers = bytearray(256)
        self._pairs = pairs
        self._pointer = 0

    def write(self, data: bytes) -> None:
        """Set registers. A number without a value moves the pointer; nothing at all only probes the address."""
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
        """Registers from the pointer on; it stays behind the last one. One burst shows one moment."""
        self.settle()
        reply = bytearray()
        for _ in range(count):
            reply.append(self.fetch(self._pointer))
            self._pointer = self.next_register(self._pointer)
        return bytes(reply)

    def power_cycle(self) -> None:
        """Zeros everywhere, pointer included. A chip adds what it starts with."""
        self.registers = bytearray(256)
        self._pointer = 0

    def settle(self) -> None:
        """Bring the registers up to the present moment. Called before every access."""

    def store(self, register: int, value: int) -> None:
        """Take a value that the controller writes."""
        self.registers[register] = value

    def fetch(self, register: int) -> int:
        """Give a value that the controller reads."""
        return self.registers[register]

    def first_register(self, number: int) -> int:
        """Which register a number on the wire means."""
        return number

    def next_register(self, register: int) -> int:
        """Where the pointer goes from a register."""
        return (register + 1) % 256
