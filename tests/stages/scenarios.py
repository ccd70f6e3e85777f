"""Made-up channels whose truth is known, for measuring filters. Those of one letter are the published ones.

A walk is a random walk of so much per reading; a spike replaces nothing, it is added to a reading.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Flag
from edge_agent.stages.filters.auto import AutoSettings
from edge_agent.stages.filters.smooth import smooth

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Rng = np.random.Generator

ROWS: Final = 5000


@dataclass(frozen=True, slots=True)
class Course:
    """What was true, and what was read, at which times."""

    times_ns: list[int]
    truth: Numbers
    readings: Numbers


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of channel."""

    what: str
    truth: Callable[[Rng, Numbers], Numbers]
    noise: Callable[[Rng, Numbers], Numbers]
    spike: float = 0.0
    counts: float = 0.0
    uneven: bool = False

    def course(self, seed: int, rows: int = ROWS) -> Course:
        """One run of so many readings; uneven ones come at random, and now and then not for long."""
        rng = np.random.default_rng(seed)
        steps = np.ones(rows)
        if self.uneven:
            steps = rng.exponential(1.0, rows) + 0.05 + np.where(rng.random(rows) < 0.004, 120.0, 0.0)
        since = np.cumsum(steps)
        truth = self.truth(rng, since)
        readings = truth + self.noise(rng, since)
        if self.spike:
            readings += (rng.random(rows) < 0.01) * rng.choice([-self.spike, self.spike], rows)
        if self.counts:
            readings = np.round(readings / self.counts) * self.counts
        return Course((since * NS_PER_S).astype(np.int64).tolist(), truth, readings)


def _walk(step: float) -> Callable[[Rng, Numbers], Numbers]:
    def truth(rng: Rng, since: Numbers) -> Numbers:
        return 20.0 + np.cumsum(rng.normal(0.0, step, len(since)) * np.sqrt(np.diff(since, prepend=since[0] - 1.0)))

    return truth


def _wave(step: float, height: float, period: float) -> Callable[[Rng, Numbers], Numbers]:
    def truth(rng: Rng, since: Numbers) -> Numbers:
        wave: Numbers = _walk(step)(rng, since) + height * np.sin(2.0 * np.pi * since / period)
        return wave

    return truth


def _normal(sigma: float) -> Callable[[Rng, Numbers], Numbers]:
    return lambda rng, since: rng.normal(0.0, sigma, len(since))


