"""Time: the only module that reads clocks and waits.

Stamps and deadlines are nanoseconds of CLOCK_BOOTTIME, which never steps and continues during suspend. Wall time is an
offset to it with a quality (`Anchor`), which is added when a record is sent or shown.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Final, Protocol

NS_PER_S: Final = 1_000_000_000


class ClockQuality(IntEnum):
    """Quality of the wall time of an anchor. The numbers are part of the wire format."""

    NONE = 0
    """Never synchronised since boot: wall time may be anything."""
    BOUNDED = 1
    """Known only to lie between good anchors of the boots before and after."""
    HOLDOVER = 2
    """Was synchronised in this boot, is free-running now."""
    SYNCED = 3
    """Synchronised by NTP or an equivalent."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """Wall time relative to boot time.

    Attributes:
        offset_ns: wall (UNIX, UTC) minus boot time.
        quality: of the offset.
        max_error_ns: bound on the error of `offset_ns` as the kernel estimates it; 0 if it is exact.
    """

    offset_ns: int
    quality: ClockQuality
    max_error_ns: int


@dataclass(frozen=True, slots=True)
class AnchorSince:
    """An anchor, and the first stamp that it holds for, nanoseconds since boot."""

    since_ns: int
    anchor: Anchor


_DRIFT: Final = 200e-6
"""Most that a crystal drifts; wall time that moved more was stepped."""
_DRIFT_STEP_NS: Final = 100_000_000
_MOST_DRIFT_STEPS: Final = 32


def restated(old: Anchor, new: Anchor, good_ns: int, now_ns: int) -> list[AnchorSince]:
    """Which anchor holds from when on, now that wall time was found to have moved.

    Args:
        old: anchor before.
        new: anchor after, not of worse quality.
        good_ns: last moment at which the old anchor was known to be right.
        now_ns: present time.

    Returns:
        If the old anchor was never known to be right, the new one for the whole boot. If wall time moved as slowly as a
        clock drifts that nobody corrects, steps between both, of at most 100 ms while there are no more than 32.
        Otherwise the new one from `good_ns` on.
    """
    if old.quality <= ClockQuality.BOUNDED:
        return [AnchorSince(0, new)]
    moved_ns, span_ns = new.offset_ns - old.offset_ns, now_ns - good_ns
    if abs(moved_ns) > _DRIFT * span_ns:
        return [AnchorSince(good_ns, new)]
    steps = min(_MOST_DRIFT_STEPS, -(-abs(moved_ns) // _DRIFT_STEP_NS))
    between = [
        AnchorSince(
            good_ns + span_ns * step // steps,
            Anchor(
                old.offset_ns + moved_ns * (2 * step + 1) // (2 * steps),
                ClockQuality.HOLDOVER,
                abs(moved_ns) // (2 * steps),
            ),
        )
        for step in range(steps)
    ]
    return [*between, AnchorSince(now_ns, new)]


class Clock(Protocol):
    """Time, and waiting for it."""

    def now_ns(self) -> int:
        """Nanoseconds since boot."""

    def anchor(self) -> Anchor:
        """The present offset of wall time."""

    def boot_id(self) -> str:
        """Id of this boot: stamps of different boots cannot be compared."""

    def wait(self, event: threading.Event, deadline_ns: int | None) -> None:
        """Return when `event` is set or `deadline_ns` has passed; with None only when it is set."""


class SystemClock:
    """The machine's clocks."""

    _was_synced = False

    def now_ns(self) -> int:
        """Read CLOCK_BOOTTIME."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)  # noqa: TID251 the one door

    def anchor(self) -> Anchor:
        """Read CLOCK_REALTIME and CLOCK_BOOTTIME, and ask the kernel whether wall time is synchronised."""
        # Of three pairs the closest: an interruption between the two clocks would look like a step.
        _gap_ns, offset_ns = min(self._pair() for _ in range(3))
        synced, max_error_ns = _kernel_sync()
        self._was_synced = self._was_synced or synced
        unsynced = ClockQuality.HOLDOVER if self._was_synced else ClockQuality.NONE
        return Anchor(
            offset_ns=offset_ns,
            quality=ClockQuality.SYNCED if synced else unsynced,
            max_error_ns=max_error_ns,
        )

    def _pair(self) -> tuple[int, int]:
        """Time between two reads of boot time, and wall time between them minus their mean."""
        before_ns = self.now_ns()
        wall_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)  # noqa: TID251 the one door
        after_ns = self.now_ns()
        return after_ns - before_ns, wall_ns - (before_ns + after_ns) // 2

    def boot_id(self) -> str:
        """Read the kernel's boot id; a sandbox that hides /proc/sys passes it in EDGE_BOOT_ID."""
        return os.environ.get("EDGE_BOOT_ID") or Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def wait(self, event: threading.Event, deadline_ns: int | None) -> None:
        """Sleep until the event or the deadline."""
        if deadline_ns is None:
            event.wait()
        else:
            event.wait(min(max(0, deadline_ns - self.now_ns()) / NS_PER_S, threading.TIMEOUT_MAX))


