"""One message of each kind, from which the golden files were made; `python tests/wire/samples.py` makes them.

Only to be run by hand, when a new version of the format is born: the files of a version never change.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from edge_agent.clock import ClockQuality
from edge_agent.reading import NOT_SENT, Event, EventKind, Features, Flag, RecordKind, status_of
from edge_agent.wire.batch import Batch, Column, Envelope, Group, Message, Tombstone
from edge_agent.wire.codec import decode_stream, encode_batch, encode_event, encode_message, encode_tombstone
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

EVENT: Final = Event(EventKind.SENSOR_STATE, 10_500_000_000, "air", "lost", "no acknowledge at 0x76; check the wiring")
TOMBSTONE: Final = Tombstone(7, 41, 35, 10_500, "byte cap", 1_000_000_000, 9_000_000_000)

MESSAGES: Final = {
    "v1-small": (RecordKind.BATCH, Message(ENVELOPE, SMALL), encode_batch(SMALL)),
    "v1-full": (RecordKind.BATCH, Message(ENVELOPE, FULL), encode_batch(FULL)),
    "v1-event": (RecordKind.EVENT, Message(ENVELOPE, EVENT), encode_event(EVENT)),
    "v1-tombstone": (RecordKind.TOMBSTONE, Message(ENVELOPE, TOMBSTONE), encode_tombstone(TOMBSTONE)),
}


def encoded(name: str) -> bytes:
    """The whole message `name`."""
    kind, message, body = MESSAGES[name]
    return encode_message(kind, message.envelope, body)


def ndjson(data: bytes) -> str:
    """What `edge-agent decode` prints for a capture."""
    rows = (row for item in decode_stream(data) for row in objects(item))
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    for _name in MESSAGES:
        (GOLDEN / f"{_name}.hex").write_text(encoded(_name).hex() + "\n")
        (GOLDEN / f"{_name}.ndjson").write_text(ndjson(encoded(_name)))
