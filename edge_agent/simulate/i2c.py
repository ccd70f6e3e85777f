"""A simulated I2C adapter: transfers to the chip models on it, faults that can be injected, and a log for tests."""

from __future__ import annotations

import errno
import threading
from collections import deque
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.clock import NS_PER_S
from edge_agent.errors import BusDenied, BusError, BusGone, BusTimeout, NoAcknowledge
from edge_agent.simulate.chips.base import Nack
from edge_agent.simulate.segment import Segment

if TYPE_CHECKING:
    from edge_agent.clock import Clock

_BITS_PER_BYTE: Final = 9
"""Eight and the acknowledge."""
_BITS_AROUND: Final = 2
"""START and STOP."""
_LONGEST_STRETCH_NS: Final = 35_000_000
"""Default clk_tout_ms of i2c-bcm2835."""


class Transaction(NamedTuple):
    """One entry of the log.

    Attributes:
        boot_ns: when it began, ns since boot.
        address: 7-bit.
        write: what was sent.
        read: what came back; None if the transfer failed.
    """

    boot_ns: int
    address: int
    write: bytes
    read: bytes | None


@dataclass(slots=True)
class _Failure:
    """The next `count` transfers, with one address or with any, that fail with an error code."""

    count: int
    code: int
    address: int | None


@dataclass(slots=True)
class _Damage:
    """Bits to invert in one byte of the next reply that is long enough, from one address or from any."""

    byte_index: int
    mask: int
    address: int | None