class SimulatedClock:
    """Simulated time, which passes only by `advance_to`, and for a worker that waits by `wait`.

    Waiting lets time pass only for the worker that runs: on a gateway each worker waits in its own thread, and a bus
    that blocks for a second delays no other bus. `end_turn` returns to the common time.

    Args:
        start_wall_ns: wall time at the first moment.
        boot_id: of the simulated boot.
        start_ns: boot time at the first moment.
    """

    def __init__(self, start_wall_ns: int, *, boot_id: str = "simulated", start_ns: int = 10 * NS_PER_S) -> None:
        self._now_ns = start_ns
        """Common time of all workers."""
        self._own_ns = start_ns
        """Time of the worker that runs now, which may have waited."""
        self._boot_id = boot_id
        self._anchor = Anchor(start_wall_ns - start_ns, ClockQuality.SYNCED, 0)

    def now_ns(self) -> int:
        """Simulated boot time, including the waits of the worker that runs."""
        return self._own_ns

    def anchor(self) -> Anchor:
        """The anchor given at construction or by `set_anchor`."""
        return self._anchor

    def set_anchor(self, anchor: Anchor) -> None:
        """Step the simulated wall clock, or change its quality."""
        self._anchor = anchor

    def boot_id(self) -> str:
        """The id given at construction."""
        return self._boot_id

    def advance_to(self, deadline_ns: int) -> None:
        """Let time pass for all workers. Never goes back."""
        self._now_ns = self._own_ns = max(self._own_ns, deadline_ns)

    def wait(self, event: threading.Event, deadline_ns: int | None) -> None:
        """Let time pass up to the deadline at once, for the worker that runs."""
        if deadline_ns is not None and deadline_ns > self._own_ns and not event.is_set():
            self._own_ns = deadline_ns

    def end_turn(self) -> int:
        """Return to the common time. Returns the time at which the worker that ran is free again."""
        free_ns, self._own_ns = self._own_ns, self._now_ns
        return free_ns


class _Timex(ctypes.Structure):
    """`struct timex` of <sys/timex.h>, as far as it is read here."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


_TIME_ERROR: Final = 5
_STA_UNSYNC: Final = 0x40
_UNKNOWN_ERROR_NS: Final = 16 * NS_PER_S


@cache
def _libc() -> ctypes.CDLL:
    """Loaded once, because each load creates new classes, and the clock is read every second."""
    return ctypes.CDLL(None)


def _kernel_sync() -> tuple[bool, int]:
    """Ask adjtimex(2), which needs no privilege, whether wall time is synchronised, and its error in ns."""
    timex = _Timex()
    try:
        state = _libc().adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):  # another libc
        return False, _UNKNOWN_ERROR_NS
    if state in {-1, _TIME_ERROR} or timex.status & _STA_UNSYNC:
        return False, _UNKNOWN_ERROR_NS
    return True, timex.maxerror * 1_000
