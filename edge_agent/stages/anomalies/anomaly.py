"""Anomalies of a channel: kinds and findings. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class AnomalyKind(Enum):
    """Kind of an anomaly. The text is the state of its event."""

    SURPRISE = "surprise"
    """Spike: one reading is far from its prediction, and later readings are not."""
    JUMP = "jump"
    """The level changed within one step, and stayed."""
    LEVEL = "level"
    """The level is unusual for the hour of the day and compared with the last week."""
    FLATLINE = "flatline"
    """A channel that otherwise changes has repeated one value for far longer than ever before."""
    NOISE_BURST = "noise-burst"
    """The noise is far larger than usual."""
    DRIFT = "drift"
    """The difference of two channels that measure the same is far from usual."""
    GAP = "gap"
    """There were no readings for far longer than usual; found at the next reading."""
    Z_SCORE = "z-score"
    """Classic rule: too many standard deviations from the mean of the readings before."""


class Phase(Enum):
    """Whether a finding is a single occurrence, or begin or end of a lasting one."""

    ONCE = 0
    BEGAN = 1
    ENDED = 2


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One finding.

    Attributes:
        kind: kind of the anomaly.
        at_ns: stamp of the reading at which it was found; for surprises and jumps, of the unusual reading itself.
        since_ns: stamp at which it began; equal to `at_ns` for a single occurrence.
        score: 0 to 12, larger is rarer: -log10 of the probability of such a finding in one test, by the history of the
            channel. A test covers 60 readings, or five minutes. For the classic rules: distance as a multiple of the
            limit.
        value: measured value, canonical unit; for drift the difference, for bursts the noise (standard deviation), for
            gaps the length in seconds.
        expected: usual value, in the same unit.
        phase: single occurrence, begin or end.
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
        """State of the event: the kind, with `-ended` for the end of a lasting anomaly."""
        return f"{self.kind.value}-ended" if self.phase is Phase.ENDED else self.kind.value
