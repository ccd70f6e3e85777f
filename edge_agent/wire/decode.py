"""Messages to records. Pure. Byte by byte in FORMAT.md.

Every length is checked against the caps before anything is expanded; whatever the bytes are, the answer is a
message or a WireError.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

import msgpack

from edge_agent.clock import ClockQuality
from edge_agent.errors import Truncated, UnknownReference, UnknownVersion, WireError
from edge_agent.reading import Event, EventKind, RecordKind
from edge_agent.wire.batch import Batch, Envelope, Group, Message, Tombstone
from edge_agent.wire.cursor import Cursor
from edge_agent.wire.known import Channels, Known, Latest
from edge_agent.wire.limits import (
    CRC_BYTES,
    ENVELOPE_FIELDS,
    KIND_BITS,
    MAX_CELLS,
    MAX_COLUMNS,
    MAX_GROUPS,
    MAX_MESSAGE_BYTES,
    MAX_ROWS,
    MAX_TEXT_BYTES,
    QUANTITY_CODES,
    VERSION,
)
from edge_agent.wire.table import Layout, decode_groups

_INT64: Final = (-(1 << 63), (1 << 63) - 1)
_COUNT: Final = (0, (1 << 63) - 1)
_FIRST_LOOK: Final = 4096
NOTHING_KNOWN: Final = Known()


def decode_message(data: bytes, known: Known = NOTHING_KNOWN) -> Message:
    """Decode exactly one message.

    Args:
        data: the message.
        known: what it may refer to.

    Raises:
        UnknownVersion: its version is not 2. UnknownReference: it refers to what is not known. Truncated: it ends
            too early.
        WireError: it is damaged, or not a message of ours. Nothing else is ever raised, and memory is bounded
            by the caps in FORMAT.md, whatever the bytes.
    """
    message, end = read_message(data, 0, known)
    if end != len(data):
        raise WireError(f"{len(data) - end} bytes follow the end of the message")
    return message


def read_message(data: bytes, start: int, known: Known = NOTHING_KNOWN) -> tuple[Message, int]:
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
    return _message(fields, known), end + CRC_BYTES


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


def _message(fields: Any, known: Known) -> Message:
    first, node, epoch, seq, boot, offset_ns, body = _array(fields, ENVELOPE_FIELDS + 1, "the message")
    most = max(ClockQuality) << KIND_BITS | (1 << KIND_BITS) - 1
    quality, kind = divmod(_integer(first, (0, most), "kind and time quality"), 1 << KIND_BITS)
    kind = _integer(kind, (0, max(RecordKind)), "kind")
    if kind == RecordKind.BATCH:
        groups, data, reference = _batch_fields(body)
        channels = _channels(groups, known)
        layouts = _inline(groups) if channels is None else _by_reference(groups, channels)
        if node is None and channels is not None:
            node = channels.node
    envelope = Envelope(
        _text(node, "node"),
        _integer(epoch, _COUNT, "epoch"),
        _integer(seq, _COUNT, "seq"),
        _integer(boot, _COUNT, "boot"),
        _integer(offset_ns, _INT64, "offset_ns"),
        ClockQuality(quality),
    )
    if kind == RecordKind.BATCH:
        return Message(envelope, _batch(layouts, data, _latest(envelope, reference, known)))
    return Message(envelope, _event(body) if kind == RecordKind.EVENT else _tombstone(body))


def _batch_fields(body: Any) -> tuple[list[Any], Any, int | None]:
    """Take a batch apart: groups, data, and the seq of the batch that it refers to."""
    groups, data, *more = _array(body, 2, "a batch", exact=False)
    reference = None if not more or more[0] is None else _integer(more[0], _COUNT, "a reference")
    return _array(groups, 0, "the groups", exact=False), data, reference


def _channels(groups: list[Any], known: Known) -> Channels | None:
    """Find the table that the groups refer to; None if they name themselves."""
    if not groups or type(groups[0]) is not int:
        return None
    try:
        return known.channels[groups[0]]
    except KeyError:
        raise UnknownReference(f"the channels {groups[0]:#x} are not known") from None


def _latest(envelope: Envelope, reference: int | None, known: Known) -> Latest:
    if reference is None:
        return Latest(None)
    try:
        return Latest(known.batches[envelope.node, envelope.epoch, reference])
    except KeyError:
        raise UnknownReference(f"the batch refers to seq {reference}, which is not known") from None


def _inline(groups: list[Any]) -> list[Layout]:
    layouts: list[Layout] = []
    for group in groups:
        sensor, extent, quantities = _array(group, 3, "a group")
        rows, shared = _extent(extent, layouts)
        layouts.append(Layout(_text(sensor, "sensor"), rows, _quantities(quantities), shared))
    return layouts


def _by_reference(entries: list[Any], channels: Channels) -> list[Layout]:
    layouts: list[Layout] = []
    if len(entries) - 1 > len(channels.sensors):
        raise WireError("the batch has more groups than its table of channels")
    for entry, (sensor, quantities) in zip(entries[1:], channels.sensors, strict=False):
        if entry is None:
            continue
        extent, bits = (entry, -1) if type(entry) is int else _array(entry, 2, "a group")
        rows, shared = _extent(extent, layouts)
        _integer(bits, (-1, (1 << len(quantities)) - 1), "quantities")
        chosen = [quantity for place, quantity in enumerate(quantities) if bits >> place & 1]
        layouts.append(Layout(sensor, rows, chosen, shared))
    return layouts


def _batch(layouts: list[Layout], data: Any, latest: Latest) -> Batch:
    cells = sum(layout.rows * max(1, len(layout.quantities)) for layout in layouts)
    if cells > MAX_CELLS:  # all caps before anything is expanded
        raise WireError(f"the batch has {cells} cells, more than {MAX_CELLS}")
    decoded = decode_groups(Cursor(_octets(data, "column data")), layouts, latest)
    return Batch(tuple(Group(layout.sensor, *columns) for layout, columns in zip(layouts, decoded, strict=True)))


def _extent(field: Any, earlier: list[Layout]) -> tuple[int, int | None]:
    """Read how many rows a group has or, if that is negative, the earlier group whose times it shares."""
    extent = _integer(field, (-len(earlier), MAX_ROWS), "rows")
    return (earlier[-1 - extent].rows, -1 - extent) if extent < 0 else (extent, None)


def _quantities(field: Any) -> list[str]:
    if type(field) is int:
        bits = _integer(field, _COUNT, "quantities")
        codes: list[Any] = [code for code in range(bits.bit_length()) if bits >> code & 1]
    else:
        codes = _array(field, 0, "quantities", exact=False)
    if len(codes) > MAX_COLUMNS:
        raise WireError(f"a group has {len(codes)} columns, more than {MAX_COLUMNS}")
    return [_quantity(code) for code in codes]


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
        _text(more[1], "severity") if len(more) > 1 and more[1] is not None else None,
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
