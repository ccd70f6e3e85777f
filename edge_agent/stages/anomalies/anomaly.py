"""What is found to be odd about a channel. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class AnomalyKind(Enum):
    """In what way. The text is the state of the event that tells of it."""

    SURPRISE = "surprise"
    """A reading that nothing before it led to expect, and that did not last: a spike."""
    JUMP = "jump"
    """The level moved at once, and stayed."""
    LEVEL = "level"
    """A level that is unusual for the hour of the day, or against what has been usual for a week."""
    FLATLINE = "flatline"
    """A channel that otherwise moves has repeated one value for far longer than it ever did."""
    NOISE_BURST = "noise-burst"
    """Noise that is far larger than usual."""
    DRIFT = "drift"
    """Two channels that measure the same differ by more, or less, than they usually do."""
    GAP = "gap"
    """There were no readings for far longer than usual; found at the first one after."""
    Z_SCORE = "z-score"
    """The classic rule: too many standard deviations from the mean of the window before."""


class Phase(Enum):
    """What is told: something that happened, or one end of something that lasts."""

    ONCE = 0
    BEGAN = 1
    ENDED = 2


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One finding.

    Attributes:
        kind: in what way odd.
        at_ns: stamp of the reading at which it was found or, for surprises and jumps, that was odd.
        since_ns: stamp at which it began; `at_ns` for what happened at once.
        score: larger is odder, 0 to 12: -log10 of the probability of such a thing in one look at the channel, by its
            own history. A look is a minute's worth of readings, or five minutes. For the classic rules it is how many
            times the limit was exceeded.
        value: what was measured; for drift the difference, for bursts the noise (standard deviation), for gaps
            seconds.
        expected: what it was expected to be, in the same unit.
        phase: which end of it this is.
    """

    kind: AnomalyKind
    at_ns: int
    since_ns: int
    score: float
    value: float
    expected: float
    phase: Phase = Phase.ONCE

    @property
    def state(self) -> str:
        """One word for it: the kind, with `-ended` at the end of what lasted."""
        return f"{self.kind.value}-ended" if self.phase is Phase.ENDED else self.kind.value
