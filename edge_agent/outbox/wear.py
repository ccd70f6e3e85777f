"""How often open rows may be secured, so that the outbox writes no more than a budget. Pure.

Batches, events and confirmations are written in any case. What can be saved are the blocks of open rows: a longer
interval has fewer of them, and a power cut takes more readings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge_agent.clock import NS_PER_S

DAY_NS: Final = 86_400 * NS_PER_S
LOOK_NS: Final = 600 * NS_PER_S
"""Time between two looks at what was written, nanoseconds; also the time before the first one."""
_MEMORY_NS: Final = DAY_NS
"""What was written before counts half when so much time is over."""
_NOTICED: Final = 0.1
"""Relative change of the interval that is worth a change."""
_OVER_BUDGET: Final = "max_mib_per_day would be exceeded"
_PERIOD: Final = "max_mib_per_day is exceeded even if open rows are never secured"


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be written.

    Attributes:
        bytes_per_day: by the outbox's own count; None: any.
        durability_ns: interval at which open rows are secured if the budget allows it.
        period_ns: longest interval: that of batches.
    """

    bytes_per_day: float | None
    durability_ns: int
    period_ns: int


@dataclass(frozen=True, slots=True)
class Written:
    """What an outbox has written since its start, by its own count.

    Attributes:
        database_bytes: blocks of the journal and of the database.
        segment_bytes, segments: blocks of secured rows, and how often rows were secured.
    """

    database_bytes: int = 0
    segment_bytes: int = 0
    segments: int = 0

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.database_bytes + self.segment_bytes


@dataclass(frozen=True, slots=True)
class WearPart:
    """What the store writes.

    Attributes:
        written_bytes: since the start, by its own count of blocks.
        durability_ns: interval at which open rows are secured, nanoseconds.
        because: why it is longer than configured; empty: it is not.
    """

    written_bytes: int
    durability_ns: int
    because: str


class Wear:
    """Keeps to a budget.

    Args:
        budget: what may be written.
        now_ns: present time, nanoseconds since boot.

    Attributes:
        durability_ns: interval at which open rows are to be secured now.
        because: why it is longer than configured; empty: it is not.
    """

    def __init__(self, budget: Budget, now_ns: int) -> None:
        self.durability_ns = budget.durability_ns
        self.because = ""
        self._budget = budget
        self._begun_ns = self._looked_ns = now_ns
        self._seen = Written()
        self._database_bytes = 0.0
        self._elapsed_ns = 0.0

    def look(self, written: Written, now_ns: int) -> bool:
        """Look at what was written so far, if it is time. Returns whether `durability_ns` has changed."""
        budget, elapsed_ns = self._budget, now_ns - self._looked_ns
        if budget.bytes_per_day is None or elapsed_ns < LOOK_NS:
            return False
        if self._elapsed_ns > _MEMORY_NS:
            self._database_bytes, self._elapsed_ns = self._database_bytes / 2, self._elapsed_ns / 2
        self._database_bytes += written.database_bytes - self._seen.database_bytes
        self._elapsed_ns += elapsed_ns
        segments = written.segments - self._seen.segments
        segment_bytes = written.segment_bytes - self._seen.segment_bytes
        self._seen, self._looked_ns = written, now_ns
        if not segments:
            return False
        spare = budget.bytes_per_day - self._database_bytes * DAY_NS / self._elapsed_ns
        wanted_ns = DAY_NS * segment_bytes / segments / spare if spare > 0 else float("inf")
        return self._set(round(min(max(wanted_ns, budget.durability_ns), budget.period_ns)), wanted_ns)

    def _set(self, durability_ns: int, wanted_ns: float) -> bool:
        is_longer = durability_ns > self._budget.durability_ns
        change = abs(durability_ns - self.durability_ns)
        if not change or (is_longer and change <= _NOTICED * self.durability_ns):
            return False
        self.durability_ns = durability_ns
        self.because = "" if not is_longer else _PERIOD if wanted_ns == float("inf") else _OVER_BUDGET
        return True
