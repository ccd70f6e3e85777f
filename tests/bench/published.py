"""Bytes per reading as published, beside JSON, for recorded series. Part of `bench_wire` and `bench_path`."""

from __future__ import annotations

import csv
import json
import os
import zlib
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.clock import NS_PER_S, ClockQuality, SimulatedClock
from edge_agent.outbox.worker import Store
from edge_agent.pipeline.pipeline import Pipeline
from edge_agent.pipeline.rounding import rounded
from edge_agent.pipeline.settings import BatchSettings, ChannelSettings
from edge_agent.quantity import QUANTITIES
from edge_agent.reading import Measurement, RecordKind
from edge_agent.stages.filters.auto import AutoSettings
from edge_agent.stages.validate import Limits
from edge_agent.uplink.dialects.announcer import TEACH_EVERY
from edge_agent.wire.batch import Batch, Column, Group
from edge_agent.wire.codec import (
    Known,
    by_announcement,
    decode_message,
    encode_batch,
    encode_message,
    make_announcement,
    teaching,
)
from edge_agent.wire.envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.wire.codec import Announcement

ROWS: Final = 60
MOST_ROWS: Final = 6_000
"""Of each series; the tail says nothing new."""
NS_PER_MS: Final = 1_000_000
KINDS: Final = {
    "rh": "humidity_pct",
    "hum": "humidity_pct",
    "press": "pressure_pa",
    "co2": "co2_ppm",
    "light": "illuminance_lx",
    "t": "temperature_c",
}
"""What a field is, by how its name begins."""
PA_PER_UNIT: Final = {"pressure": 100.0, "press_mmhg": 133.322387415}
ENVELOPE: Final = Envelope("greenhouse-01", 1 << 52, 123_456, 7, 1_767_225_600 * NS_PER_S, ClockQuality.SYNCED)


class Row(NamedTuple):
    """One line of a series: what JSON would say, and the measurements of which it consists."""

    fields: dict[str, float]
    measurements: list[Measurement]


def shared_series() -> Path | None:
    """Folder of the recorded series, beside the repository or where EDGE_AGENT_SHARED says."""
    named = os.environ.get("EDGE_AGENT_SHARED")
    folder = (Path(named) if named else Path(__file__).parents[3] / "shared") / "data" / "series"
    return folder if folder.is_dir() else None


