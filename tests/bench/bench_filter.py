"""How close the filters come to the truth: RMSE by scenario, mean ± standard error of eight seeds, as Markdown.

Run alone: `python tests/bench/bench_filter.py`. Every filter sees each reading once and answers at once; the rows in
brackets know what no filter can: they were tuned on the truth (`hindsight`), or saw the future as well (`smoother`).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from filterpy.kalman import KalmanFilter

from edge_agent.reading import Flag
from edge_agent.stages.auto import AutoSettings
from edge_agent.stages.kalman import KalmanSettings
from edge_agent.stages.median import MedianSettings
from tests.stages.scenarios import OTHERS, SCENARIOS, Course, Scenario, fixed, rmse

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.stages.estimates import Filter
    from tests.stages.scenarios import Numbers

SEEDS: Final = range(8)
GRID: Final = np.logspace(-6.0, 2.0, 25)
"""Ratios of process to measurement noise that hindsight chooses from."""


def of(build: Callable[[], Filter]) -> Callable[[Course], Numbers]:
    """One of ours."""

    def run(course: Course) -> Numbers:
        flags = [Flag(0)] * len(course.times_ns)
        return np.array(build().run(course.times_ns, course.readings.tolist(), flags).values, dtype=np.float64)

    return run


def median_then_fixed(course: Course) -> Numbers:
    """The usual remedy for spikes."""
    middle = np.median(np.lib.stride_tricks.sliding_window_view(course.readings, 3), axis=1)
    return np.array(fixed(np.concatenate([course.readings[:2], middle])))


def filterpy_trend(course: Course) -> Numbers:
    """filterpy's filter of level and slope, with the noise of a decent chip and the drift of a room's air."""
    kalman = KalmanFilter(dim_x=2, dim_z=1)
    kalman.x = np.array([[course.readings[0]], [0.0]])
    kalman.F, kalman.H = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0]])
    kalman.R, kalman.Q = np.array([[0.1]]), 0.01 * np.array([[1 / 3, 1 / 2], [1 / 2, 1.0]])
    estimates = []
    for value in course.readings:
        kalman.predict()
        kalman.update(value)
        estimates.append(float(kalman.x[0, 0]))
    return np.array(estimates)


def filterpy_level(course: Course) -> Numbers:
    """filterpy's filter of a level, Q = .01, R = .1."""
    kalman = KalmanFilter(dim_x=1, dim_z=1)
    kalman.x, kalman.P = np.array([[course.readings[0]]]), np.eye(1)
    kalman.F, kalman.H, kalman.R, kalman.Q = np.eye(1), np.eye(1), np.array([[0.1]]), np.array([[0.01]])
    estimates = []
    for value in course.readings:
        kalman.predict()
        kalman.update(value)
        estimates.append(float(kalman.x[0, 0]))
    return np.array(estimates)


def best_walk(course: Course) -> Numbers:
    """The fixed gain that comes closest to the truth, of all filters of a level."""
    ratios = GRID
    gains = (-ratios + np.sqrt(ratios * ratios + 4.0 * ratios)) / 2.0
    level = np.full(len(gains), course.readings[0])
    tracks = np.empty((len(course.readings), len(gains)))
    for row, value in enumerate(course.readings):
        level = level + gains * (value - level)
        tracks[row] = level
    return _closest(tracks, course.truth)


def best_trend(course: Course) -> Numbers:
    """The same for filters of level and slope that pass over every spike, by the true noise."""
    gains = np.linspace(0.02, 0.98, 49)
    slope_gains = 2.0 * (2.0 - gains) - 4.0 * np.sqrt(1.0 - gains)
    level, slope = np.full(len(gains), course.readings[0]), np.zeros(len(gains))
    tracks = np.empty((len(course.readings), len(gains)))
    for row, (value, noise) in enumerate(zip(course.readings, _noise(course), strict=True)):
        level = level + slope
        surprise = np.where(abs(value - course.truth[row]) < 6.0 * noise, value - level, 0.0)
        level, slope = level + gains * surprise, slope + slope_gains * surprise
        tracks[row] = level
    return _closest(tracks, course.truth)


def smoother(course: Course) -> Numbers:
    """Rauch, Tung, Striebel over the whole run, true noise, spikes left out, drift tuned on the truth."""
    noise = _noise(course)
    struck = abs(course.readings - course.truth) >= 6.0 * noise
    steps = np.diff(np.array(course.times_ns) / 1e9, prepend=course.times_ns[0] / 1e9 - 1.0)
    tracks = [_smooth(course.readings, np.where(struck, 1e12, noise**2), steps, drift) for drift in np.logspace(-10, 1, 12)]
    tracks += [_smooth(course.readings, np.where(struck, 1e12, noise**2), steps, 0.0, walk) for walk in np.logspace(-6, 0, 13)]
    return _closest(np.array(tracks).T, course.truth)


def _smooth(readings: Numbers, noise: Numbers, steps: Numbers, drift: float, walk: float = 0.0) -> Numbers:
    rows = len(readings)
    state, spread = np.array([readings[0], 0.0]), np.diag([noise.min(), 1.0 if drift else 0.0])
    predicted, filtered = np.empty((rows, 2)), np.empty((rows, 2))
    wide, narrow, moves = np.empty((rows, 2, 2)), np.empty((rows, 2, 2)), np.empty((rows, 2, 2))
    for row, (value, variance, dt) in enumerate(zip(readings, noise, steps, strict=True)):
        move = moves[row] = np.array([[1.0, dt], [0.0, 1.0]])
        grown = drift * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]]) + np.diag([walk * dt, 0.0])
        state, spread = move @ state, move @ spread @ move.T + grown
        predicted[row], wide[row] = state, spread
        gain = spread[:, 0] / (spread[0, 0] + variance)
        state, spread = state + gain * (value - state[0]), spread - np.outer(gain, spread[0])
        filtered[row], narrow[row] = state, spread
    for row in range(rows - 2, -1, -1):
        back = narrow[row] @ moves[row + 1].T @ np.linalg.pinv(wide[row + 1])
        filtered[row] += back @ (filtered[row + 1] - predicted[row + 1])
    return filtered[:, 0]


