"""Draws bytes per reading against the size of a batch, ours beside others, for the README.

`python tests/bench/plot_wire.py` writes tests/bench/wire.png. Needs the extra `bench` and the recorded series.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).parents[2]))

import matplotlib as mpl
from matplotlib import pyplot as plt

from edge_agent.wire.codec import encode_batch
from tests.bench.bench_wire import Series, checked
from tests.bench.bounds import ideals, others
from tests.bench.published import shared_series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZES: Final = (10, 15, 20, 30, 45, 60, 100, 150, 200, 300, 500, 700, 1000)
PANELS: Final = {
    "astropi_sensehat": "Astro Pi: 5 fields every 10 s",
    "room_A60": "Rooms: 4 nodes, 4 fields, jitter of ms",
}
STYLES: Final = {
    "json": ("JSON", "#b8b8b8", "-", 1.4),
    "gorilla": ("Gorilla", "#c4873b", "-", 1.4),
    "pcodec": ("pcodec", "#7a5ea8", "-", 1.4),
    "msgpack+zlib": ("msgpack + zlib", "#8c8c8c", "--", 1.4),
    "json+zlib": ("JSON + zlib", "#5c5c5c", "-", 1.4),
    "alone": ("edge-agent, alone", "#2a7f9e", "--", 1.8),
    "announced": ("edge-agent, announced", "#0b5d7a", "-", 2.6),
    "rice": ("Rice code, no envelope", "#d1495b", ":", 1.8),
}
TARGET: Final = Path(__file__).with_name("wire.png")
MOST_BYTES: Final = 100_000


def curves(series: Series) -> dict[str, list[float]]:
    """Bytes per reading by format, one per size."""
    announcement = series.announcement()
    found: dict[str, list[float]] = {name: [] for name in STYLES}
    for rows in SIZES:
        total, readings = dict.fromkeys(STYLES, 0.0), 0
        for parts, batch, earlier, _before in series.batches(rows):
            body = encode_batch(batch)
            sizes: dict[str, float] = {**others(parts), **ideals(parts, earlier)}
            sizes["alone"], sizes["announced"] = checked(body, batch), checked(body, batch, announcement)
            for name in total:
                total[name] += sizes[name]
            readings += rows * len(series.fields)
        for name, size in total.items():
            found[name].append(size / readings)
    return found


def draw(axes: Axes, title: str, found: dict[str, list[float]]) -> None:
    """One panel."""
    for name, (label, color, line, width) in STYLES.items():
        axes.plot(SIZES, found[name], line, color=color, linewidth=width, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks([10, 30, 60, 100, 300, 1000], labels=["10", "30", "60", "100", "300", "1000"])
    axes.set_yticks([0.5, 1, 2, 5, 10, 20, 50], labels=["0.5", "1", "2", "5", "10", "20", "50"])
    axes.minorticks_off()
    axes.grid(color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("rows per message")


def main() -> None:
    """Draw and write."""
    folder = shared_series()
    if folder is None:
        sys.exit("no recorded series at ../shared/data/series; set EDGE_AGENT_SHARED to where shared/ is")
    mpl.use("Agg")
    figure, panels = plt.subplots(1, len(PANELS), figsize=(9.2, 4.2), sharey=True, layout="constrained")
    for axes, (name, title) in zip(panels, PANELS.items(), strict=True):
        draw(axes, title, curves(Series(folder / f"{name}.csv")))
    panels[0].set_ylabel("bytes per reading, whole message")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=9)
    figure.savefig(TARGET, dpi=100)
    size = TARGET.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"{TARGET} takes {size} bytes, more than {MOST_BYTES}")
    print(f"{TARGET}: {size} bytes")


if __name__ == "__main__":
    main()
