"""Report on change: leave out readings that tell nothing new. Lossy, by a known bound. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class DeadbandSettings:
    """When a reading is worth reporting.

    Attributes:
        deadband: canonical unit, ≥ 0; any suppressed value is at most this far from the last reported one.
            0 reports everything.
        heartbeat_ns: report at the latest this long after the last report, even without change.
    """

    deadband: float
    heartbeat_ns: int


class Deadband:
    """Which readings of one channel to report."""

    __slots__ = ("_deadband", "_heartbeat_ns", "_ns", "_status", "_value")

    def __init__(self, settings: DeadbandSettings) -> None:
        self._deadband = settings.deadband
        self._heartbeat_ns = settings.heartbeat_ns
        self._ns = 0
        self._value: float | None = None
        self._status: int | None = None  # nothing was reported yet

    def run(self, times_ns: Sequence[int], values: Sequence[float | None], statuses: Sequence[int]) -> list[bool]:
        """Decide on a block.

        Args:
            times_ns: nanoseconds since boot.
            values: canonical unit, as they would be sent.
            statuses: see `reading.status_of`.

        Returns:
            True where the reading is to be reported: the value left the deadband, appeared or vanished, the
            status changed, the heartbeat is due, or time ran backwards.
        """
        deadband = self._deadband
        if deadband <= 0.0:
            return [True] * len(times_ns)
        keep: list[bool] = []
        last_ns, last_value, last_status = self._ns, self._value, self._status
        heartbeat_ns = self._heartbeat_ns
        for now_ns, value, status in zip(times_ns, values, statuses, strict=True):
            suppress = status == last_status and 0 <= now_ns - last_ns < heartbeat_ns
            if suppress:
                if value is None or last_value is None:
                    suppress = value is last_value
                else:
                    suppress = abs(value - last_value) <= deadband
            if not suppress:
                last_ns, last_value, last_status = now_ns, value, status
            keep.append(not suppress)
        self._ns, self._value, self._status = last_ns, last_value, last_status
        return keep
