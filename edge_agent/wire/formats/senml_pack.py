"""SenML packs in JSON (RFC 8428), one per record. Pure.

Names are `edge/NODE/SENSOR/QUANTITY`; below a quantity stand `/raw`, `/sigma`, where a reading is not good `/quality`
(with the reasons, as text), and the features of the batch. Base time is a whole second, so that a time in it stays
exact to the nanosecond, which the double nearest to a UNIX time would not be. Every pack tells in `clock` how far to
trust its times. A pack cannot hold a time before 1978-07-04: below 2**28 s it would mean "so long ago" (RFC 8428,
4.5.3), so a record of a clock that nobody has set is published as JSON, on the topic `…/json`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from edge_agent.clock import NS_PER_S
from edge_agent.reading import Event
from edge_agent.wire.batch import Batch
from edge_agent.wire.formats import json_document
from edge_agent.wire.formats.base import Rewritten, cells, statistics
from edge_agent.wire.rows import iso_utc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.wire.batch import Column, Message, Tombstone
    from edge_agent.wire.envelope import Envelope

CONTENT_TYPE: Final = "application/senml+json"
_UNITS: Final = {"c": "Cel", "pa": "Pa", "ppm": "ppm", "lx": "lx"}
"""Registered unit by the end of a quantity's name (IANA, SenML units); all but ppm are primary units."""
_SECONDARY: Final = "ppm"
_WITHOUT_UNIT: Final = {"count", "slope_per_s", "share_good"}
_WITH_SECONDARY_UNITS: Final = 26
"""Version of a pack that has secondary units (RFC 9100: 10 + 2**4)."""
_FIRST_ABSOLUTE_NS: Final = (1 << 28) * NS_PER_S
_NOT_IN_NAMES: Final = re.compile("[^A-Za-z0-9./_-]")

Entry = tuple[int, dict[str, Any]]
"""Moment (UNIX ns) and the fields of a SenML record, without its time."""


def rewrite(message: Message) -> Rewritten:
    """Write a record as a pack whose records ascend in time; without spaces, UTF-8."""
    envelope, content = message.envelope, message.content
    if isinstance(content, Batch):
        entries = list(_batch(envelope, content))
    elif isinstance(content, Event):
        entries = list(_event(envelope, content))
    else:
        entries = list(_tombstone(envelope, content))
    entries.sort(key=_moment)
    first_ns = entries[0][0] if entries else 0
    if first_ns < _FIRST_ABSOLUTE_NS:
        plain = json_document.rewrite(message)
        return Rewritten(plain.payload, plain.content_type, plain.version, topic="json")
    base_s = first_ns // NS_PER_S
    head: dict[str, Any] = {"bn": f"edge/{_name(envelope.node)}/", "bt": base_s}
    if any(fields.get("u") == _SECONDARY for _moment_ns, fields in entries):
        head["bver"] = _WITH_SECONDARY_UNITS
    pack = [{**head, "n": "clock", "vs": envelope.time_quality.name.lower()}]
    pack += [{**fields, "t": (moment_ns - base_s * NS_PER_S) / NS_PER_S} for moment_ns, fields in entries]
    return Rewritten(json.dumps(pack, ensure_ascii=False, separators=(",", ":")).encode(), CONTENT_TYPE)


def _moment(entry: Entry) -> int:
    return entry[0]


def _name(text: str) -> str:
    """Keep to the characters that a name may have (RFC 8428, 4.5.1); ids of ours have no others, and no colon."""
    return _NOT_IN_NAMES.sub(lambda found: "".join(f":{octet:02x}" for octet in found[0].encode()), text)


def _unit(quantity: str) -> dict[str, str]:
    """The field, or none for what has no registered unit; a percentage is not always relative humidity."""
    unit = "%RH" if quantity == "humidity_pct" else _UNITS.get(quantity.rpartition("_")[2])
    return {} if unit is None else {"u": unit}


def _batch(envelope: Envelope, batch: Batch) -> Iterator[Entry]:
    for group in batch.groups:
        moments = [stamp_ns + envelope.offset_ns for stamp_ns in group.times_ns]
        for column in group.columns:
            name = f"{_name(group.sensor)}/{_name(column.quantity)}"
            yield from _readings(name, moments, column)
            if column.features is not None and moments:
                yield from _features(name, max(moments), column)


def _readings(name: str, moments: list[int], column: Column) -> Iterator[Entry]:
    unit = _unit(column.quantity)
    for cell in cells(column):
        moment_ns = moments[cell.row]
        if cell.value is not None:
            yield moment_ns, {"n": name, **unit, "v": cell.value}
        if cell.raw is not None:
            yield moment_ns, {"n": f"{name}/raw", **unit, "v": cell.raw}
        if cell.sigma is not None:
            yield moment_ns, {"n": f"{name}/sigma", **unit, "v": cell.sigma}
        if cell.flags:
            yield moment_ns, {"n": f"{name}/quality", "vs": " ".join((cell.quality, *cell.flags))}


def _features(name: str, moment_ns: int, column: Column) -> Iterator[Entry]:
    """Yield the features of a column, at the time of the last row. There is no registered unit for a slope."""
    features = column.features
    if features is None:
        return
    unit = _unit(column.quantity)
    for statistic, number in statistics(features):
        measured = {} if statistic in _WITHOUT_UNIT else unit
        yield moment_ns, {"n": f"{name}/{statistic}", **measured, "v": number}


def _event(envelope: Envelope, event: Event) -> Iterator[Entry]:
    moment_ns = event.boot_ns + envelope.offset_ns
    name = f"event/{event.kind.value}/{_name(event.subject)}"
    yield moment_ns, {"n": name, "vs": event.state}
    yield moment_ns, {"n": f"{name}/cause", "vs": event.cause}
    if event.errno is not None:
        yield moment_ns, {"n": f"{name}/errno", "v": event.errno}
    if event.severity is not None:
        yield moment_ns, {"n": f"{name}/severity", "vs": event.severity}


def _tombstone(envelope: Envelope, tombstone: Tombstone) -> Iterator[Entry]:
    """Yield a tombstone. Its identity is in the name, so that another of the same time does not replace it."""
    moment_ns = tombstone.last_ns + envelope.offset_ns
    name = f"tombstone/{envelope.epoch}/{envelope.seq}"
    yield moment_ns, {"n": f"{name}/reason", "vs": tombstone.reason}
    if tombstone.epoch is not None:
        yield moment_ns, {"n": f"{name}/of_epoch", "v": tombstone.epoch}
    for key in ("first_seq", "last_seq", "records", "readings"):
        if getattr(tombstone, key) is not None:  # everything from first_seq on
            yield moment_ns, {"n": f"{name}/{key}", "v": getattr(tombstone, key)}
    yield moment_ns, {"n": f"{name}/t_from", "vs": iso_utc(tombstone.first_ns + envelope.offset_ns)}
    yield moment_ns, {"n": f"{name}/t_to", "vs": iso_utc(tombstone.last_ns + envelope.offset_ns)}
