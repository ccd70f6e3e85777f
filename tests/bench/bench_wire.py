"""Bytes per reading beside other formats and beside what simple models allow; what each part costs; speed.

Run alone: `python tests/bench/bench_wire.py`. Needs the extra `bench`. Every message of ours is decoded again and
compared bit by bit.
"""

from __future__ import annotations

import csv
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).parents[2]))

import msgpack
import numpy as np
from pcodec import ChunkConfig, standalone

from edge_agent.clock import NS_PER_S, ClockQuality
from edge_agent.reading import Flag, RecordKind, status_of
from edge_agent.wire.batch import Batch, Column, Group
from edge_agent.wire.codec import (
    Known,
    Reference,
    by_announcement,
    decode_message,
    encode_batch,
    encode_message,
    make_announcement,
)
from edge_agent.wire.envelope import Envelope
from tests.bench.bench_path import measurements
from tests.bench.bounds import Part, decimals, doubles, ideals, others
from tests.bench.published import KINDS, Published, bench_published, read_series, shared_series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_agent.wire.codec import Announcement
    from tests.bench.bounds import Floats, Ints

SIZES: Final = (60, 300, 1000)
MOST_ROWS: Final = 3000
"""Of a series, in batches that are spread over all of it; four batches are tried in any case."""
UPTIME_MS: Final = 86_400_000
"""The node has run for so long when a series begins."""
UNITS_MS: Final = (60_000, 1000, 1)
NS_PER_MS: Final = 1_000_000
ENVELOPE: Final = Envelope("greenhouse-01", 0x9E37_79B9, 12_345, 7, 1_767_225_600_123_456_789, ClockQuality.SYNCED)
SHOWN: Final = ("json", "json+zlib", "line+zlib", "msgpack+zlib", "gorilla", "pcodec", "pcodec int")
TURNS: Final = 5