def read_series(path: Path) -> list[Row]:
    """Rows of a CSV file with `timestamp_ms`. Fields of one kind become sensors of their own."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        names = [name for name in reader.fieldnames or () if name not in {"timestamp_ms", "sensor_id"}]
        if "timestamp_ms" not in (reader.fieldnames or ()):
            return []
        kinds = {name: next(kind for start, kind in KINDS.items() if name.startswith(start)) for name in names}
        sensors: dict[int, list[str]] = {}
        for index, name in enumerate(names):
            sensors.setdefault(sum(kinds[other] == kinds[name] for other in names[:index]), []).append(name)
        rows = []
        for line, _ in zip(reader, range(MOST_ROWS), strict=False):
            boot_ns = int(line["timestamp_ms"]) * NS_PER_MS
            node = line.get("sensor_id", "")
            fields = {name: float(line[name]) for name in names}
            said = {"t": int(line["timestamp_ms"]), **({"sensor": int(node)} if node else {}), **fields}
            made = [
                Measurement(
                    f"room{node}-{place}",
                    boot_ns,
                    tuple(kinds[name] for name in own),
                    tuple(_canonical(name, fields[name]) for name in own),
                )
                for place, own in sensors.items()
            ]
            rows.append(Row(said, made))
        return rows


def _canonical(name: str, value: float) -> float:
    return round(value * PA_PER_UNIT[name], 4) if name in PA_PER_UNIT else value


def _batches(rows: list[Row]) -> Iterator[list[Row]]:
    for first in range(0, len(rows) - ROWS + 1, ROWS):
        yield rows[first : first + ROWS]


class Sizes(NamedTuple):
    """Bytes of a batch as a message that stands alone, and as the daemon sends it on the average.

    That is by announcement, but for one batch of `TEACH_EVERY`, which stands alone and teaches.
    """

    alone: float
    sent: float


def sizes_of(body: bytes, meant: Batch | None, announcement: Announcement) -> Sizes:
    """Sizes of a batch; each form is decoded again and compared."""
    alone = encode_message(RecordKind.BATCH, ENVELOPE, body)
    message = by_announcement(alone, announcement)
    if message is None:
        raise AssertionError("a batch cannot be sent by announcement")
    known = Known()
    known.add(announcement)
    content = decode_message(alone).content
    if content != decode_message(message, known).content or meant not in {None, content}:
        raise AssertionError("a message does not decode to what was encoded")
    taught = len(teaching(alone, announcement))
    return Sizes(len(alone), (len(message) * (TEACH_EVERY - 1) + taught) / TEACH_EVERY)


def _values_only(batch: list[Row], announcement: Announcement) -> Sizes:
    """Messages with just what was recorded; decoded again and compared bit by bit."""
    by_sensor: dict[str, list[Measurement]] = {sensor: [] for sensor, _own in announcement.sensors}
    for row in batch:
        for each in row.measurements:
            by_sensor.setdefault(each.sensor, []).append(each)
    groups = tuple(
        Group(
            sensor,
            tuple(each.boot_ns for each in own),
            tuple(
                Column(quantity, tuple(each.values[index] for each in own), None, (0,) * len(own), None)
                for index, quantity in enumerate(own[0].quantities)
            ),
        )
        for sensor, own in by_sensor.items()
        if own
    )
    return sizes_of(encode_batch(Batch(groups)), Batch(groups), announcement)


class Published:
    """The pipeline with its default settings, over one series; with sigmas if they are asked for."""

    def __init__(self, rows: list[Row], *, send_sigma: bool = False) -> None:
        self._send_sigma = send_sigma
        self._stored: list[Store] = []
        self._clock = SimulatedClock(0, start_ns=rows[0].measurements[0].boot_ns)
        sensors = {each.sensor: each.quantities for row in rows for each in row.measurements}
        self.announcement = make_announcement(ENVELOPE, NS_PER_MS, sensors.items())
        self._pipeline = Pipeline(
            {name: [self._settings(quantity) for quantity in quantities] for name, quantities in sensors.items()},
            BatchSettings(1 << 62, 1 << 62),
            clock=self._clock,
            store=self._store,
        )

    def _settings(self, name: str) -> ChannelSettings:
        quantity = QUANTITIES[name]
        return ChannelSettings(
            name,
            Limits(-1e9, 1e9),
            filter=AutoSettings(quantity.sigma, quantity.resolution),
            resolution=quantity.resolution,
            raw_resolution=quantity.resolution,
            send_sigma=self._send_sigma,
        )

    def _store(self, message: object) -> bool:
        if isinstance(message, Store):
            self._stored.append(message)
        return True

    def body(self, batch: list[Row]) -> bytes:
        """One batch as it is published; its raw values are compared with what was recorded."""
        expected: dict[tuple[str, str], list[float | None]] = {}
        for row in batch:
            for each in row.measurements:
                self._pipeline.deliver(each)
                for quantity, value in zip(each.quantities, each.values, strict=True):
                    expected.setdefault((each.sensor, quantity), []).append(value)
        self._pipeline.step()
        self._pipeline.seal()
        body = self._stored.pop().content.body
        content = decode_message(encode_message(RecordKind.BATCH, ENVELOPE, body)).content
        if not isinstance(content, Batch):
            raise TypeError("a batch was published as something else")
        for group in content.groups:
            for column in group.columns:
                recorded = rounded(
                    expected.pop((group.sensor, column.quantity)), QUANTITIES[column.quantity].resolution
                )
                if list(column.raws or ()) != recorded:
                    raise AssertionError(f"{group.sensor}.{column.quantity} is not what was recorded")
        if expected:
            raise AssertionError(f"missing: {list(expected)}")
        return body


def bench_published() -> None:
    """Print the sizes."""
    print(f"\n## Bytes per reading, whole messages of {ROWS} rows, each decoded again and compared")
    folder = shared_series()
    if folder is None:
        print("left out: no recorded series at ../shared/data/series; set EDGE_AGENT_SHARED to where shared/ is")
        return
    print(f"one message in {TEACH_EVERY} stands alone and teaches, the others go by announcement; beside it all alone")
    print(
        f"{'series':22s} {'JSON':>6s} {'+zlib-6':>8s} {'values':>7s} {'alone':>7s} {'published':>10s} {'alone':>7s}",
        end="",
    )
    print("   JSON/values  zlib/published")
    for path in sorted(folder.glob("*.csv")):
        rows = read_series(path)
        if not rows:
            print(f"{path.stem:22s} has no timestamp_ms")
            continue
        published = Published(rows)
        sizes: list[tuple[float, ...]] = []
        for batch in _batches(rows):
            readings = sum(len(each.values) for row in batch for each in row.measurements)
            text = json.dumps([row.fields for row in batch]).encode()
            values = _values_only(batch, published.announcement)
            whole = sizes_of(published.body(batch), None, published.announcement)
            costs = (len(text), len(zlib.compress(text, 6)), values.sent, values.alone, whole.sent, whole.alone)
            sizes.append(tuple(cost / readings for cost in costs))
        plain, packed, bare, bare_alone, sent, alone = (sum(column) / len(sizes) for column in zip(*sizes, strict=True))
        print(
            f"{path.stem:22s} {plain:6.1f} {packed:8.2f} {bare:7.3f} {bare_alone:7.3f} {sent:10.3f} {alone:7.3f}   "
            f"{plain / bare:11.1f} {packed / sent:15.2f}   median batch {median(size[2] for size in sizes):.3f} / "
            f"{median(size[4] for size in sizes):.3f}"
        )
