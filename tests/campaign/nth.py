"""One call fails, the n-th of its seam, in a short history without any other fault.

Seams: SQL statements, calls of the disk, calls of the link, transfers on the bus, reads of the clock. Each fails in
five ways. `test_nth_call.py` goes through n until the call no longer comes.
"""

from __future__ import annotations

import errno
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.clock import Anchor, SimulatedClock
from edge_agent.errors import BusError, BusTimeout, NoAcknowledge
from edge_agent.uplink.mqtt import TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.simulate.i2c import SimulatedI2C
    from tests.campaign.broker import SimulatedBroker
    from tests.campaign.disk_plan import DiskPlan

Make = "Callable[[], Exception]"


def _sqlite(name: str, message: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(message)
    error.sqlite_errorname = name
    error.sqlite_errorcode = getattr(sqlite3, name, 1)
    return error


STATEMENT: Final[dict[str, Callable[[], Exception]]] = {
    "I/O error": lambda: _sqlite("SQLITE_IOERR", "disk I/O error"),
    "full": lambda: _sqlite("SQLITE_FULL", "database or disk is full"),
    "read-only": lambda: _sqlite("SQLITE_READONLY", "attempt to write a readonly database"),
    "damaged": lambda: sqlite3.DatabaseError("database disk image is malformed"),
    "no memory": MemoryError,
}
LINK: Final[dict[str, Callable[[], Exception]]] = {
    "network down": lambda: OSError(errno.ENETDOWN, "network is down"),
    "no thread": lambda: RuntimeError("can't start new thread"),
    "wrong value": lambda: ValueError("out of range"),
    "too large": lambda: TooLarge(5000, 4096),
    "no memory": MemoryError,
}
BUS: Final[dict[str, Callable[[], Exception]]] = {
    "no acknowledge": lambda: NoAcknowledge("nothing answers", errno=errno.EREMOTEIO),
    "time-out": lambda: BusTimeout("timed out", errno=errno.ETIMEDOUT),
    "I/O error": lambda: BusError("broke off", errno=errno.EIO),
    "driver mistake": lambda: IndexError("index out of range"),
    "no memory": MemoryError,
}
CLOCK: Final[dict[str, Callable[[], Exception]]] = {
    "denied": lambda: PermissionError(errno.EPERM, "not permitted"),
    "I/O error": lambda: OSError(errno.EIO, "input/output error"),
    "wrong value": lambda: ValueError("not a clock"),
    "unknown": lambda: OverflowError("too large"),
    "no memory": MemoryError,
}
DISK: Final[dict[str, int | str]] = {
    "EIO": errno.EIO,
    "ENOSPC": errno.ENOSPC,
    "EROFS": errno.EROFS,
    "process killed": "kill",
    "power cut": "cut",
}


@dataclass
class Nth:
    """Fails the n-th call of a seam.

    Attributes:
        seam: statement, disk, link, bus or clock.
        n: which call, from 1 on.
        how: a key of the table of the seam.
        calls: how many calls came so far.
        struck: whether the call has come.
        over: whether calls are not counted any more, because the quiet end has begun.
    """

    seam: str
    n: int
    how: str
    calls: int = 0
    struck: bool = False
    over: bool = False
    error: Exception | None = field(default=None)

    @property
    def ends_process(self) -> bool:
        """Whether the failure is the end of the process."""
        return isinstance(DISK.get(self.how), str)

    def call(self, seam: str) -> None:
        """Count a call of a seam, and fail the n-th."""
        if seam != self.seam or self.over:
            return
        self.calls += 1
        if self.calls == self.n:
            self.struck = True
            tables = {"statement": STATEMENT, "link": LINK, "bus": BUS, "clock": CLOCK}
            self.error = tables[seam][self.how]()
            raise self.error

    def meant(self, error: BaseException | None) -> bool:
        """Whether an exception is the one of this failure, or follows from it."""
        while error is not None:
            if error is self.error:
                return True
            error = error.__cause__ or error.__context__
        return False

    def arm(self, bus: SimulatedI2C, clock: FailingClock, broker: SimulatedBroker, plan: DiskPlan) -> None:
        """Count the calls of every seam but that of statements."""
        clock.nth = self
        broker.fail_call = lambda _call: self.call("link")
        if self.seam == "disk":
            plan.arm(self)
        transfer = bus.transfer

        def counted(address: int, write: bytes, read: int) -> bytes:
            self.call("bus")
            return transfer(address, write, read)

        bus.transfer = counted  # type: ignore[method-assign]


class FailingClock(SimulatedClock):
    """A simulated clock whose wall time cannot be read once."""

    nth: Nth | None = None

    def anchor(self) -> Anchor:
        """See `Clock`."""
        if self.nth is not None:
            self.nth.call("clock")
        return super().anchor()


def guarded(step: Callable[[], int | None], failed: Callable[[Exception], int]) -> Callable[[], int | None]:
    """A step that does what the threads of a gateway do: a worker that failed goes on a second later."""

    def run() -> int | None:
        try:
            return step()
        except Exception as error:  # noqa: BLE001 the edge of the loop, as in `runtime.Threads`
            return failed(error)

    return run
