"""Messages to records. Pure. Byte by byte in FORMAT.md.

Every length is checked against the caps before anything is expanded; whatever the bytes are, the answer is a
message or a WireError.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

import msgpack

from edge_agent.clock import ClockQuality
from edge_agent.errors import Truncated, UnknownVersion, WireError
from edge_agent.reading import Event, EventKind, RecordKind
from edge_agent.wire.batch import Batch, Envelope, Group, Message, Tombstone
from edge_agent.wire.column import decode_column
from edge_agent.wire.cursor import Cursor
from edge_agent.wire.integers import decode_integers
from edge_agent.wire.limits import (
    CRC_BYTES,
    ENVELOPE_FIELDS,
    MAX_CELLS,
    MAX_COLUMNS,
    MAX_GROUPS,
    MAX_MESSAGE_BYTES,
    MAX_ROWS,
    MAX_TEXT_BYTES,
    QUANTITY_CODES,
    VERSION,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_INT64: Final = (-(1 << 63), (1 << 63) - 1)
_COUNT: Final = (0, (1 << 63) - 1)
_FIRST_LOOK: Final = 4096


def decode_message(data: bytes) -> Message:
    """Decode exactly one message.

    Raises:
        UnknownVersion: its version is not 1. Truncated: it ends too early.
        WireError: it is damaged, or not a message of ours. Nothing else is ever raised, and memory is bounded
            by the caps in FORMAT.md, whatever the bytes.
    """
    message, end = read_message(data, 0)
    if end != len(data):
        raise WireError(f"{len(data) - end} bytes follow the end of the message")
    return message


def read_message(data: bytes, start: int) -> tuple[Message, int]:
    """Decode the message that starts at `start` of a longer capture.

    Returns:
        The message, and the offset of the first byte after it.

    Raises:
        WireError: as `decode_message`.
    """
    if start >= len(data):
        raise Truncated("an empty message")
    if data[start] != VERSION:
        raise UnknownVersion(f"format version {data[start]} is not known, only {VERSION}")
    fields, end = _unpack(data, start + 1)
    if end + CRC_BYTES > len(data):
        raise Truncated("the message ends before its checksum")
    if end + CRC_BYTES - start > MAX_MESSAGE_BYTES:
        raise WireError(f"a message holds at most {MAX_MESSAGE_BYTES} bytes")
    expected = zlib.crc32(memoryview(data)[start:end])
    if expected != int.from_bytes(data[end : end + CRC_BYTES], "big"):
        raise WireError("the checksum does not match: the message was damaged")
    return _message(fields), end + CRC_BYTES


def _unpack(data: bytes, start: int) -> tuple[Any, int]:
    """Take one msgpack element from `start`, looking at more and more bytes until it is whole."""
    look = _FIRST_LOOK
    while True:
        piece = data[start : start + min(look, MAX_MESSAGE_BYTES)]
        unpacker = msgpack.Unpacker(
            raw=False,
            strict_map_key=True,
            max_buffer_size=MAX_MESSAGE_BYTES,
            max_str_len=MAX_TEXT_BYTES,
            max_bin_len=MAX_MESSAGE_BYTES,
            max_array_len=MAX_GROUPS,
            max_map_len=MAX_COLUMNS,
            max_ext_len=MAX_TEXT_BYTES,
        )
        unpacker.feed(piece)
        try:
            fields = unpacker.unpack()
        except msgpack.OutOfData:
            if len(piece) == MAX_MESSAGE_BYTES:
                raise WireError(f"a message holds at most {MAX_MESSAGE_BYTES} bytes") from None
            if start + len(piece) == len(data):
                raise Truncated("the message ends too early") from None
            look *= 8
        except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
            raise WireError(f"the message is not msgpack as the format wants it: {error}") from None
        else:
            return fields, start + int(unpacker.tell())


def _message(fields: Any) -> Message:
    kind, node, epoch, seq, boot, offset_ns, quality, body = _array(fields, ENVELOPE_FIELDS + 1, "the message")
    envelope = Envelope(
        _text(node, "node"),
        _integer(epoch, _COUNT, "epoch"),
        _integer(seq, _COUNT, "seq"),
        _integer(boot, _COUNT, "boot"),
        _integer(offset_ns, _INT64, "offset_ns"),
        ClockQuality(_integer(quality, (0, max(ClockQuality)), "time quality")),
    )
    match _integer(kind, (0, max(RecordKind)), "kind"):
        case RecordKind.BATCH:
            return Message(envelope, _batch(body))
        case RecordKind.EVENT:
            return Message(envelope, _event(body))
        case _:
            return Message(envelope, _tombstone(body))


def _batch(body: Any) -> Batch:
    (raw_groups,) = _array(body, 1, "a batch")
    heads = [_array(group, 5, "a group") for group in _array(raw_groups, 0, "the groups", exact=False)]
    cells = 0
    for _, rows, _, quantities, _ in heads:  # all caps before anything is expanded
        width = len(_array(quantities, 0, "quantities", exact=False))
        if width > MAX_COLUMNS:
            raise WireError(f"a group has {width} columns, more than {MAX_COLUMNS}")
        cells += _integer(rows, (0, MAX_ROWS), "rows") * max(1, width)
    if cells > MAX_CELLS:
        raise WireError(f"the batch has {cells} cells, more than {MAX_CELLS}")
    groups: list[Group] = []
    for sensor, rows, times, quantities, data in heads:
        stamps = _times(times, rows, groups)
        cursor = Cursor(_octets(data, "column data"))
        columns = tuple(decode_column(cursor, _quantity(quantity), rows) for quantity in quantities)
        _finished(cursor)
        groups.append(Group(_text(sensor, "sensor"), stamps, columns))
    return Batch(tuple(groups))


def _times(field: Any, rows: int, earlier: list[Group]) -> Sequence[int]:
    """Decode a time column, or find the earlier group whose column it shares."""
    if type(field) is int:
        stamps = earlier[_integer(field, (0, len(earlier) - 1), "a time reference")].times_ns
        if len(stamps) != rows:
            raise WireError("a group shares the times of one with another number of rows")
        return stamps
    cursor = Cursor(_octets(field, "times"))
    own = tuple(decode_integers(cursor, rows).tolist())
    _finished(cursor)
    return own


def _finished(cursor: Cursor) -> None:
    if cursor.at != len(cursor.data):
        raise WireError(f"{len(cursor.data) - cursor.at} bytes follow the end of a column")


def _quantity(field: Any) -> str:
    if type(field) is not int:
        return _text(field, "quantity")
    code = _integer(field, _COUNT, "quantity")
    # A newer sender may know more quantities; their numbers are still worth having.
    return QUANTITY_CODES[code] if code < len(QUANTITY_CODES) else f"quantity_{code}"


def _event(body: Any) -> Event:
    kind, boot_ns, subject, state, cause, *more = _array(body, 5, "an event", exact=False)
    try:
        event_kind = EventKind(_text(kind, "event kind"))
    except ValueError:
        raise WireError(f"an event of the unknown kind {kind!r}") from None
    return Event(
        event_kind,
        _integer(boot_ns, _INT64, "boot_ns"),
        _text(subject, "subject"),
        _text(state, "state"),
        _text(cause, "cause"),
        _integer(more[0], _INT64, "errno") if more and more[0] is not None else None,
    )


def _tombstone(body: Any) -> Tombstone:
    first_seq, last_seq, records, readings, reason, first_ns, last_ns = _array(body, 7, "a tombstone")
    return Tombstone(
        _integer(first_seq, _COUNT, "first_seq"),
        _integer(last_seq, _COUNT, "last_seq"),
        _integer(records, _COUNT, "records"),
        _integer(readings, _COUNT, "readings"),
        _text(reason, "reason"),
        _integer(first_ns, _INT64, "first_ns"),
        _integer(last_ns, _INT64, "last_ns"),
    )


def _array(field: Any, least: int, what: str, *, exact: bool = True) -> list[Any]:
    """Take the known elements of an array; what a newer sender appended is left out."""
    if type(field) is not list or len(field) < least:
        raise WireError(f"{what} is not an array of at least {least}")
    return field[:least] if exact else field


def _integer(field: Any, limits: tuple[int, int], what: str) -> int:
    low, high = limits
    if type(field) is not int or not low <= field <= high:
        raise WireError(f"{what} is not an integer from {low} to {high}")
    return field


def _text(field: Any, what: str) -> str:
    if type(field) is not str:
        raise WireError(f"{what} is not a text")
    return field


def _octets(field: Any, what: str) -> bytes:
    if type(field) is not bytes:
        raise WireError(f"{what} are not bytes")
    return field
