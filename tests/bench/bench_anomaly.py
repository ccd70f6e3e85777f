"""How much of what is odd the anomaly stage finds, at how many false alarms, and what it costs; as Markdown.

Run alone: `python tests/bench/bench_anomaly.py [FOLDER]`. FOLDER, or NAB_DIR in the environment, is a checkout of the
public corpus: `git clone --depth 1 https://github.com/numenta/NAB`. EDGE_AGENT_SHARED is the folder of shared series.

Structure and constants of the stage were chosen on every other file of NAB in the order of names, the first among
them, and so is the threshold here. The other half was in sight meanwhile, so its figure is no proof for unseen files.
"""

from __future__ import annotations

import csv
import os
import sys
import time
from collections import Counter
from math import erfc, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Flag
from edge_agent.stages.anomalies.anomaly import Anomaly, AnomalyKind, Phase
from edge_agent.stages.anomalies.detector import AnomalySettings
from edge_agent.stages.filters.auto import AutoSettings
from tests.bench import nab

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

BLOCK: Final = 60
LEAST: Final = 0.3
"""Threshold of the stage where the bench looks for its own."""
WEEK: Final = 7 * 86_400
SURPRISES: Final = {AnomalyKind.SURPRISE, AnomalyKind.JUMP}
DAILY: Final = 2.0 * np.pi / 86_400.0


def found(times_ns: Sequence[int], values: Sequence[float], known: AnomalySettings) -> list[Anomaly]:
    """What the stage finds behind the automatic filter."""
    filter_, detector, anomalies = AutoSettings(None, known.resolution).build(), known.build(), []
    for first in range(0, len(values), BLOCK):
        stamps, block = times_ns[first : first + BLOCK], list(values[first : first + BLOCK])
        flags = [Flag(0)] * len(block)
        anomalies += detector.run(stamps, block, flags, filter_.run(stamps, block, flags))
    return anomalies


def rows_of(recording: nab.Recording, kinds: set[AnomalyKind], anomalies: list[Anomaly]) -> list[float]:
    """The score of each row of a file, 0 where nothing was told."""
    places = {second * NS_PER_S: row for row, second in reversed(list(enumerate(recording.since_s)))}
    scores = [0.0] * len(recording.values)
    for each in anomalies:
        if each.kind in kinds and each.phase is not Phase.ENDED:
            scores[places[each.at_ns]] = max(scores[places[each.at_ns]], each.score)
    return scores


def windowed_gaussian(recording: nab.Recording) -> list[float]:
    """The detector of that name: tail of a normal distribution over the last 6400 rows, moved on by 100."""
    scores: list[float] = []
    window: list[float] = []
    coming: list[float] = []
    mean, deviation = 0.0, 1.0
    for value in recording.values:
        scores.append(1.0 - 0.5 * erfc(abs(value - mean) / deviation / sqrt(2.0)) if window else 0.0)
        if len(window) < 6400:
            window.append(value)
        else:
            coming.append(value)
            if len(coming) < 100:
                continue
            window, coming = window[100:] + coming, []
        mean, deviation = float(np.mean(window)), float(np.std(window)) or 1e-6
    return scores


def corpus(folder: Path) -> None:
    """NAB, standard profile."""
    recordings = nab.load(folder)
    rows = sum(len(each.values) for each in recordings)
    print(f"\n## NAB, standard profile, {len(recordings)} files, {rows:,} rows, one setting and one threshold\n")
    silent = [[0.0] * len(each.values) for each in recordings]
    first_rows = [{first for first, _ in each.windows} for each in recordings]
    perfect = [
        [float(row in first) for row in range(len(each.values))]
        for each, first in zip(recordings, first_rows, strict=True)
    ]
    gaussian = [windowed_gaussian(each) for each in recordings]
    quiet, early, usual = (nab.best(recordings, each).points for each in (silent, perfect, gaussian))
    print(
        f"The scorer gives silence {quiet:.1f}, the first rows of all windows {early:.1f}, and Windowed Gaussian"
        f" {usual:.1f} at its best threshold, {nab.at(recordings, gaussian, 1.0).points:.1f} at 1"
        " (published: 0, 100, 39.6).\n"
    )
    anomalies = [
        found([second * NS_PER_S for second in each.since_s], each.values, AnomalySettings(LEAST))
        for each in recordings
    ]
    print("| detector | half it was tuned on | other half | all | false alarms | windows hit | threshold |")
    print("|-|-|-|-|-|-|-|")
    for what, kinds in (
        ("**all kinds**", set(AnomalyKind)),
        ("`level` alone", {AnomalyKind.LEVEL}),
        ("surprises and jumps alone", SURPRISES),
    ):
        scores = [rows_of(each, kinds, told) for each, told in zip(recordings, anomalies, strict=True)]
        tuned = nab.best(recordings[::2], scores[::2])
        other = nab.at(recordings[1::2], scores[1::2], tuned.threshold)
        whole = nab.at(recordings, scores, tuned.threshold)
        print(
            f"| {what} | {tuned.points:.1f} | {other.points:.1f} | {whole.points:.1f} | {whole.false_alarms} |"
            f" {whole.hit} of {whole.windows} | {tuned.threshold:.2f} |"
        )
    print("| published: Windowed Gaussian, HTM, ARTime | | | 39.6, 70.1, 74.9 | | | |", flush=True)


