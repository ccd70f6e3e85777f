"""How close the filters come to the truth: RMSE by scenario, mean ± standard error of eight seeds, as Markdown.

Run alone: `python tests/bench/bench_filter.py`. Every filter sees each reading once and answers at once; the rows in
brackets know what no filter can: they were tuned on the truth (`hindsight`), or saw the future as well (`smoother`).
What is sent smoothed has waited for the end of its batch of 60.
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
from edge_agent.stages.filters.auto import AutoSettings
from edge_agent.stages.filters.kalman import KalmanSettings
from edge_agent.stages.filters.median import MedianSettings
from tests.stages.scenarios import OTHERS, SCENARIOS, Course, Scenario, filtered_and_smoothed, fixed, rmse

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.stages.filters.estimates import Filter
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
    """A filter of level and slope, Q = .01, R = .1."""
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
    """A filter of a level, Q = .01, R = .1."""
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
    variance = np.where(struck, 1e6 * noise**2, noise**2)
    return _closest(_smooth(course.readings, variance, steps), course.truth)


def _smooth(readings: Numbers, variance: Numbers, steps: Numbers) -> Numbers:
    """Smoothed courses, one column for each drift and each walk of the grid."""
    drift = np.concatenate([np.logspace(-10.0, 1.0, 12), np.zeros(13)])
    walk = np.concatenate([np.zeros(12), np.logspace(-6.0, 0.0, 13)])
    rows, width = len(readings), len(drift)
    level, slope = np.full(width, readings[0]), np.zeros(width)
    p00, p01, p11 = np.full(width, variance.min()), np.zeros(width), np.where(drift > 0.0, 1.0, 1e-15)
    ahead, after = np.empty((rows, 5, width)), np.empty((rows, 5, width))
    for row in range(rows):
        dt = steps[row]
        level = level + slope * dt
        p00 = p00 + dt * (2.0 * p01 + dt * p11) + drift * dt**3 / 3.0 + walk * dt
        p01 = p01 + dt * p11 + drift * dt**2 / 2.0
        p11 = p11 + drift * dt
        ahead[row] = level, slope, p00, p01, p11
        gain, slope_gain = p00 / (p00 + variance[row]), p01 / (p00 + variance[row])
        surprise = readings[row] - level
        level, slope = level + gain * surprise, slope + slope_gain * surprise
        p11 = p11 - slope_gain * p01
        p01 = p01 - gain * p01
        p00 = gain * variance[row]
        after[row] = level, slope, p00, p01, p11
    smoothed = np.empty((rows, width))
    smoothed[-1] = level
    for row in range(rows - 2, -1, -1):
        dt = steps[row + 1]
        (a_level, a_slope, a00, a01, a11), (level0, slope0, p00, p01, p11) = ahead[row + 1], after[row]
        size = a00 * a11 - a01 * a01
        c00, c01, c10, c11 = p00 + dt * p01, p01, p01 + dt * p11, p11
        off, slope_off = level - a_level, slope - a_slope
        share, slope_share = (a11 * off - a01 * slope_off) / size, (a00 * slope_off - a01 * off) / size
        level, slope = level0 + c00 * share + c01 * slope_share, slope0 + c10 * share + c11 * slope_share
        smoothed[row] = level
    return smoothed


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
    "`auto`, `send = smoothed`": lambda course: np.array(filtered_and_smoothed(course)[1], dtype=np.float64),
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
    times = [np.mean(each["fixed Q=.01 R=.1"]) / np.mean(each["**`auto`**"]) for each in errors.values()]
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
            refused, struck, caught = (
                refused + int(sum(outliers)),
                struck + int(sum(spikes)),
                caught + int(sum(outliers & spikes)),
            )
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
