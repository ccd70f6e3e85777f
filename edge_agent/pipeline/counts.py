"""Counts of readings by result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.reading import Quality, flags_of, quality_of

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(slots=True)
class Counts:
    """Readings by quality: sampled = good + estimated + suspect + bad.

    `suppressed` counts sampled readings that data reduction left out. `dropped` counts readings that a full queue
    refused; those refused by the inbox of the pipeline are not in `sampled`. `reasons` counts readings by flag; a
    reading may have several flags.
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
        """Count a block; `good` is its number of readings with the status 0."""
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
