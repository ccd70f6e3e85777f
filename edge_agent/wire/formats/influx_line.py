"""InfluxDB line protocol, as Telegraf's mqtt_consumer and every InfluxDB since 0.9 read it. Pure.

A point is identified by measurement, tags and time; the same again overwrites it with the same, so that a repetition
does no harm. Readings: measurement = sensor, tags `node` and `quality`, one field per quantity, beside it `…_raw` and,
where there are any, `…_sigma` and `…_flags`. Readings of one sensor, moment and quality share a line. A
reading without value is a line with `…_flags` alone. Times in another quality than `synced` have the tag `t_quality`.
https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from edge_agent.clock import ClockQuality
from edge_agent.reading import Event
from edge_agent.wire.batch import Batch
from edge_agent.wire.formats.base import Rewritten, cells, statistics
from edge_agent.wire.rows import iso_utc

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge_agent.wire.batch import Group, Message, Tombstone
    from edge_agent.wire.envelope import Envelope

CONTENT_TYPE: Final = "text/plain;charset=utf-8"
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
"""Control characters: line breaks end a line, and the protocol does not define the others."""


def rewrite(message: Message) -> Rewritten:
    """Write a record as lines, each with its newline."""
    envelope, content = message.envelope, message.content
    if isinstance(content, Batch):
        lines = [
            each for group in content.groups for each in (*_readings(envelope, group), *_features(envelope, group))
        ]
    elif isinstance(content, Event):
        lines = [_event(envelope, content)]
    else:
        lines = [_tombstone(envelope, content)]
    return Rewritten("".join(f"{each}\n" for each in lines).encode(), CONTENT_TYPE)


def line(measurement: str, tags: Mapping[str, str], fields: Mapping[str, float | str], t_ns: int) -> str:
    """Write one point.

    Args:
        measurement: its name.
        tags: empty ones are left out, because the protocol has none.
        fields: at least one; floats must be finite, whole numbers are marked as such.
        t_ns: UNIX time; int64, less the two extremes at either end, which InfluxDB keeps for itself.
    """
    head = _escaped(measurement, keep="=") + "".join(f",{key}={_escaped(tag)}" for key, tag in tags.items() if tag)
    return f"{head} {','.join(f'{_escaped(key)}={_field(value)}' for key, value in fields.items())} {t_ns}"


def _field(value: float | str) -> str:
    if isinstance(value, str):
        return '"' + _on_one_line(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{value}i" if isinstance(value, int) else repr(value)


def _escaped(text: str, *, keep: str = "") -> str:
    """Escape separators. A backslash cannot be escaped, and at the end it would escape the next separator."""
    text = _on_one_line(text).rstrip("\\")
    for character in ", =":
        if character not in keep:
            text = text.replace(character, "\\" + character)
    return text


def _on_one_line(text: str) -> str:
    return _CONTROL.sub(" ", text)


def _tags(envelope: Envelope, **more: str) -> dict[str, str]:
    quality = envelope.time_quality
    doubt = {} if quality is ClockQuality.SYNCED else {"t_quality": quality.name.lower()}
    return {"node": envelope.node, **more, **doubt}


def _readings(envelope: Envelope, group: Group) -> Iterator[str]:
    points: list[dict[str, dict[str, float | str]]] = [{} for _ in group.times_ns]
    for column in group.columns:
        name = column.quantity
        for cell in cells(column):
            fields = points[cell.row].setdefault(cell.quality, {})
            if cell.value is not None:
                fields[name] = float(cell.value)
            if cell.raw is not None:
                fields[f"{name}_raw"] = float(cell.raw)
            if cell.sigma is not None:
                fields[f"{name}_sigma"] = cell.sigma
            if cell.flags:
                fields[f"{name}_flags"] = " ".join(cell.flags)
    for stamp_ns, point in zip(group.times_ns, points, strict=True):
        for quality, fields in point.items():
            yield line(group.sensor, _tags(envelope, quality=quality), fields, stamp_ns + envelope.offset_ns)


def _features(envelope: Envelope, group: Group) -> Iterator[str]:
    """Write the features of each column, at the time of the last row."""
    for column in group.columns:
        features = column.features
        if features is not None and group.times_ns:
            tags = _tags(envelope, sensor=group.sensor, quantity=column.quantity)
            yield line("features", tags, dict(statistics(features)), max(group.times_ns) + envelope.offset_ns)


def _event(envelope: Envelope, event: Event) -> str:
    errno = {} if event.errno is None else {"errno": event.errno}
    severity = {} if event.severity is None else {"severity": event.severity}
    tags = _tags(envelope, kind=event.kind.value, subject=event.subject)
    fields: dict[str, float | str] = {"state": event.state, "cause": event.cause, **errno, **severity}
    return line("event", tags, fields, event.boot_ns + envelope.offset_ns)


def _tombstone(envelope: Envelope, tombstone: Tombstone) -> str:
    """Write a tombstone. Its identity is among the tags, so that another of the same time does not overwrite it."""
    tags = _tags(envelope, epoch=str(envelope.epoch), seq=str(envelope.seq))
    fields: dict[str, float | str] = {
        "reason": tombstone.reason,
        **({} if tombstone.epoch is None else {"of_epoch": tombstone.epoch}),
        "first_seq": tombstone.first_seq,
        **({} if tombstone.last_seq is None else {"last_seq": tombstone.last_seq}),
        "records": tombstone.records,
        "readings": tombstone.readings,
        "t_from": iso_utc(tombstone.first_ns + envelope.offset_ns),
        "t_to": iso_utc(tombstone.last_ns + envelope.offset_ns),
    }
    return line("tombstone", tags, fields, tombstone.last_ns + envelope.offset_ns)