def _noise(course: Course) -> Numbers:
    """Standard deviation of the noise around each reading, from the truth."""
    off = abs(course.readings - course.truth)
    window = np.lib.stride_tricks.sliding_window_view(np.pad(off, 100, mode="reflect"), 201)
    noise: Numbers = np.maximum(np.median(window, axis=1) / 0.6745, 1e-6)
    return noise


def _closest(tracks: Numbers, truth: Numbers) -> Numbers:
    best: Numbers = tracks[:, int(np.argmin(((tracks - truth[:, None]) ** 2).mean(axis=0)))]
    return best


FILTERS: Final[dict[str, Callable[[Course], Numbers]]] = {
    "raw": lambda course: course.readings,
    "fixed Q=.01 R=.1": lambda course: np.array(fixed(course.readings)),
    "median of 3, then fixed": median_then_fixed,
    "filterpy, level, Q=.01 R=.1": filterpy_level,
    "filterpy, level and slope, Q=.01 R=.1": filterpy_trend,
    "`median`": of(MedianSettings(0.05).build),
    "`kalman`, a room's settings": of(KalmanSettings(0.05, 1e-3).build),
    "**`auto`**": of(AutoSettings().build),
    "[best gain, hindsight]": best_walk,
    "[best trend, no spikes, hindsight]": best_trend,
    "[smoother, hindsight]": smoother,
}


def table(scenarios: dict[str, Scenario]) -> None:
    """Print one table."""
    errors = {
        name: {
            who: [rmse(estimate(course), course.truth) for course in map(scenario.course, SEEDS)]
            for who, estimate in FILTERS.items()
        }
        for name, scenario in scenarios.items()
    }
    print("| filter | " + " | ".join(f"{name}: {each.what}" for name, each in scenarios.items()) + " |")
    print("|-" * (len(scenarios) + 1) + "|")
    for who in FILTERS:
        print(f"| {who} | " + " | ".join(_spread(errors[name][who]) for name in scenarios) + " |")
    times = [
        np.mean(each["fixed Q=.01 R=.1"]) / np.mean(each["**`auto`**"]) for each in errors.values()
    ]
    print("| **fixed / `auto` (× better)** | " + " | ".join(f"**{each:.2f}**" for each in times) + " |\n", flush=True)


def _spread(errors: list[float]) -> str:
    return f"{np.mean(errors):.4f}±{np.std(errors, ddof=1) / np.sqrt(len(errors)):.4f}"


def honesty() -> None:
    """How often the truth is within two of the standard deviations that come with the estimates; 95 % is right."""
    print("| scenario | truth within 2 sigma | refused | refused of spikes |\n|-|-|-|-|")
    for name, scenario in (SCENARIOS | OTHERS).items():
        within, refused, struck, caught = [], 0, 0, 0
        for course in map(scenario.course, SEEDS):
            flags = [Flag(0)] * len(course.times_ns)
            values, sigmas, _ = AutoSettings().build().run(course.times_ns, course.readings.tolist(), flags)
            off = abs(np.array(values, dtype=np.float64) - course.truth)
            within.append(float(np.mean(off <= 2.0 * np.array(sigmas, dtype=np.float64))))
            outliers = np.array([bool(flag & Flag.OUTLIER) for flag in flags])
            spikes = abs(course.readings - course.truth) > 0.6 * scenario.spike if scenario.spike else outliers & False
            refused, struck, caught = refused + int(sum(outliers)), struck + int(sum(spikes)), caught + int(sum(outliers & spikes))
        share = f"{caught} of {struck}" if struck else ""
        print(f"| {name} | {np.mean(within):.1%} | {refused / len(SEEDS) / len(course.times_ns):.2%} | {share} |")


def cost() -> None:
    """CPU per reading, in turns."""
    course = SCENARIOS["B"].course(0, 30_000)
    values = course.readings.tolist()
    print("\n| CPU per reading | blocks of 60 | one by one |\n|-|-|-|")
    builds: dict[str, Callable[[], Filter]] = {
        "auto": AutoSettings().build,
        "kalman": KalmanSettings(0.05, 1e-3).build,
        "median": MedianSettings(0.05).build,
    }
    spent: dict[tuple[str, int], float] = {}
    for _ in range(5):
        for name, build in builds.items():
            for rows in (60, 1):
                one = build()
                before = time.process_time_ns()
                for at in range(0, len(values), rows):
                    times = course.times_ns[at : at + rows]
                    one.run(times, values[at : at + rows], [Flag(0)] * len(times))
                taken = (time.process_time_ns() - before) / len(values)
                spent[name, rows] = min(taken, spent.get((name, rows), taken))
    for name in builds:
        print(f"| {name} | {spent[name, 60]:,.0f} ns | {spent[name, 1]:,.0f} ns |")


def main() -> None:
    """Print everything."""
    print(f"\n## RMSE against the truth, {len(SEEDS)} seeds\n")
    table(SCENARIOS)
    table(OTHERS)
    honesty()
    cost()


if __name__ == "__main__":
    main()
