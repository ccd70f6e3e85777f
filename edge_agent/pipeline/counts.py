"""Readings by what became of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.reading import Quality, flags_of, quality_of

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(slots=True)
class Counts:
    """Readings by quality: sampled = good + estimated + suspect + bad.

    `suppressed` (not worth sending) are among the sampled. `dropped` were refused by a full queue: those of the
    pipeline's inbox were never sampled. `reasons` counts readings by flag; one reading may have several.
    """

    sampled: int = 0
    good: int = 0
    estimated: int = 0
    suspect: int = 0
    bad: int = 0
    suppressed: int = 0
    dropped: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, statuses: Sequence[int], good: int) -> None:
        """Count a block, of which `good` readings have the status 0."""
        self.sampled += len(statuses)
        self.good += good
        if good == len(statuses):
            return
        qualities = [quality_of(status) for status in statuses]
        self.estimated += qualities.count(Quality.ESTIMATED)
        self.suspect += qualities.count(Quality.SUSPECT)
        self.bad += qualities.count(Quality.BAD)
        for status in statuses:
            for flag in flags_of(status) if status else ():
                name = str(flag.name).lower()
                self.reasons[name] = self.reasons.get(name, 0) + 1
