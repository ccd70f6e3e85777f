"""Data reduction: send fewer readings than were taken, with a guaranteed error bound. Pure.

`deadband` sends a reading when it differs from the last one sent by more than the bound: a receiver that repeats the
last value has at most that error. The reading before such a change is sent as well, so that a curve drawn through the
sent readings rises where the change was, not over the whole pause. `swinging-door` sends end points of straight lines
(Bristol, Swinging door trending, ISA 1990): linear interpolation between sent readings has at most that error. Unlike
in the original, a line ends only at a reading for which the whole line keeps the bound.

Both send readings that are not good when their status changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

# The search for the end of a line stops this many readings behind the last possible end: limits the work.
_MOST_AHEAD: Final = 64


@dataclass(frozen=True, slots=True)
class ReduceSettings:
    """Settings of the data reduction of one channel.

    Attributes:
        max_error: error bound, canonical unit, ≥ 0; 0 sends everything.
        heartbeat_ns: longest time between two sent readings, nanoseconds.
        lines: True for `swinging-door`, False for `deadband`.
    """

    max_error: float
    heartbeat_ns: int
    lines: bool = False

    def build(self) -> Reducer | None:
        """Make a reducer in its initial state; None if everything is sent."""
        if self.max_error <= 0.0:
            return None
        return SwingingDoor(self) if self.lines else Deadband(self)


class Reducer(Protocol):
    """Decides which readings of one channel are sent; keeps its state between batches."""

    def run(self, times_ns: Sequence[int], values: Sequence[float | None], statuses: Sequence[int]) -> list[bool]:
        """Decide on a whole batch.

        Args:
            times_ns: nanoseconds since boot.
            values: canonical unit, rounded as for sending.
            statuses: see `reading.status_of`.

        Returns:
            One per reading: True if it is to be sent.
        """


class Deadband:
    """Sends readings that differ from the last one sent."""

    __slots__ = ("_heartbeat_ns", "_max_error", "_ns", "_status", "_value")

    def __init__(self, settings: ReduceSettings) -> None:
        self._max_error = settings.max_error
        self._heartbeat_ns = settings.heartbeat_ns
        self._ns = 0
        self._value: float | None = None
        self._status: int | None = None  # None: nothing was sent yet

    def run(self, times_ns: Sequence[int], values: Sequence[float | None], statuses: Sequence[int]) -> list[bool]:
        """See `Reducer.run`. Sends if value or status changed, a value appeared or vanished, or a heartbeat is due."""
        keep: list[bool] = []
        last_ns, last_value, last_status = self._ns, self._value, self._status
        for now_ns, value, status in zip(times_ns, values, statuses, strict=True):
            changed = status != last_status or not _is_near(value, last_value, self._max_error)
            if changed and keep:
                keep[-1] = True  # the last reading before the change
            send = changed or not 0 <= now_ns - last_ns < self._heartbeat_ns
            if send:
                last_ns, last_value, last_status = now_ns, value, status
            keep.append(send)
        self._ns, self._value, self._status = last_ns, last_value, last_status
        return keep


def _is_near(value: float | None, reference: float | None, distance: float) -> bool:
    if value is None or reference is None:
        return value is reference
    return abs(value - reference) <= distance


class SwingingDoor:
    """Sends end points of straight lines. The last good reading of a batch is always one, so no line stays open."""

    __slots__ = ("_deadband", "_heartbeat_ns", "_last", "_max_error")

    def __init__(self, settings: ReduceSettings) -> None:
        self._max_error = settings.max_error
        self._heartbeat_ns = settings.heartbeat_ns
        self._last: tuple[int, float] | None = None  # stamp and value of the point where the next line starts
        self._deadband = Deadband(settings)

    def run(self, times_ns: Sequence[int], values: Sequence[float | None], statuses: Sequence[int]) -> list[bool]:
        """See `Reducer.run`."""
        keep = self._deadband.run(times_ns, values, statuses)
        run: list[tuple[int, int, float]] = []
        before_ns = None
        for place, (now_ns, value, status) in enumerate(zip(times_ns, values, statuses, strict=True)):
            if status == 0 and value is not None:
                if before_ns is not None and now_ns <= before_ns:
                    self._end(run, keep)
                    self._last, run = None, []
                run.append((place, now_ns, value))
                before_ns = now_ns
            else:  # a line ends before a reading that is not good; the next line starts behind it
                self._end(run, keep)
                self._last, run, before_ns = None, [], None
        self._end(run, keep)
        return keep

    def _end(self, run: list[tuple[int, int, float]], keep: list[bool]) -> None:
        """Decide on consecutive good readings with ascending stamps, given as (row, stamp, value)."""
        if not run:
            return
        for place, _, _ in run:
            keep[place] = False
        start, following = self._last, 0
        if start is not None and start[0] >= run[0][1]:
            start = None  # the clock went backwards
        while following < len(run):
            end = following if start is None else self._reach(start, run, following)
            place, now_ns, value = run[end]
            keep[place] = True
            start, following = (now_ns, value), end + 1
        self._last = start

    def _reach(self, start: tuple[int, float], run: list[tuple[int, int, float]], following: int) -> int:
        """Index in `run` of the last reading at which a line from `start` can end."""
        start_ns, start_value = start
        low, high, end = -inf, inf, following
        for place in range(following, len(run)):
            _, now_ns, value = run[place]
            since = now_ns - start_ns
            if place > following and (since > self._heartbeat_ns or place - end > _MOST_AHEAD):
                break
            if low <= (value - start_value) / since <= high:
                end = place
            low = max(low, (value - self._max_error - start_value) / since)
            high = min(high, (value + self._max_error - start_value) / since)
            if low > high:
                break
        return end
