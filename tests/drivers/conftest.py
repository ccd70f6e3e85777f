"""A bus that plays one script: any other transfer fails, and so does one that was expected and never came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class ScriptedI2C:
    """The transfers that a driver must make, in order: what it writes, and what it is answered."""

    script: list[tuple[bytes, bytes | Exception]] = field(default_factory=list)
    addresses: set[int] = field(default_factory=set)

    def expect(self, write: bytes, answer: bytes | Exception = b"") -> None:
        """Add one transfer; it must ask for as many bytes as the answer has."""
        self.script.append((write, answer))

    def transfer(self, address: int, write: bytes, read: int) -> bytes:
        """As I2CBus."""
        self.addresses.add(address)
        assert self.script, f"unexpected transfer: {write.hex()}, {read} to read"
        expected, answer = self.script.pop(0)
        assert write.hex() == expected.hex()
        if isinstance(answer, Exception):
            raise answer
        assert read == len(answer)
        return answer

    def ping(self, address: int) -> bool:
        """As I2CBus; no driver needs it."""
        raise AssertionError(address)

    def close(self) -> None:
        """As I2CBus."""


@pytest.fixture
def i2c() -> Iterator[ScriptedI2C]:
    bus = ScriptedI2C()
    yield bus
    assert bus.script == [], "transfers that never came"
    assert len(bus.addresses) <= 1
