"""Turns messages into the public JSON objects, one line of ndjson each. Pure.

They are dicts, because they leave the program as JSON. Keys and their order are public and stable.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import NS_PER_S
from edge_agent.reading import NOT_SENT, Event, Flag, flags_of, quality_of
from edge_agent.wire.batch import Batch, StatusText

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.features import Features
    from edge_agent.wire.batch import Group, Message, Tombstone
    from edge_agent.wire.envelope import Envelope

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SHORTEST_FRACTION: Final = 3
MORE_FEATURES: Final = ("time_weighted_mean", "median", "p05", "p95", "rms_difference", "share_good", "range")
"""Features that the first senders did not have; the same names as in `Features`."""


def objects(item: Message | StatusText) -> Iterator[dict[str, Any]]:
    """Turn what `decode_stream` yields into objects for `json.dumps`.

    Yields:
        One object per reading that was sent, without `kind`, and with its `row` if the message holds part of a batch;
        then one per column with features, event, tombstone or status, with `kind`. Numbers that JSON cannot hold (NaN,
        infinities) become null.
    """
    if isinstance(item, StatusText):
        yield {"kind": "status", **{key: value for key, value in item.fields.items() if key != "kind"}}
        return
    envelope, content = item.envelope, item.content
    identity: dict[str, Any] = {"node": envelope.node, "epoch": envelope.epoch, "seq": envelope.seq}
    if isinstance(content, Batch):
        numbers = None if item.rows is None else iter(item.rows.numbers())
        for group in content.groups:
            rows = None if numbers is None else list(islice(numbers, len(group.times_ns)))
            yield from _readings(envelope, identity, group, rows)
        for group in content.groups:
            yield from _features(envelope, identity, group)
    elif isinstance(content, Event):
        yield _event(envelope, identity, content)
    else:
        yield _tombstone(envelope, identity, content)


def _readings(
    envelope: Envelope, identity: dict[str, Any], group: Group, rows: list[int] | None
) -> Iterator[dict[str, Any]]:
    walls_ns = [stamp + envelope.offset_ns for stamp in group.times_ns]
    times = [iso_utc(wall_ns) for wall_ns in walls_ns]
    t_quality = envelope.time_quality.name.lower()
    judged: dict[int, tuple[str, list[str]]] = {}
    for column in group.columns:
        nothing = [None] * len(times)
        raws = nothing if column.raws is None else column.raws
        sigmas = nothing if column.sigmas is None else column.sigmas
        numbers = repeat({}) if rows is None else ({"row": row} for row in rows)
        cells = zip(times, walls_ns, column.values, raws, sigmas, column.statuses, numbers, strict=False)
        for t, t_ns, value, raw, sigma, status, number in cells:
            if status == NOT_SENT:
                continue
            if status not in judged:
                judged[status] = _judge(status)
            quality, flags = judged[status]
            yield {
                **identity,
                **number,
                "sensor": group.sensor,
                "quantity": column.quantity,
                "t": t,
                "t_ns": t_ns,
                "t_quality": t_quality,
                "value": _finite(value),
                "raw": _finite(raw),
                **({} if column.sigmas is None else {"sigma": sigma}),
                "quality": quality,
                "flags": list(flags),
            }


def _judge(status: int) -> tuple[str, list[str]]:
    flags = flags_of(status)
    return quality_of(status).name.lower(), [str(flag.name).lower() for flag in Flag if flag in flags]


def _features(envelope: Envelope, identity: dict[str, Any], group: Group) -> Iterator[dict[str, Any]]:
    for column in group.columns:
        if column.features is not None:
            yield {
                "kind": "features",
                **identity,
                "sensor": group.sensor,
                "quantity": column.quantity,
                **_span(envelope, group),
                **{name: _finite(number) for name, number in statistics(column.features)},
            }


def _span(envelope: Envelope, group: Group) -> dict[str, str | None]:
    if not group.times_ns:
        return {"t_from": None, "t_to": None}
    first_ns, last_ns = min(group.times_ns), max(group.times_ns)
    return {
        "t_from": iso_utc(first_ns + envelope.offset_ns),
        "t_to": iso_utc(last_ns + envelope.offset_ns),
    }


def statistics(features: Features) -> Iterator[tuple[str, float]]:
    """Yield name and number of each feature that is known; the count is an int."""
    yield "count", features.count
    yield "mean", features.mean
    yield "std", features.std
    yield "min", features.minimum
    yield "max", features.maximum
    yield "slope_per_s", features.slope_per_s
    if features.is_full:
        for name in MORE_FEATURES:
            yield name, getattr(features, name)


def _event(envelope: Envelope, identity: dict[str, Any], event: Event) -> dict[str, Any]:
    wall_ns = event.boot_ns + envelope.offset_ns
    return {
        "kind": "event",
        **identity,
        "event": event.kind.value,
        "subject": event.subject,
        "state": event.state,
        "cause": event.cause,
        **({} if event.errno is None else {"errno": event.errno}),
        **({} if event.severity is None else {"severity": event.severity}),
        **({} if event.fix is None else {"fix": {key: getattr(event.fix, key) for key in event.fix.__slots__}}),
        "t": iso_utc(wall_ns),
        "t_ns": wall_ns,
        "t_quality": envelope.time_quality.name.lower(),
    }


def _tombstone(envelope: Envelope, identity: dict[str, Any], tombstone: Tombstone) -> dict[str, Any]:
    return {
        "kind": "tombstone",
        **identity,
        **({} if tombstone.epoch is None else {"of_epoch": tombstone.epoch}),
        "first_seq": tombstone.first_seq,
        "last_seq": tombstone.last_seq,
        "records": tombstone.records,
        "readings": tombstone.readings,
        "reason": tombstone.reason,
        **({} if not tombstone.rows else {"rows": [list(dropped) for dropped in tombstone.rows]}),
        "t_from": iso_utc(tombstone.first_ns + envelope.offset_ns),
        "t_to": iso_utc(tombstone.last_ns + envelope.offset_ns),
        "t_quality": envelope.time_quality.name.lower(),
    }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def iso_utc(wall_ns: int) -> str:
    """Write UNIX nanoseconds as ISO 8601 UTC, exactly, with the decimals it needs and three at least.

    Args:
        wall_ns: at most the sum of two int64, which is within the years 1385 to 2554.
    """
    seconds, fraction_ns = divmod(wall_ns, NS_PER_S)
    moment = _EPOCH + timedelta(seconds=seconds)
    fraction = f"{fraction_ns:09d}".rstrip("0").ljust(_SHORTEST_FRACTION, "0")
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction}Z"