def _louder(rng: Rng, since: Numbers) -> Numbers:
    half = since > since[len(since) // 2 - 1]
    noise: Numbers = rng.normal(0.0, 1.0, len(since)) * np.where(half, 1.0, 0.2)
    return noise


def _breathing(rng: Rng, since: Numbers) -> Numbers:
    noise: Numbers = rng.normal(0.0, 0.1, len(since)) * np.exp(1.2 * np.sin(2.0 * np.pi * since / 1700.0))
    return noise


def _step(rng: Rng, since: Numbers) -> Numbers:
    stepped: Numbers = _walk(0.005)(rng, since) + 3.0 * (since > since[len(since) // 2 - 1])
    return stepped


def _steps(rng: Rng, since: Numbers) -> Numbers:
    stepped: Numbers = 20.0 + np.cumsum((rng.random(len(since)) < 0.01) * rng.normal(0.0, 1.0, len(since)))
    return stepped


def _doors(rng: Rng, since: Numbers) -> Numbers:
    draught, opened = np.zeros(len(since)), rng.random(len(since)) < 0.003
    for row in range(1, len(since)):
        draught[row] = 0.98 * draught[row - 1] - 4.0 * opened[row]
    return 20.0 + 3.0 * np.sin(2.0 * np.pi * since / 2880.0) + draught


def _restless(rng: Rng, since: Numbers) -> Numbers:
    walked: Numbers = np.cumsum(rng.normal(0.0, 1.0, len(since)) * np.where(since // 800 % 2, 0.1, 0.003))
    return walked


SCENARIOS: Final = {
    "A": Scenario("walk .1, noise .316", _walk(0.1), _normal(0.316)),
    "B": Scenario("slow room: walk .005 + 2 sin/1440, noise .05", _wave(0.005, 2.0, 1440.0), _normal(0.05)),
    "C": Scenario("B + 1 % spikes ±5", _wave(0.005, 2.0, 1440.0), _normal(0.05), spike=5.0),
    "D": Scenario("walk .01 + 5 sin/500, noise .5, 1 % spikes ±10", _wave(0.01, 5.0, 500.0), _normal(0.5), spike=10.0),
    "E": Scenario("fast: walk .02 + 10 sin/100, noise .2", _wave(0.02, 10.0, 100.0), _normal(0.2)),
    "F": Scenario("pressure: walk .01, noise .02", _walk(0.01), _normal(0.02)),
    "G": Scenario("D, noise .2 → 1.0 half way", _wave(0.01, 5.0, 500.0), _louder, spike=10.0),
    "H": Scenario("step +3 half way, walk .005, noise .05", _step, _normal(0.05)),
}
"""The published ones."""

OTHERS: Final = {
    "uneven": Scenario(
        "slow room, random intervals, 0.4 % of them 2 min longer", _wave(0.005, 2.0, 1440.0), _normal(0.05), uneven=True
    ),
    "coarse": Scenario("counts of 1/16, 3 sin/2880, noise .02", _wave(0.0, 3.0, 2880.0), _normal(0.02), counts=0.0625),
    "coarse walk": Scenario("counts of 1/16, walk .01, noise .01", _walk(0.01), _normal(0.01), counts=0.0625),
    "doors": Scenario("3 sin/2880, 0.3 % drops by 4 that decay by 2 % a reading, noise .05", _doors, _normal(0.05)),
    "steps": Scenario("1 % steps of any size around 1, noise .05", _steps, _normal(0.05)),
    "breathing": Scenario("walk .02, noise .03 … .33 over 1700", _walk(0.02), _breathing),
    "restless": Scenario("walk .003 and .1 by turns of 800, noise .1", _restless, _normal(0.1)),
    "heavy tails": Scenario(
        "2 sin/700, walk .02, Student's noise (3 degrees) .1",
        _wave(0.02, 2.0, 700.0),
        lambda rng, since: 0.1 * rng.standard_t(3, len(since)),
    ),
}
"""Other kinds. Gains and gates of `auto` were chosen with an eye on the likes of them, except `uneven`.

The tests use seeds of their own.
"""


def fixed(readings: Numbers) -> list[float]:
    """The fixed filter to compare with: a random walk with Q = .01, R = .1, one step per reading."""
    estimate, variance, estimates = float(readings[0]), 1.0, []
    for value in readings.tolist():
        variance += 0.01
        gain = variance / (variance + 0.1)
        estimate += gain * (value - estimate)
        variance *= 1.0 - gain
        estimates.append(estimate)
    return estimates


def rmse(estimates: list[float] | list[float | None] | Numbers, truth: Numbers) -> float:
    """Root mean squared error."""
    return float(np.sqrt(np.mean((np.array(estimates, dtype=np.float64) - truth) ** 2)))


def filtered_and_smoothed(course: Course) -> tuple[list[float | None], list[float | None]]:
    """What `auto` makes of a run in batches of 60, and what the smoother makes of that."""
    filter_, lead = AutoSettings().build(), 32
    times_ns, values = list(course.times_ns), course.readings.tolist()
    filtered: list[float | None] = []
    believed: list[float | None] = []
    smoothed: list[float | None] = []
    for first in range(0, len(times_ns), 60):
        block, begin = slice(first, first + 60), max(0, first - lead)
        flags = [Flag(0)] * len(times_ns[block])
        filtered += filter_.run(times_ns[block], values[block], flags).values
        believed += [None if flag else value for flag, value in zip(flags, values[block], strict=True)]
        model = filter_.model()
        if model is None:
            raise AssertionError("a filter that has seen 60 readings has an idea of them")
        smoothed += smooth(model, times_ns[begin : first + 60], believed[begin:])[first - begin :]
    return filtered, smoothed