class Series:
    """One recorded file: nodes, stamps and fields."""

    def __init__(self, path: Path) -> None:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            names = [name for name in reader.fieldnames or () if name not in {"timestamp_ms", "sensor_id"}]
            lines = [line for line in reader if all(line[name] for name in names)]
        self.name = path.stem
        self.fields = {name: np.array([float(line[name]) for line in lines]) for name in names}
        self.nodes = np.array([line.get("sensor_id", "0") for line in lines])
        stamps = [int(line.get("timestamp_ms", 60_000 * row)) for row, line in enumerate(lines)]
        self.times_ms = np.array(stamps, dtype=np.int64) - stamps[0] + UPTIME_MS
        self.unit_ms = next(unit for unit in UNITS_MS if not (np.diff(self.times_ms) % unit).any())
        self.scales = {name: decimals(values) for name, values in self.fields.items()}
        self.quantities = dict(zip(names, _quantities(names), strict=True))

    def batches(self, rows: int) -> Iterator[tuple[list[Part], Batch, list[Part], Batch]]:
        """Runs of so many rows, evenly over the series, each with the one before it."""
        count = len(self.times_ms) // rows
        for number in range(1, count, max(1, count // max(4, MOST_ROWS // rows))):
            yield *self._batch(number, rows), *self._batch(number - 1, rows)

    def _batch(self, number: int, rows: int) -> tuple[list[Part], Batch]:
        chosen = np.arange(number * rows, (number + 1) * rows)
        nodes = sorted(set(self.nodes[chosen]))
        runs = [(node, chosen[self.nodes[chosen] == node]) for node in nodes]
        return [self._part(*run) for run in runs], Batch(tuple(self._group(*run) for run in runs))

    def _part(self, node: str, own: Ints) -> Part:
        integers = {
            name: None if scale is None else np.rint(self.fields[name][own] * 10.0**scale).astype(np.int64)
            for name, scale in self.scales.items()
        }
        fields = {name: values[own] for name, values in self.fields.items()}
        return Part(node, self.times_ms[own] // self.unit_ms, fields, integers)

    def _group(self, node: str, own: Ints) -> Group:
        columns = tuple(
            Column(self.quantities[name], tuple(values[own].tolist()), None, (0,) * len(own), None)
            for name, values in self.fields.items()
        )
        return Group(f"room-{node}", tuple((self.times_ms[own] * NS_PER_MS).tolist()), columns)

    def announcement(self) -> Announcement:
        """Of all nodes."""
        own = tuple(self.quantities.values())
        return make_announcement(ENVELOPE, NS_PER_MS, [(f"room-{node}", own) for node in sorted(set(self.nodes))])


def _quantities(names: list[str]) -> list[str]:
    """The canonical name for the first field of a kind, its own name for the others."""
    taken: set[str] = set()
    quantities = []
    for name in names:
        kind = next((kind for start, kind in KINDS.items() if name.startswith(start)), name)
        quantities.append(name if kind in taken else kind)
        taken.add(kind)
    return quantities


def checked(body: bytes, batch: Batch, announcement: Announcement | None = None, before: Batch | None = None) -> int:
    """Bytes of the whole message, once it has been decoded and compared.

    Args:
        body: of the message.
        batch: what it holds.
        announcement: what it goes by; None: it stands alone.
        before: the batch that it may refer to.
    """
    known = Known()
    message: bytes | None = encode_message(RecordKind.BATCH, ENVELOPE, body)
    if before is not None:
        known.add_batch(replace(ENVELOPE, seq=ENVELOPE.seq - 1), before)
    if announcement is not None and message is not None:
        known.add(announcement)
        message = by_announcement(message, announcement)
    if message is None:
        raise AssertionError("a batch cannot be sent by announcement")
    content = decode_message(message, known).content
    if not isinstance(content, Batch) or len(content.groups) != len(batch.groups):
        raise AssertionError("a message does not decode to what was encoded")
    for found, meant in zip(content.groups, batch.groups, strict=True):
        if found.times_ns != meant.times_ns or found.sensor != meant.sensor:
            raise AssertionError("stamps do not decode to what was encoded")
        for back, column in zip(found.columns, meant.columns, strict=True):
            if doubles(list(back.values)) != doubles(list(column.values)):  # type: ignore[arg-type]
                raise AssertionError(f"{column.quantity} does not decode to what was encoded")
    return len(message)


def bench_sizes(folder: Path) -> None:
    """Print a line per series and size."""
    print("\n## Bytes per reading, whole messages; rice, adaptive, primed: computed without any envelope")
    print(f"{'series':20s} {'rows':>5s} {' '.join(f'{name:>12s}' for name in SHOWN)} | ", end="")
    print("  rice  adaptive  primed |  alone announced  next | alone/rice announced/rice announced/least", end="")
    print("  next/(primed + 4 B)")
    for path in sorted(folder.glob("*.csv")):
        series = Series(path)
        for rows in SIZES:
            _size_line(series, rows)


def _size_line(series: Series, rows: int) -> None:
    announcement = series.announcement()
    total: dict[str, float] = {}
    readings = 0
    for parts, batch, earlier, before in series.batches(rows):
        sizes: dict[str, float] = {**others(parts), **ideals(parts, earlier)}
        sizes["alone"] = checked(encode_batch(batch), batch)
        sizes["announced"] = checked(encode_batch(batch), batch, announcement)
        body = encode_batch(batch, reference=Reference(ENVELOPE.seq - 1, before))
        sizes["next"] = checked(body, batch, announcement, before)
        for name, size in sizes.items():
            total[name] = total.get(name, 0.0) + size
        readings += rows * len(series.fields)
    if not readings:
        return
    each = {name: size / readings for name, size in total.items()}
    print(f"{series.name:20s} {rows:5d} {' '.join(f'{each[name]:12.3f}' for name in SHOWN)} | ", end="")
    print(f"{each['rice']:6.3f} {each['adaptive']:9.3f} {each['primed']:7.3f} | ", end="")
    print(f"{each['alone']:6.3f} {each['announced']:9.3f} {each['next']:5.3f} | ", end="")
    least = min(each["rice"], each["adaptive"])
    announced = each["announced"]
    print(f"{each['alone'] / each['rice']:10.3f} {announced / each['rice']:14.3f} {announced / least:15.3f}", end="")
    print(f"{each['next'] / (each['primed'] + 4 / (rows * len(series.fields))):20.3f}")


def bench_parts(folder: Path) -> None:
    """Print what envelope, times, values, flags, raw values, features and sigmas each add to a published minute."""
    print("\n## Bytes that each part adds to a message of 60 filtered rows")
    print(f"{'series':20s} readings envelope  times values   raws features   sigmas  flags (3 % of cells)")
    for name in ("astropi_sensehat", "room_A60"):
        path = folder / f"{name}.csv"
        if not path.exists():
            continue
        rows = read_series(path)
        published = Published(rows, send_sigma=True)
        announcement = make_announcement(ENVELOPE, NS_PER_MS, published.announcement.sensors)
        sums = np.zeros(8)
        for first in range(0, 1200, 60):
            content = decode_message(
                encode_message(RecordKind.BATCH, ENVELOPE, published.body(rows[first : first + 60]))
            ).content
            if isinstance(content, Batch):
                sums += _parts(content, announcement)
        readings, *sizes = sums / 20
        print(f"{name:20s} {readings:8.0f} {' '.join(f'{size:8.1f}' for size in sizes)}")


def _parts(batch: Batch, announcement: Announcement) -> Floats:
    def size(change: Callable[[Column], Column | None]) -> int:
        groups = tuple(
            group._replace(columns=tuple(new for column in group.columns if (new := change(column)) is not None))
            for group in batch.groups
        )
        _heads, data = msgpack.unpackb(encode_batch(Batch(groups)))
        return len(data)

    def flagged(column: Column) -> Column:
        odd = status_of(Flag.TOO_FAST)
        statuses = tuple(odd if row % 33 == 7 else status for row, status in enumerate(column.statuses))
        return column._replace(statuses=statuses, raws=None, features=None, sigmas=None)

    times = size(lambda _: None)
    values = size(lambda column: column._replace(raws=None, features=None, sigmas=None))
    raws = size(lambda column: column._replace(features=None, sigmas=None))
    described = size(lambda column: column._replace(sigmas=None))
    whole = size(lambda column: column)
    envelope = checked(encode_batch(batch), batch, announcement) - whole
    readings = sum(len(column.values) for group in batch.groups for column in group.columns)
    parts = (
        envelope,
        times,
        values - times,
        raws - values,
        described - raws,
        whole - described,
        size(flagged) - values,
    )
    return np.array([readings, *parts], dtype=np.float64)


def bench_speed() -> None:
    """Print readings per second of one core for 20 channels of 60 rows."""
    print(f"\n## Readings per second and core, 20 channels × 60 rows, best of {TURNS}")
    _speed("stamps on the second", _speed_batch(0))
    _speed("stamps late 0–2 ms", _speed_batch(2 * NS_PER_MS))


def _speed(title: str, batch: Batch) -> None:
    body = encode_batch(batch)
    message = encode_message(RecordKind.BATCH, ENVELOPE, body)
    rows = [(group.times_ns, [column.values for column in group.columns]) for group in batch.groups]
    packed = msgpack.packb(rows)
    arrays = [np.array(column.values) for group in batch.groups for column in group.columns]
    chunks = [standalone.simple_compress(array, ChunkConfig()) for array in arrays]
    ways: dict[str, tuple[Callable[[], object], int]] = {
        "ours, encode": (lambda: encode_batch(batch), len(message)),
        "ours, decode": (lambda: decode_message(message), len(message)),
        "msgpack, encode": (lambda: msgpack.packb(rows), len(packed)),
        "msgpack, decode": (lambda: msgpack.unpackb(packed), len(packed)),
        "pcodec, encode": (
            lambda: [standalone.simple_compress(array, ChunkConfig()) for array in arrays],
            sum(map(len, chunks)),
        ),
        "pcodec, decode": (lambda: [standalone.simple_decompress(chunk) for chunk in chunks], sum(map(len, chunks))),
    }
    for name, (work, size) in ways.items():
        print(f"{title:22s} {name:16s} {_rate(work, 1200):12,.0f}/s   {size:6d} bytes")


def _speed_batch(jitter_ns: int) -> Batch:
    delivered = measurements(20, 60, jitter_ns)
    groups = []
    for sensor in range(10):
        own = delivered[sensor::10]
        times = tuple(each.boot_ns // NS_PER_MS * NS_PER_MS for each in own)
        columns = tuple(
            Column(quantity, tuple(round(each.values[place] or 0.0, 2) for each in own), None, (0,) * 60, None)
            for place, quantity in enumerate(own[0].quantities)
        )
        groups.append(Group(own[0].sensor, times, columns))
    return Batch(tuple(groups))


def _rate(work: Callable[[], object], readings: int) -> float:
    best = float("inf")
    for _ in range(TURNS):
        before = time.process_time_ns()
        for _ in range(50):
            work()
        best = min(best, (time.process_time_ns() - before) / NS_PER_S / 50)
    return readings / best


def main() -> None:
    """Print everything."""
    folder = shared_series()
    if folder is None:
        print("no recorded series at ../shared/data/series; set EDGE_AGENT_SHARED to where shared/ is")
    else:
        bench_sizes(folder)
        bench_parts(folder)
    bench_published()
    bench_speed()


if __name__ == "__main__":
    main()