def classic_rule(values: list[float]) -> set[int]:
    """The rule to compare with: more than three deviations from the mean of five minutes, the reading among them."""
    odd = set()
    for row in range(9, len(values)):
        window = values[max(0, row - 29) : row + 1]
        mean = sum(window) / len(window)
        deviation = sqrt(sum((each - mean) ** 2 for each in window) / len(window))
        if deviation > 0.0 and abs(values[row] - mean) > 3.0 * deviation:
            odd.add(row)
    return odd


def spikes(shared: Path) -> None:
    """Injected spikes, recall at the classic rule's number of false alarms."""
    print("\n## Injected spikes on recorded 10 s data, recall at the same number of false alarms\n")
    print(
        "| rows from | field | spike (× sd of differences) | false alarms | classic rule | this stage |\n|-|-|-|-|-|-|"
    )
    with (shared / "data" / "series" / "astropi_sensehat.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    rows, before, count = 7350, 700, 50
    for first in (8000, 16_000):
        part = table[first : first + rows]
        stamps = [int(float(row["timestamp_ms"])) * 1_000_000 for row in part]
        for field in ("temp_h", "humidity", "pressure"):
            quiet = np.array([float(row[field]) for row in part])
            for size in (3.0, 5.0):
                theirs, ours, false = [], [], []
                for seed in range(5):
                    rng = np.random.default_rng(seed)
                    places = rng.choice(np.arange(before, rows), count, replace=False)
                    struck = quiet.copy()
                    struck[places] += rng.choice([-1.0, 1.0], count) * size * np.std(np.diff(quiet))
                    values = [float(each) for each in np.round(struck, 2)]
                    hits = {int(place) for place in places}
                    near = hits | {place + 1 for place in hits}
                    odd = {row for row in classic_rule(values) if row >= before}
                    false.append(len(odd - near))
                    theirs.append(len(odd & hits) / count)
                    ours.append(_recall(stamps, values, hits, false[-1], before))
                shown = [f"{np.mean(each):.2f}±{np.std(each, ddof=1) / sqrt(5):.2f}" for each in (theirs, ours)]
                print(
                    f"| {first} | {field} | {size:.0f} | {np.mean(false):.1f} | {shown[0]} | {shown[1]} |", flush=True
                )


def _recall(stamps: list[int], values: list[float], hits: set[int], allowed: int, before: int) -> float:
    """Share of the spikes that are found before more than so many others are."""
    places = {stamp: row for row, stamp in enumerate(stamps)}
    told = [each for each in found(stamps, values, AnomalySettings(0.2, 0.01)) if each.kind in SURPRISES]
    got, false = set(), 0
    for each in sorted(told, key=lambda each: -each.score):
        row = places[each.at_ns]
        if row in hits:
            got.add(row)
        elif row >= before and row - 1 not in hits:
            false += 1
            if false > allowed:
                break
    return len(got) / len(hits)


def well_behaved() -> dict[str, list[Numbers]]:
    """Weeks of channels at 1 Hz in which nothing happens."""
    weeks: dict[str, list[Numbers]] = {}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        noise, steps, seconds = rng.normal(0.0, 1.0, WEEK), rng.normal(0.0, 1.0, WEEK), np.arange(WEEK)
        day = 20.0 + 4.0 * np.sin(DAILY * seconds)
        for name, week in {
            "noise .05": 20.0 + 0.05 * noise,
            "walk .005, noise .05": 20.0 + np.cumsum(0.005 * steps) + 0.05 * noise,
            "day ±4, noise .02": day + 0.02 * noise,
            "the same in sixteenths": np.round((day + 0.02 * noise) * 16.0) / 16.0,
            "walk .003, noise .01, in hundredths": np.round((20.0 + np.cumsum(0.003 * steps) + 0.01 * noise) * 100)
            / 100,
            "noise that breathes, .03 … .33": 20.0 + 0.1 * noise * np.exp(1.2 * np.sin(2.0 * np.pi * seconds / 1700.0)),
            "Student's noise (3 degrees) .1": 20.0 + 0.1 * rng.standard_t(3, WEEK),
        }.items():
            weeks.setdefault(name, []).append(week)
    return weeks


def false_alarms() -> None:
    """What is told where there is nothing to tell."""
    stamps = [second * NS_PER_S for second in range(WEEK)]
    print("\n## False alarms per channel and week at 1 Hz, default threshold\n\n| channel | false alarms |\n|-|-|")
    for name, weeks in well_behaved().items():
        told = [len(found(stamps, week.tolist(), AnomalySettings())) for week in weeks]
        print(f"| {name} | {np.mean(told):.2f} |", flush=True)


def recorded(shared: Path) -> None:
    """Everything that is told of the recorded series."""
    print(
        "\n## All that is told of recorded series, default threshold\n\n| series | channels | days | told |\n|-|-|-|-|"
    )
    for name in ("astropi_sensehat", "room_A60", "appliances_9rooms", "occupancy_datatest2", "nab_ambient"):
        with (shared / "data" / "series" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            table = list(csv.DictReader(file))
        told: list[str] = []
        channels, days = 0, 0.0
        for sensor in sorted({row.get("sensor_id", "") for row in table}):
            part = [row for row in table if row.get("sensor_id", "") == sensor]
            stamps = [round(float(row["timestamp_ms"])) * 1_000_000 for row in part]
            for field in [each for each in table[0] if each not in {"timestamp_ms", "sensor_id"}]:
                channels += 1
                days += (stamps[-1] - stamps[0]) / NS_PER_S / 86_400
                values = [float(row[field]) for row in part]
                told += [
                    f"{field}{sensor} {each.kind.value} at row {stamps.index(each.at_ns)}: {each.value:.4g}"
                    f" for {each.expected:.4g}"
                    for each in found(stamps, values, AnomalySettings())
                    if each.phase is not Phase.ENDED and each.kind is not AnomalyKind.GAP
                ]
        print(f"| {name} | {channels} | {days / channels:.1f} | {'; '.join(told) or 'nothing but gaps'} |", flush=True)


def cost() -> None:
    """CPU per reading, beside the filter's in the same run."""
    rng, rows = np.random.default_rng(1), 60 * 2000
    values = (20.0 + np.cumsum(rng.normal(0.0, 0.002, rows)) + rng.normal(0.0, 0.02, rows)).tolist()
    flags = [Flag(0)] * BLOCK
    spent: Counter[str] = Counter()
    for _ in range(5):
        filter_, detector, taken = AutoSettings().build(), AnomalySettings().build(), Counter[str]()
        for first in range(0, rows, BLOCK):
            stamps = [second * NS_PER_S for second in range(first, first + BLOCK)]
            block = values[first : first + BLOCK]
            began = time.process_time_ns()
            estimates = filter_.run(stamps, block, flags)
            filtered = time.process_time_ns()
            detector.run(stamps, block, flags, estimates)
            taken["filter"] += filtered - began
            taken["anomaly"] += time.process_time_ns() - filtered
        for name, each in taken.items():
            spent[name] = min(each, spent[name] or each)
    print(
        f"\nCPU per reading, blocks of {BLOCK} at 1 Hz: {spent['anomaly'] / rows:.0f} ns, the filter"
        f" {spent['filter'] / rows:.0f} ns: {spent['anomaly'] / spent['filter']:.2f} of it. State:"
        f" {len(detector.state())} numbers a channel."
    )


def main() -> None:
    """Print everything."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("NAB_DIR", "NAB"))
    if (folder / "labels" / "combined_windows.json").is_file():
        corpus(folder)
    else:
        print(f"no NAB at {folder}: git clone --depth 1 https://github.com/numenta/NAB, and give its folder or NAB_DIR")
    shared = Path(os.environ.get("EDGE_AGENT_SHARED", Path(__file__).parents[3] / "shared"))
    if shared.is_dir():
        spikes(shared)
        recorded(shared)
    false_alarms()
    cost()


if __name__ == "__main__":
    main()
