"""Send fewer readings than were taken: lossy, by a bound that is kept. Pure.

`deadband` sends a reading when it differs from the last one sent: who holds that value is never further off than the
bound. The reading before such a change goes as well, so that a curve drawn through what was sent does not begin to rise
when it was last heard of. `swinging-door` sends what straight lines need (Bristol, Swinging door trending, ISA 1990):
whoever draws them between what was sent is never further off than the bound. Unlike the original, a line ends only at
a reading that the line to it is true of, which is what makes the bound hold.

What is not good is sent when it changes, in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

# A line that has found no end among so many readings is ended, so that the work stays in proportion.
_MOST_AHEAD: Final = 64


@dataclass(frozen=True, slots=True)
class ReduceSettings:
    """Which readings are worth sending.

    Attributes:
        max_error: canonical unit, ≥ 0; 0 sends everything.
        heartbeat_ns: a reading is sent at the latest so long after the last one.
        lines: whether by straight lines, else by a deadband.
    """

    max_error: float
    heartbeat_ns: int
    lines: bool = False

    def build(self) -> Reducer | None:
        """One that has sent nothing yet; None if there is nothing to leave out."""
        if self.max_error <= 0.0:
            return None
        return SwingingDoor(self) if self.lines else Deadband(self)


class Reducer(Protocol):
    """Decides for one channel, batch after batch."""

    def run(self, times_ns: Sequence[int], values: Sequence[float | None], statuses: Sequence[int]) -> list[bool]:
        """Decide on a whole batch.

        Args:
            times_ns: nanoseconds since boot.
            values: canonical unit, as they would be sent.
            statuses: see `reading.status_of`.

        Returns:
            True where the reading is to be sent.
        """


class Deadband:
    """Sends what differs from the last reading sent."""

    __slots__ = ("_heartbeat_ns", "_max_error", "_ns", "_status", "_value")

    def __init__(self, settings: ReduceSettings) -> None:
        self._max_error = settings.max_error
        self._heartbeat_ns = settings.heartbeat_ns
        self._ns = 0
        self._value: float | None = None
        self._status: int | None = None  # nothing was sent yet

    def run(self, times_ns: Sequence[int], values: Sequence[float | None], statuses: Sequence[int]) -> list[bool]:
        """See `Reducer.run`. The value left the deadband, appeared or vanished, its status changed, it is time to."""
        keep: list[bool] = []
        last_ns, last_value, last_status = self._ns, self._value, self._status
        for now_ns, value, status in zip(times_ns, values, statuses, strict=True):
            changed = status != last_status or not _is_near(value, last_value, self._max_error)
            if changed and keep:
                keep[-1] = True  # from where it changed
            send = changed or not 0 <= now_ns - last_ns < self._heartbeat_ns
            if send:
                last_ns, last_value, last_status = now_ns, value, status
            keep.append(send)
        self._ns, self._value, self._status = last_ns, last_value, last_status
        return keep


def _is_near(value: float | None, other: float | None, distance: float) -> bool:
    if value is None or other is None:
        return value is other
    return abs(value - other) <= distance


class SwingingDoor:
    """Sends the ends of straight lines. The last reading of a batch is always one, so that no line is left open."""

    __slots__ = ("_heartbeat_ns", "_last", "_max_error", "_odd")

    def __init__(self, settings: ReduceSettings) -> None:
        self._max_error = settings.max_error
        self._heartbeat_ns = settings.heartbeat_ns
        self._last: tuple[int, float] | None = None  # where the next line begins
        self._odd = Deadband(settings)

    def run(self, times_ns: Sequence[int], values: Sequence[float | None], statuses: Sequence[int]) -> list[bool]:
        """See `Reducer.run`."""
        keep = self._odd.run(times_ns, values, statuses)
        run: list[tuple[int, int, float]] = []
        before_ns = None
        for place, (now_ns, value, status) in enumerate(zip(times_ns, values, statuses, strict=True)):
            if status == 0 and value is not None:
                if before_ns is not None and now_ns <= before_ns:
                    self._end(run, keep)
                    self._last, run = None, []
                run.append((place, now_ns, value))
                before_ns = now_ns
            else:  # a line ends before what is not good, and the next begins behind it
                self._end(run, keep)
                self._last, run, before_ns = None, [], None
        self._end(run, keep)
        return keep

    def _end(self, run: list[tuple[int, int, float]], keep: list[bool]) -> None:
        """Decide on readings in a row that are good, at stamps that ascend."""
        if not run:
            return
        for place, _, _ in run:
            keep[place] = False
        start, following = self._last, 0
        if start is not None and start[0] >= run[0][1]:
            start = None  # time ran backwards
        while following < len(run):
            end = following if start is None else self._reach(start, run, following)
            place, now_ns, value = run[end]
            keep[place] = True
            start, following = (now_ns, value), end + 1
        self._last = start

    def _reach(self, start: tuple[int, float], run: list[tuple[int, int, float]], following: int) -> int:
        """The furthest reading that a line from `start` can go to."""
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