class SimulatedI2C(Segment):
    """One adapter with chips on it. Implements `bus.base.I2CBus`.

    Args:
        clock: stamps the log. The duration of each transfer passes on it, for the caller.
        name: for messages.
        log_limit: how many transactions `log` keeps; 0 keeps none.
        timeout_s: how long the adapter waits on a stuck bus.
        bit_hz: clock rate of the bus, 100 000 in standard mode; 0: transfers take no time.
        absent_errno: error code for a missing acknowledge: EREMOTEIO, or ENXIO as with i2c-gpio.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        name: str = "i2c",
        log_limit: int = 0,
        timeout_s: float = 1.0,
        bit_hz: int = 0,
        absent_errno: int = errno.EREMOTEIO,
    ) -> None:
        super().__init__()
        self._clock = clock
        self._name = name
        self._timeout_ns = round(timeout_s * NS_PER_S)
        self._bit_ns = NS_PER_S // bit_hz if bit_hz else 0
        self._absent_errno = absent_errno
        self._failures: list[_Failure] = []
        self._damages: list[_Damage] = []
        self._delays_ns: dict[int, int] = {}
        self._stretches_ns: dict[int, int] = {}
        self._claimed: dict[int, str] = {}
        self._sticks_after: int | None = None
        self._thread: int | None = None
        self._never = threading.Event()
        self.gone = False
        self.stuck = False
        self.transfers = 0
        self.bytes_moved = 0
        self.log: deque[Transaction] = deque(maxlen=log_limit)

    def power_cycle(self) -> None:
        """Switch the supply of every chip off and on. This also frees a stuck bus."""
        self.recover()
        super().power_cycle()

    def stick_after(self, transfers: int) -> None:
        """After so many more transfers a chip holds the data line low, until `recover` or a power cycle."""
        self._sticks_after = transfers

    def recover(self) -> None:
        """Free the data line, as clock pulses do (UM10204 section 3.1.16)."""
        self.stuck = False
        self._sticks_after = None

    def fail_next(self, count: int = 1, code: int = errno.EREMOTEIO, *, address: int | None = None) -> None:
        """Let the next `count` transfers fail with an error code: those with one address, or all."""
        self._failures.append(_Failure(count, code, address))

    def corrupt_next(self, byte_index: int, mask: int, *, address: int | None = None) -> None:
        """Invert the bits of `mask` in one byte of the next reply that is long enough."""
        self._damages.append(_Damage(byte_index, mask, address))

    def stretch_next(self, stretch_ns: int, *, address: int) -> None:
        """Let a chip stretch the clock in its next transfer; the adapter gives up after 35 ms with EIO."""
        self._stretches_ns[address] = stretch_ns

    def delay(self, address: int, delay_ns: int) -> None:
        """Let each transfer with the address take longer by `delay_ns`."""
        self._delays_ns[address] = delay_ns

    def claim(self, address: int, owner: str) -> None:
        """Let a kernel driver own the address: transfers with it fail with EBUSY."""
        self._claimed[address] = owner

    def transfer(self, address: int, write: bytes, read: int) -> bytes:
        """Write, then read with a repeated start.

        Raises:
            NoAcknowledge: errno 121; no chip is there, it is busy, or it does not know the command.
            BusTimeout: errno 110; the bus is stuck.
            BusDenied: errno 16; a kernel driver owns the address. BusGone: errno 19; the adapter is unplugged.
            BusError: another error code, given to `fail_next`.
            AssertionError: two threads share the adapter without a lock.
        """
        entered, self._thread = self._thread, threading.get_ident()
        assert entered is None, f"{self._name} is used by two threads at once"  # noqa: S101 this is for tests
        started_ns = self._clock.now_ns()
        self.transfers += 1
        reply: bytes | None = None
        try:
            reply = self._transfer(address, write, read)
        finally:
            self._thread = None
            if self.log.maxlen:
                self.log.append(Transaction(started_ns, address, bytes(write), reply))
        self.bytes_moved += len(write) + len(reply)
        return reply

    def ping(self, address: int) -> bool:
        """Whether a chip acknowledges the address. Raises as `transfer`, but not NoAcknowledge."""
        try:
            self.transfer(address, b"", 0)
        except NoAcknowledge:
            return False
        return True

    def close(self) -> None:
        """Does nothing: no device is held open."""

    def _transfer(self, address: int, write: bytes, read: int) -> bytes:
        if self._sticks_after is not None:
            self._sticks_after -= 1
            self.stuck = self.stuck or self._sticks_after < 0
        if self.gone:
            raise self._failure(address, errno.ENODEV)
        if self.stuck:
            self._let_time_pass(self._timeout_ns)
            raise self._failure(address, errno.ETIMEDOUT)
        if address in self._claimed:
            raise self._failure(address, errno.EBUSY)
        parts = bool(write) + bool(read) or 1
        stretch_ns = self._stretches_ns.pop(address, 0)
        self._let_time_pass(
            self._bit_ns * (_BITS_AROUND + _BITS_PER_BYTE * (len(write) + read + parts))
            + self._delays_ns.get(address, 0)
            + min(stretch_ns, _LONGEST_STRETCH_NS)
        )
        if stretch_ns > _LONGEST_STRETCH_NS:
            raise self._failure(address, errno.EIO)
        if self._failures and (code := self._next_failure(address)) is not None:
            raise self._failure(address, code)
        reply = self._ask_chips(address, write, read)
        return self._damaged(address, reply) if self._damages else reply

    def _ask_chips(self, address: int, write: bytes, read: int) -> bytes:
        """Write to the chips at the address and read from them. Raises NoAcknowledge if none acknowledges."""
        replies = []
        for chip in self.answering(address):
            try:
                if write or not read:
                    chip.write(write)
                replies.append(chip.read(read) if read else b"")
            except Nack:
                continue
        if not replies:
            raise self._failure(address, self._absent_errno)
        return replies[0] if len(replies) == 1 else reduce(_wired_and, replies)

    def _let_time_pass(self, duration_ns: int) -> None:
        if duration_ns:
            self._clock.wait(self._never, self._clock.now_ns() + duration_ns)

    def _next_failure(self, address: int) -> int | None:
        for failure in self._failures:
            if failure.address in {None, address}:
                failure.count -= 1
                if not failure.count:
                    self._failures.remove(failure)
                return failure.code
        return None

    def _damaged(self, address: int, reply: bytes) -> bytes:
        for damage in self._damages:
            if damage.address in {None, address} and damage.byte_index < len(reply):
                self._damages.remove(damage)
                damaged = bytearray(reply)
                damaged[damage.byte_index] ^= damage.mask
                return bytes(damaged)
        return reply

    def _failure(self, address: int, code: int) -> BusError:
        where = f"{address:#04x} on {self._name}"
        match code:
            case errno.EREMOTEIO | errno.ENXIO:
                return NoAcknowledge(f"nothing answers at {where}: check address, wiring and power", errno=code)
            case errno.ETIMEDOUT:
                return BusTimeout(f"timed out at {where}: something holds SDA or SCL low", errno=code)
            case errno.EBUSY:
                owner = self._claimed.get(address, "")
                return BusDenied(f"{where} belongs to the kernel driver {owner}: read it through sysfs", errno=code)
            case errno.ENODEV:
                return BusGone(f"{self._name} is gone: the adapter was unplugged or removed", errno=code)
        return BusError(f"the transfer with {where} broke off", errno=code)


def _wired_and(one: bytes, other: bytes) -> bytes:
    """The reply of chips that answer at once: an open-drain line is low when any of them pulls it low."""
    return bytes(a & b for a, b in zip(one, other, strict=True))
