"""What is tried: each target is one execution, drawn from `rng`. It fails by raising whatever is not a WireError."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgpack

from edge_agent.clock import ClockQuality
from edge_agent.errors import WireError
from edge_agent.features import Features
from edge_agent.reading import NOT_SENT, RecordKind
from edge_agent.wire.batch import Batch, Column, Group, Message, StatusText
from edge_agent.wire.codec import (
    Announcement,
    Known,
    LiveStream,
    Reference,
    by_announcement,
    decode_message,
    decode_stream,
    encode_batch,
    encode_message,
    learn_stream,
    make_announcement,
    parse_announcement,
    teaching,
)
from edge_agent.wire.envelope import Envelope
from edge_agent.wire.limits import MAX_ANNOUNCED_CHANNELS, MAX_CELLS, MAX_COLUMNS, MAX_GROUPS, MAX_ROWS
from edge_agent.wire.rows import objects
from tests.fuzz.mutate import confused, damaged, packed, sealed
from tests.wire.samples import ANNOUNCEMENT, ENVELOPE, MESSAGES, PLAIN, REFERRING, encoded, known

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

GOLDEN: Final = [encoded(name) for name in MESSAGES]
FIELDS: Final = [msgpack.unpackb(message[1:-4]) for message in GOLDEN]
SEEDS: Final = [ANNOUNCEMENT.seed if name in REFERRING else 0 for name in MESSAGES]
BIRTH: Final = {"state": "online", "node": "node-1", "epoch": 3, "announcement": ANNOUNCEMENT.to_text()}
_NAMES: Final = ("air", "roof", "", "ß", "n" * 40)
_QUANTITIES: Final = ("temperature_c", "humidity_pct", "pressure_pa", "illuminance_lx", "soil_pct", "")
_SECOND_NS: Final = 1_000_000_000
_SHOWN_ROWS: Final = 200
_ID_BYTES: Final = 4
_BOMBS: Final = 1 / 1000
"""How often a message that takes a second is tried."""


def messages(rng: random.Random) -> None:
    """A golden message that was damaged, mostly under a right checksum, is a message within the caps or refused."""
    place = rng.randrange(len(GOLDEN))
    match rng.randrange(5):
        case 0:
            message = damaged(rng, GOLDEN[place][:-4], GOLDEN)
        case 1 | 2:
            message = GOLDEN[place][:1] + packed(confused(rng, FIELDS[place]))
        case _:
            message = GOLDEN[place][:1] + packed(_with_damaged_data(rng, FIELDS[place]))
    if rng.random() < 0.95:
        message = sealed(message, SEEDS[place])
    if rng.random() < _BOMBS:
        message = sealed(GOLDEN[0][:1] + packed(_bomb(rng)))
    with suppress(WireError):
        _check(decode_message(message, known()))


def streams(rng: random.Random) -> None:
    """A capture of messages, status messages and rubbish is read as far as it goes."""
    pieces = []
    for _ in range(rng.randint(1, 5)):
        payload = rng.choice(GOLDEN)
        if rng.random() < 0.3:
            payload = json.dumps(BIRTH).encode()
        if rng.random() < 0.2:
            payload = damaged(rng, payload, GOLDEN)
        if rng.random() < 0.3:
            payload = payload.hex().encode() + b"\n"
        if rng.random() < 0.3:
            payload = b"edge/node-1/live " + payload
        pieces.append(payload + rng.choice((b"", b"", b"\n", b"\r\n", b" ")))
    capture = b"".join(pieces)
    if rng.random() < 0.5:
        capture = damaged(rng, capture, GOLDEN)
    heard = Known()
    learn_stream(capture, heard)
    with suppress(WireError):
        for item in decode_stream(capture, heard):
            if isinstance(item, Message):
                _check(item)
            elif isinstance(item, StatusText):
                list(objects(item))
            else:
                _expect(item.at < len(capture), "a message was passed over where there is none")
    place = rng.randrange(len(capture) + 1)
    _expect(_arrived([capture[:place], capture[place:]]) == _arrived([capture]), "it matters where a pipe was cut")


def _arrived(pieces: list[bytes]) -> tuple[list[str], str]:
    """What comes of pieces that arrive one by one, and how that ends."""
    live = LiveStream()
    found: list[str] = []
    try:
        for piece in (*pieces, b""):
            for item in live.feed(piece, more=bool(piece)):
                found.append(repr(item))  # noqa: PERF401 what came before the damage counts
    except WireError as error:
        return found, str(error)
    return found, ""


def round_trips(rng: random.Random) -> None:
    """Any batch comes back from each form in which it can be written, bit by bit."""
    batch, earlier = _batch(rng), _batch(rng)
    envelope = _envelope(rng)
    reference = Reference(rng.randrange(1 << 40), earlier) if rng.random() < 0.5 else None
    alone = encode_message(RecordKind.BATCH, envelope, encode_batch(batch, reference=reference))
    announcement = _announcement(rng, envelope, batch)
    heard = Known()
    heard.add(announcement)
    forms = [alone, teaching(alone, announcement), by_announcement(alone, announcement)]
    for message in forms:
        if message is not None:
            if reference is not None:
                heard.add_batch(replace(envelope, seq=reference.seq), earlier)
            decoded = decode_message(message, heard)
            _expect(repr((decoded.envelope, decoded.content)) == repr((envelope, batch)), "a batch came back changed")


def announcements(rng: random.Random) -> None:
    """What anybody announces is an announcement within the caps or refused; what goes by one is read by it alone."""
    envelope, batch = _envelope(rng), rng.choice((PLAIN, _batch(rng)))
    announcement = _announcement(rng, envelope, batch)
    told = announcement.packed
    if rng.random() < 0.5:
        told = packed(confused(rng, msgpack.unpackb(told)))
    if rng.random() < 0.3:
        told = damaged(rng, told, GOLDEN)
    heard = Known()
    status = json.dumps({"announcement": replace(announcement, packed=told).to_text()}).encode()
    learn_stream(damaged(rng, status, GOLDEN) if rng.random() < 0.3 else status, heard)
    with suppress(WireError):
        announcement = parse_announcement(told)
        _expect(len(announcement.sensors) <= MAX_GROUPS, "too many sensors")
        _expect(announcement.channels <= MAX_ANNOUNCED_CHANNELS, "too many channels")
        heard.add(announcement)
    message = by_announcement(encode_message(RecordKind.BATCH, envelope, encode_batch(batch)), announcement)
    if message is None:
        return
    with suppress(WireError):
        decoded = decode_message(message, heard)
        _expect(repr(decoded) == repr(Message(envelope, batch)), "a batch came back changed")
    with suppress(WireError):
        _check(decode_message(sealed(damaged(rng, message[:-4], GOLDEN), announcement.seed), heard))


TARGETS: Final[dict[str, Callable[[random.Random], None]]] = {
    target.__name__: target for target in (messages, streams, round_trips, announcements)
}


def _bomb(rng: random.Random) -> list[Any]:
    """A batch of many cells none of which costs a bit; some just keep to the caps, and some do not."""
    groups = rng.choice((1, 2, 16, 17, MAX_GROUPS, MAX_GROUPS + 1))
    columns = rng.choice((0, 1, 15, 16, MAX_COLUMNS, MAX_COLUMNS + 1))
    rows = rng.choice((MAX_ROWS, MAX_ROWS // 16, MAX_ROWS // 16 + 1, MAX_ROWS + 1))
    heads = b"\x00\x00" + b"\x00\x00\x00" * columns
    return [12, "n", 1, 1, 1, 0, [[["s", rows, [0] * columns]] * groups, heads * groups]]


def _with_damaged_data(rng: random.Random, fields: Any) -> Any:
    """The elements of a message whose columns alone were damaged or, by announcement, all behind its id."""
    if isinstance(fields, bytes):
        return fields[:_ID_BYTES] + damaged(rng, fields[_ID_BYTES:], GOLDEN)
    *envelope, body = fields[:7]
    changed = [damaged(rng, each, GOLDEN) if isinstance(each, bytes) else each for each in body]
    return [*envelope, changed]


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)


def _check(message: Message) -> None:
    """Whatever was decoded keeps to the caps, and can be shown."""
    if isinstance(message.content, Batch):
        groups = message.content.groups
        cells = sum(len(group.times_ns) * max(1, len(group.columns)) for group in groups)
        _expect(cells <= MAX_CELLS, f"{cells} cells")
        _expect(len(groups) <= MAX_GROUPS, f"{len(groups)} groups")
        for group in groups:
            _expect(len(group.columns) <= MAX_COLUMNS, f"{len(group.columns)} columns")
            _expect(len(group.times_ns) <= MAX_ROWS, f"{len(group.times_ns)} rows")
    for row in islice(objects(message), _SHOWN_ROWS):
        json.dumps(row, allow_nan=False)


def _envelope(rng: random.Random) -> Envelope:
    return Envelope(
        rng.choice(_NAMES),
        rng.choice((3, rng.getrandbits(63))),
        rng.choice((42, rng.getrandbits(63))),
        rng.choice((2, rng.getrandbits(63))),
        rng.choice((0, ENVELOPE.offset_ns, rng.getrandbits(63) - (1 << 62))),
        rng.choice(list(ClockQuality)),
    )


def _announcement(rng: random.Random, envelope: Envelope, batch: Batch) -> Announcement:
    """By which the batch can be sent, mostly."""
    if rng.random() < 0.5:
        other = _envelope(rng)
        envelope = replace(other, node=envelope.node, offset_ns=envelope.offset_ns if rng.random() < 0.5 else 0)
    sensors = [(group.sensor, [column.quantity for column in group.columns]) for group in batch.groups]
    if rng.random() < 0.5:
        place = rng.randint(0, len(sensors))
        sensors.insert(place, (rng.choice(_NAMES), list(_QUANTITIES[: rng.randint(0, 5)])))
    return make_announcement(envelope, rng.choice((1, 1, 1000, _SECOND_NS)), sensors)


def _batch(rng: random.Random) -> Batch:
    """A few groups of a few rows, of which some share their times."""
    times = [_times(rng) for _ in range(2)]
    return Batch(tuple(_group(rng, rng.choice(times)) for _ in range(rng.randint(0, 3))))


def _times(rng: random.Random) -> tuple[int, ...]:
    rows = rng.choice((0, 1, 2, 3, 7, 20))
    match rng.randrange(3):
        case 0:
            return tuple(rng.getrandbits(64) - (1 << 63) for _ in range(rows))
        case 1:
            return tuple(row * _SECOND_NS for row in range(rows))
        case _:
            return tuple(row * _SECOND_NS + rng.randrange(3) * 1_000_000 for row in range(rows))


def _group(rng: random.Random, times: tuple[int, ...]) -> Group:
    columns = tuple(_column(rng, quantity, len(times)) for quantity in _QUANTITIES if rng.random() < 0.4)
    return Group(rng.choice(_NAMES), times, columns)


def _column(rng: random.Random, quantity: str, rows: int) -> Column:
    statuses = tuple(rng.choice((0, 0, 0, 7, 33, NOT_SENT)) if rows % 2 else 0 for _ in range(rows))
    kind = rng.randrange(4)
    gaps = rng.random() < 0.3

    def number() -> float:
        return (20 + rng.randint(-9, 9) / 100, rng.gauss(0, 1e3), 21.5, 1e300)[kind]

    def cells() -> tuple[float | None, ...]:
        return tuple(None if status == NOT_SENT or (gaps and rng.random() < 0.2) else number() for status in statuses)

    values = cells()
    raws = rng.choice((None, values, cells()))
    features = Features(rows, *[float(rng.randint(-99, 99)) for _ in range(5)]) if rng.random() < 0.2 else None
    return Column(quantity, values, raws, statuses, features)
