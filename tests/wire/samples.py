"""One message of each kind, from which the golden files were made; `python tests/wire/samples.py` makes them.

Only to be run by hand, when a new version of the format is born: the files of a version never change.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from edge_agent.clock import ClockQuality
from edge_agent.features import Features
from edge_agent.reading import NOT_SENT, Event, EventKind, Flag, RecordKind, TimeFix, status_of
from edge_agent.wire.batch import Batch, Column, Group, Message, RowRange, Tombstone
from edge_agent.wire.codec import (
    Announcement,
    Known,
    Reference,
    by_announcement,
    decode_batch,
    decode_message,
    encode_batch,
    encode_event,
    encode_message,
    encode_tombstone,
    keep_rows,
    make_announcement,
    parse_announcement,
    split_batch,
    teaching,
    thin_batch,
)
from edge_agent.wire.envelope import Envelope
from edge_agent.wire.integer_features import features_of
from edge_agent.wire.rows import objects

GOLDEN: Final = Path(__file__).parent / "golden"

ENVELOPE: Final = Envelope("node-1", 3, 42, 2, 1_767_225_590_000_000_000, ClockQuality.SYNCED)

SMALL: Final = Batch(
    (
        Group(
            "air",
            (10_000_000_000, 11_000_000_000, 12_000_000_000, 13_001_000_000),
            (Column("temperature_c", (21.5, 21.51, 21.51, 21.49), None, (0, 0, 0, 0), None),),
        ),
    )
)

EVEN: Final = Batch(
    (
        Group(
            "roof",
            tuple(86_400_000_000_000 + 60_000_000_000 * row for row in range(5)),
            (Column("pressure_pa", (100_000.0,) * 5, None, (0,) * 5, None),),
        ),
        Group("well", (86_412_000_000_000,), (Column("temperature_c", (8.25,), None, (0,), None),)),
        Group(
            "clock",
            tuple(86_400_250_000_000 - 250_000_000 * row for row in range(4)),
            (Column("count", (3e9, 2e9, 1e9, 0.0), None, (0,) * 4, None),),
        ),
    )
)

FULL: Final = Batch(
    (
        Group(
            "air",
            (10_123_456_789, 11_123_456_789, 12_123_456_789),
            (
                Column(
                    "temperature_c",
                    (21.5, None, 21.625),
                    (21.7, None, 85.0),
                    (0, status_of(Flag.NO_VALUE), status_of(Flag.OUTLIER | Flag.TOO_FAST)),
                    Features(2, 21.5625, 0.0625, 21.5, 21.625, 0.0625),
                ),
                Column("soil_pct", (1 / 3, None, 2 / 3), None, (0, NOT_SENT, 0), None),
            ),
        ),
        Group(
            "roof",
            (10_123_456_789, 11_123_456_789, 12_123_456_789),
            (Column("pressure_pa", (101_325.0, 101_325.0, 101_325.0), (101_325.0,) * 3, (0, 0, 0), None),),
        ),
        Group("silent", (), (Column("co2_ppm", (), None, (), None),)),
    )
)

_WAVES: Final = (0, 3, 1, -2, 4, 0, -3, 2, 1, -1, 5, -4, 0, 2, -2, 3, -1, 1, 0, -5)


def _plain(first_s: int) -> Batch:
    """Twenty seconds of noise about a slow rise, roughly filtered; one stamp is late, one reading is an outlier."""
    rows = range(first_s, first_s + 20)
    times = tuple((each * 1000 + 7 * (each == 15)) * 1_000_000 for each in rows)
    measured = tuple((2150 + (each - 10) // 4 + wave) / 100 for each, wave in zip(rows, _WAVES, strict=True))
    filtered = tuple(
        (2150 + (each - 10) // 4 + (wave > 3) - (wave < -3)) / 100 for each, wave in zip(rows, _WAVES, strict=True)
    )
    statuses = tuple(status_of(Flag.TOO_FAST) if each == 17 else 0 for each in rows)
    window = features_of(
        np.array([[round(100 * value) for value in filtered]], dtype=np.int64), [2], np.array([times], dtype=np.int64)
    )
    return Batch(
        (
            Group(
                "air",
                times,
                (
                    Column("temperature_c", filtered, measured, (0,) * 20, window[0]),
                    Column("humidity_pct", tuple(46.5 + wave / 10 for wave in _WAVES), None, statuses, None),
                ),
            ),
            Group("roof", times, (Column("pressure_pa", (101_325.0,) * 20, None, (0,) * 20, None),)),
        )
    )


PLAIN: Final = _plain(10)
NEXT: Final = _plain(30)
ANNOUNCEMENT: Final = make_announcement(
    ENVELOPE, 1_000_000, (("air", ("temperature_c", "humidity_pct")), ("roof", ("pressure_pa", "soil_pct")))
)
TWIN: Final = parse_announcement(
    bytes.fromhex(
        "98a66e6f64652d320302cf1886724f99ee1c0003ce000f42409292a36169720392a4726f6f669202a8736f696c5f706374c40490f05f87"
    )
)
"""Another one of the same id: the same channels of another node, and four bytes to make the id the same."""
EARLIER: Final = Envelope("node-1", 1 << 62, 7, 1, ENVELOPE.offset_ns - 3_000_000, ClockQuality.NONE)
"""Of the same node before it started anew."""
ROOF: Final = Batch((PLAIN.groups[1],))


def _with_extras() -> Batch:
    """Features that follow from the rows and features of more than the rows, sigmas, readings that do not count."""
    times = tuple((10_000 + 1000 * row + row * row % 7) * 1_000_000 for row in range(20))
    values = tuple((2150 + wave) / 100 for wave in _WAVES)
    sigmas = (None, 0.0141, *(0.0108,) * 18)
    refused = (status_of(Flag.OUT_OF_RANGE), status_of(Flag.TOO_FAST), *(0,) * 16, NOT_SENT, status_of(Flag.OUTLIER))
    suppressed = (*(0,) * 10, *(NOT_SENT,) * 10)
    more = Features(40, 21.5, 0.25, 21.0, 22.0, 0.0078125, 21.515625, 21.5, 21.0625, 21.9375, 0.03125, 0.875)
    columns = (
        Column("temperature_c", values, None, (0,) * 20, None, sigmas, describe=True),
        Column("humidity_pct", tuple(46.5 + wave / 10 for wave in _WAVES), None, refused, None, describe=True),
        Column("soil_pct", tuple(float(wave) for wave in _WAVES), None, suppressed, more, (0.25,) * 20),
    )
    asked = encode_batch(Batch((Group("air", times, columns),)))
    content = decode_message(encode_message(RecordKind.BATCH, ENVELOPE, asked)).content
    if not isinstance(content, Batch):
        raise TypeError
    return content


EXTRAS: Final = _with_extras()

EVENT: Final = Event(EventKind.SENSOR_STATE, 10_500_000_000, "air", "lost", "no acknowledge at 0x76; check the wiring")
TOMBSTONE: Final = Tombstone(7, 41, 35, 10_500, "byte cap", 1_000_000_000, 9_000_000_000)

ROWS_TOMBSTONE: Final = Tombstone(
    42,
    42,
    0,
    80,
    "thinned",
    10_000_000_000,
    29_000_000_000,
    3,
    (RowRange(1, 39, 4), RowRange(2, 39, 4), RowRange(3, 39)),
)
OPEN_TOMBSTONE: Final = replace(TOMBSTONE, last_seq=None, records=0, readings=0, reason="damaged", epoch=2)
TIME_FIX: Final = Event(
    EventKind.TIME_FIX,
    3_610_000_000_000,
    "clock",
    "synced",
    "the clock was set",
    fix=TimeFix(2, 10_000_000_000, 3_610_000_000_000, 1_767_225_590_000_000_000, 1_767_225_593_500_000_000),
)
UNEVEN: Final = keep_rows(encode_batch(PLAIN), {"air": 8, "roof": 3}.__getitem__)
assert UNEVEN is not None
PART: Final = split_batch(encode_batch(PLAIN), 50)[1]
THINNED: Final = thin_batch(encode_batch(PLAIN), 4)

MESSAGES: Final = {
    "v2-small": (RecordKind.BATCH, Message(ENVELOPE, SMALL), encode_batch(SMALL)),
    "v2-full": (RecordKind.BATCH, Message(ENVELOPE, FULL), encode_batch(FULL)),
    "v2-plain": (RecordKind.BATCH, Message(ENVELOPE, PLAIN), encode_batch(PLAIN)),
    "v2-teaching": (RecordKind.BATCH, Message(ENVELOPE, PLAIN, ANNOUNCEMENT), encode_batch(PLAIN)),
    "v2-announced": (RecordKind.BATCH, Message(ENVELOPE, PLAIN), encode_batch(PLAIN)),
    "v2-elsewhen": (RecordKind.BATCH, Message(EARLIER, ROOF), encode_batch(ROOF)),
    "v2-next": (
        RecordKind.BATCH,
        Message(replace(ENVELOPE, seq=43), NEXT),
        encode_batch(NEXT, reference=Reference(42, PLAIN)),
    ),
    "v2-extras": (RecordKind.BATCH, Message(ENVELOPE, EXTRAS), encode_batch(EXTRAS)),
    "v2-even": (RecordKind.BATCH, Message(ENVELOPE, EVEN), encode_batch(EVEN)),
    "v2-event": (RecordKind.EVENT, Message(ENVELOPE, EVENT), encode_event(EVENT)),
    "v2-tombstone": (RecordKind.TOMBSTONE, Message(ENVELOPE, TOMBSTONE), encode_tombstone(TOMBSTONE)),
    "v2-part": (RecordKind.BATCH, Message(ENVELOPE, decode_batch(PART[1]), rows=PART[0]), PART[1]),
    "v2-uneven": (RecordKind.BATCH, Message(ENVELOPE, decode_batch(UNEVEN.body), rows=UNEVEN.rows), UNEVEN.body),
    "v2-thinned": (RecordKind.BATCH, Message(ENVELOPE, decode_batch(THINNED[1]), rows=THINNED[0]), THINNED[1]),
    "v2-rows-tombstone": (RecordKind.TOMBSTONE, Message(ENVELOPE, ROWS_TOMBSTONE), encode_tombstone(ROWS_TOMBSTONE)),
    "v2-open-tombstone": (RecordKind.TOMBSTONE, Message(ENVELOPE, OPEN_TOMBSTONE), encode_tombstone(OPEN_TOMBSTONE)),
    "v2-time-fix": (RecordKind.EVENT, Message(ENVELOPE, TIME_FIX), encode_event(TIME_FIX)),
}

OUTGROWN: Final = {"v2-full", "v2-next"}
"""Written when predictor 7 was not yet there: still read, but no longer written so."""

REFERRING: Final = {"v2-announced", "v2-elsewhen", "v2-next"}
"""Those that go by the announcement; `v2-next` refers to `v2-plain` beside that."""


def known() -> Known:
    """A receiver that was told all of this."""
    heard = Known()
    heard.add(ANNOUNCEMENT)
    heard.add_batch(ENVELOPE, PLAIN)
    return heard


def encoded(name: str) -> bytes:
    """The whole message `name`."""
    kind, message, body = MESSAGES[name]
    alone = encode_message(kind, message.envelope, body, rows=message.rows)
    if message.announcement is not None:
        return teaching(alone, message.announcement)
    return announced(alone) if name in REFERRING else alone


def announced(alone: bytes, announcement: Announcement = ANNOUNCEMENT) -> bytes:
    """The same message by announcement, which must be possible."""
    message = by_announcement(alone, announcement)
    assert message is not None
    return message


def ndjson(data: bytes) -> str:
    """What `edge-agent decode` prints for a message."""
    rows = objects(decode_message(data, known()))
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    for _name in [name for name in MESSAGES if not (GOLDEN / f"{name}.hex").exists()]:
        (GOLDEN / f"{_name}.hex").write_text(encoded(_name).hex() + "\n")
        (GOLDEN / f"{_name}.ndjson").write_text(ndjson(encoded(_name)))
