"""A simulated I2C adapter: chips by address, one transfer core, faults on command, a log for tests."""

from __future__ import annotations

import errno
import threading
from collections import deque
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

from edge_agent.clock import NS_PER_S
from edge_agent.errors import BusError, BusTimeout, NoAcknowledge
from edge_agent.simulate.chips.base import Nack

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.clock import Clock
    from edge_agent.simulate.chips.base import I2CChip


class Transaction(NamedTuple):
    """One entry of the log.

    Attributes:
        boot_ns: when, ns since boot.
        address: 7-bit.
        write: what was sent.
        read: what came back; None if the transfer failed.
    """

    boot_ns: int
    address: int
    write: bytes
    read: bytes | None


class SimulatedI2C:
    """One adapter with chips on it. Implements `bus.base.I2CBus`.

    Limits: bytes take no time on the wire, and no chip stretches the clock.

    Args:
        clock: stamps the log; a stuck bus lets `timeout_s` pass on it, as the kernel would.
        name: for messages.
        log_limit: how many transactions `log` keeps; 0 keeps none.
        timeout_s: how long the adapter waits on a stuck bus before it gives up.
    """

    def __init__(self, clock: Clock, *, name: str = "i2c", log_limit: int = 0, timeout_s: float = 1.0) -> None:
        self._clock = clock
        self._name = name
        self._timeout_ns = round(timeout_s * NS_PER_S)
        self._chips: dict[int, list[I2CChip]] = {}
        self._unplugged: dict[int, list[I2CChip]] = {}
        self._glitches: deque[int] = deque()
        self.stuck = False
        self.transfers = 0
        self.log: deque[Transaction] = deque(maxlen=log_limit)

    def attach(self, address: int, chip: I2CChip) -> None:
        """Wire a chip that has long been powered. A second one at the address answers at the same time."""
        self._chips.setdefault(address, []).append(chip)

    def chips_at(self, address: int) -> tuple[I2CChip, ...]:
        """What is wired at the address now."""
        return tuple(self._chips.get(address, ()))

    def unplug(self, address: int) -> None:
        """Take away everything at the address."""
        self._unplugged[address] = self._chips.pop(address, [])

    def plug(self, address: int, chip: I2CChip | None = None) -> None:
        """Put in `chip`, or what was unplugged there; it starts afresh."""
        for arrival in [chip] if chip is not None else self._unplugged.pop(address, []):
            arrival.power_cycle()
            self.attach(address, arrival)

    def power_cycle(self) -> None:
        """Switch the supply of every chip off and on, which also frees a stuck bus."""
        self.stuck = False
        for chips in self._chips.values():
            for chip in chips:
                chip.power_cycle()

    def recover(self) -> None:
        """Clock out whoever holds the data line (UM10204 section 3.1.16)."""
        self.stuck = False

    def fail_next(self, count: int = 1, code: int = errno.EREMOTEIO) -> None:
        """Let the next `count` transfers fail with an errno, whatever their address."""
        self._glitches.extend([code] * count)

    def transfer(self, address: int, write: bytes, read: int) -> bytes:
        """Write, then read with a repeated start.

        Raises:
            NoAcknowledge: errno 121; nobody is there, or busy, or does not know the command.
            BusTimeout: errno 110; the bus is stuck.
            BusError: another errno that `fail_next` was told.
        """
        self.transfers += 1
        try:
            reply = self._transfer(address, write, read)
        except BusError:
            self._note(address, write, None)
            raise
        self._note(address, write, reply)
        return reply

    def ping(self, address: int) -> bool:
        """Whether something acknowledges the address. Raises BusTimeout when the bus is stuck."""
        try:
            self.transfer(address, b"", 0)
        except NoAcknowledge:
            return False
        return True

    def close(self) -> None:
        """Nothing is held."""

    def _transfer(self, address: int, write: bytes, read: int) -> bytes:
        if self.stuck:
            self._clock.wait(threading.Event(), self._clock.now_ns() + self._timeout_ns)
            raise self._failure(address, errno.ETIMEDOUT)
        if self._glitches:
            raise self._failure(address, self._glitches.popleft())
        chips = self._chips.get(address, ())
        if write or not read:
            chips = [chip for chip in chips if _acknowledges(chip.write, write)]
        if not read and chips:
            return b""
        replies = [reply for chip in chips if (reply := _read(chip, read)) is not None]
        if not replies:
            raise self._failure(address, errno.EREMOTEIO)
        # An open-drain line is low when anyone pulls it low.
        return reduce(lambda one, other: bytes(a & b for a, b in zip(one, other, strict=True)), replies)

    def _failure(self, address: int, code: int) -> BusError:
        if code in {errno.EREMOTEIO, errno.ENXIO}:
            return NoAcknowledge(f"no chip acknowledges address {address:#04x} on {self._name}", errno=code)
        if code == errno.ETIMEDOUT:
            return BusTimeout(f"{self._name} is stuck: a chip holds a line low", errno=code)
        return BusError(f"the transfer to address {address:#04x} on {self._name} failed", errno=code)

    def _note(self, address: int, write: bytes, read: bytes | None) -> None:
        if self.log.maxlen:
            self.log.append(Transaction(self._clock.now_ns(), address, bytes(write), read))


def _acknowledges(call: Callable[[bytes], None], data: bytes) -> bool:
    try:
        call(data)
    except Nack:
        return False
    return True


def _read(chip: I2CChip, count: int) -> bytes | None:
    try:
        return chip.read(count)
    except Nack:
        return None
