"""Sparkplug B payloads (Sparkplug 3.0, chapter 6): records as metrics, and metrics as bytes. Pure.

Names are `SENSOR/QUANTITY`; below a quantity stand `/raw` and the features of the batch. An event or tombstone is one
metric, `event` or `tombstone`, whose text is the JSON object that `format = "json"` would send, so that it stays in one
piece. `clock` says how far to trust the times, which are whole milliseconds. A reading that is not good has the
property `Quality` (0 if bad, else 192; the specification knows but one more, 500 for stale) and `status`: the reasons.
Every metric has its type: the specification asks for it in births only, but widely used decoders read a value without a
type as null.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from edge_agent.reading import Event
from edge_agent.wire.batch import Batch
from edge_agent.wire.formats import json_document
from edge_agent.wire.formats.base import cells, statistics
from edge_agent.wire.formats.sparkplug_schema import DecodeError, Payload
from edge_agent.wire.rows import MORE_FEATURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edge_agent.wire.batch import Column, Message, Tombstone
    from edge_agent.wire.envelope import Envelope

BD_SEQ: Final = "bdSeq"
REBIRTH: Final = "Node Control/Rebirth"
CLOCK: Final = "clock"
EVENT: Final = "event"
TOMBSTONE: Final = "tombstone"
FEATURES: Final = ("count", "mean", "std", "min", "max", "slope_per_s", *MORE_FEATURES)
_NS_PER_MS: Final = 1_000_000
_GOOD: Final = 192
_BAD: Final = 0


class DataType(IntEnum):
    """The data types of the specification that we use."""

    INT32 = 3
    INT64 = 4
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12


_FIELD_OF: Final = {
    DataType.INT32: "int_value",
    DataType.INT64: "long_value",
    DataType.DOUBLE: "double_value",
    DataType.BOOLEAN: "boolean_value",
    DataType.STRING: "string_value",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One value of one metric.

    Attributes:
        name: unique within the edge node.
        t_ms: UNIX time.
        kind: its type.
        value: None is sent as null.
        properties: name and value of each.
    """

    name: str
    t_ms: int
    kind: DataType
    value: float | str | None
    properties: tuple[tuple[str, int | str], ...] = ()


def payload(
    t_ms: int,
    metrics: Iterable[Metric],
    *,
    seq: int | None,
    historical: bool = False,
) -> bytes:
    """Write a payload.

    Args:
        t_ms: UNIX time at which it is published.
        metrics: those that are not historical must ascend in time.
        seq: 0..255; None in a death.
        historical: whether the values are old ones, not current ones.
    """
    message = Payload(timestamp=t_ms)
    if seq is not None:
        message.seq = seq
    for metric in metrics:
        written = message.metrics.add(name=metric.name, timestamp=metric.t_ms, datatype=metric.kind)
        if historical:
            written.is_historical = True
        if metric.value is None:
            written.is_null = True
        else:
            setattr(written, _FIELD_OF[metric.kind], metric.value)
        for name, value in metric.properties:
            written.properties.keys.append(name)
            if isinstance(value, int):
                written.properties.values.add(type=DataType.INT32, int_value=value)
            else:
                written.properties.values.add(type=DataType.STRING, string_value=value)
    octets: bytes = message.SerializeToString()
    return octets


def asks_for_rebirth(command: bytes) -> bool:
    """Tell whether an NCMD payload asks for a rebirth; one that cannot be read does not."""
    try:
        message = Payload.FromString(command)
    except DecodeError:
        return False
    return any(metric.name == REBIRTH and metric.boolean_value for metric in message.metrics)


def metrics_of(message: Message) -> Sequence[Metric]:
    """Turn a record into metrics, in the order of time."""
    envelope, content = message.envelope, message.content
    metrics = list(_batch(envelope, content)) if isinstance(content, Batch) else [_text(message, envelope, content)]
    metrics.sort(key=_t_ms)
    first_ms = metrics[0].t_ms if metrics else to_ms(envelope.offset_ns)
    return [Metric(CLOCK, first_ms, DataType.STRING, envelope.time_quality.name.lower()), *metrics]


def to_ms(wall_ns: int) -> int:
    """UNIX milliseconds; the payload has no time before 1970."""
    return max(0, wall_ns // _NS_PER_MS)


def _t_ms(metric: Metric) -> int:
    return metric.t_ms


def _text(message: Message, envelope: Envelope, content: Event | Tombstone) -> Metric:
    name, stamp_ns = (EVENT, content.boot_ns) if isinstance(content, Event) else (TOMBSTONE, content.last_ns)
    text = json_document.rewrite(message).payload.decode()
    return Metric(name, to_ms(stamp_ns + envelope.offset_ns), DataType.STRING, text)


def _batch(envelope: Envelope, batch: Batch) -> Iterator[Metric]:
    for group in batch.groups:
        times = [to_ms(stamp_ns + envelope.offset_ns) for stamp_ns in group.times_ns]
        for column in group.columns:
            yield from _column(f"{group.sensor}/{column.quantity}", times, column)


def _column(name: str, times: Sequence[int], column: Column) -> Iterator[Metric]:
    for cell in cells(column):
        t_ms = times[cell.row]
        properties: tuple[tuple[str, Any], ...] = ()
        if cell.flags:
            code = _BAD if cell.quality == "bad" or cell.value is None else _GOOD
            properties = (("Quality", code), ("status", " ".join((cell.quality, *cell.flags))))
        yield Metric(name, t_ms, DataType.DOUBLE, cell.value, properties)
        if cell.raw is not None:
            yield Metric(f"{name}/raw", t_ms, DataType.DOUBLE, cell.raw)
    if column.features is not None and times:
        for statistic, number in statistics(column.features):
            kind = DataType.INT64 if statistic == "count" else DataType.DOUBLE
            yield Metric(f"{name}/{statistic}", max(times), kind, number)
