"""Decodes messages to records. Pure. Byte by byte in FORMAT.md.

Every length is checked against the caps before memory is taken for it. Whatever the bytes are, the result is a message
or a WireError.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edge_agent.clock import ClockQuality
from edge_agent.errors import Truncated, Unfinished, UnknownReference, UnknownVersion, WireError
from edge_agent.reading import Event, EventKind, RecordKind, TimeFix
from edge_agent.wire.announced import announcement_of, open_announced
from edge_agent.wire.announcement import parse_announcement
from edge_agent.wire.batch import Batch, Group, Message, RowRange, RowsOfBatch, Tombstone
from edge_agent.wire.cursor import Cursor
from edge_agent.wire.envelope import Envelope
from edge_agent.wire.fields import COUNT, INT64, array, integer, octets, take_element, text
from edge_agent.wire.known import Known, Latest
from edge_agent.wire.limits import (
    CRC_BYTES,
    ENVELOPE_FIELDS,
    KIND_BITS,
    MAX_CELLS,
    MAX_MESSAGE_BYTES,
    MAX_ROWS,
    VERSION,
)
from edge_agent.wire.names import unpack_quantities
from edge_agent.wire.table import Layout, decode_groups

if TYPE_CHECKING:
    from edge_agent.wire.announcement import Announcement


def decode_message(data: bytes, known: Known | None = None) -> Message:
    """Decode exactly one message.

    Args:
        data: the message.
        known: announcements and batches that it may refer to; None: none.

    Raises:
        UnknownVersion: its version is not 2.
        UnknownReference: it refers to an announcement or a batch that is not in `known`.
        Truncated: it ends too early.
        WireError: it is damaged, or not a message of this format. Nothing else is ever raised, and memory is bounded
            by the caps in FORMAT.md, whatever the bytes.
    """
    message, end = read_message(data, 0, known)
    if end != len(data):
        raise WireError(f"{len(data) - end} bytes follow the end of the message")
    return message


def read_message(data: bytes, start: int, known: Known | None = None) -> tuple[Message, int]:
    """Decode the message that starts at `start` of a longer capture.

    Returns:
        The message, and the offset of the first byte after it.

    Raises:
        WireError: as `decode_message`. An UnknownReference says in `end` where the next message begins.
    """
    known = known or Known()
    content, end = _take(data, start)
    try:
        if isinstance(content, bytes):
            announcement = announcement_of(content, known.announcements)
            _check(data, start, end, announcement.seed)
            envelope, layouts, columns, reference = open_announced(content, announcement)
            message = Message(envelope, _batch(layouts, columns, _latest(envelope, reference, known)))
        else:
            _check(data, start, end)
            message = _message(content, known)
    except UnknownReference as error:
        error.end = end + CRC_BYTES
        raise
    return message, end + CRC_BYTES


def read_taught(data: bytes, start: int) -> tuple[Announcement | None, int]:
    """Read only the announcement that the message at `start` carries, if any.

    Returns:
        The announcement, and the offset of the first byte after the message.

    Raises:
        WireError: the message is damaged. Of one that refers to an announcement the checksum cannot be checked.
    """
    content, end = _take(data, start)
    if isinstance(content, bytes):
        return None, end + CRC_BYTES
    _check(data, start, end)
    return _taught(array(content, ENVELOPE_FIELDS + 1, "the message", exact=False)), end + CRC_BYTES


def _take(data: bytes, start: int) -> tuple[Any, int]:
    """Read the element between version and checksum; return it and the offset of its end."""
    if start >= len(data):
        raise Truncated("an empty message")
    if data[start] != VERSION:
        raise UnknownVersion(f"format version {data[start]} is not known, only {VERSION}")
    try:
        content, end = take_element(data, start + 1)
    except Truncated as error:
        raise Unfinished(str(error)) from None
    if end + CRC_BYTES > len(data):
        raise Unfinished("the message ends before its checksum")
    if end + CRC_BYTES - start > MAX_MESSAGE_BYTES:
        raise WireError(f"a message holds at most {MAX_MESSAGE_BYTES} bytes")
    return content, end


def _check(data: bytes, start: int, end: int, seed: int = 0) -> None:
    if zlib.crc32(memoryview(data)[start:end], seed) != int.from_bytes(data[end : end + CRC_BYTES], "big"):
        raise WireError("the checksum does not match: the message was damaged")


def _taught(fields: list[Any]) -> Announcement | None:
    more = fields[ENVELOPE_FIELDS + 1 :]
    return None if not more or more[0] is None else parse_announcement(octets(more[0], "an announcement"))


def _rows_of_batch(fields: list[Any], kind: int) -> RowsOfBatch | None:
    """Read which rows of its batch a message holds; None: all."""
    more = fields[ENVELOPE_FIELDS + 2 :]
    if not more or more[0] is None:
        return None
    if kind != RecordKind.BATCH:
        raise WireError("only a batch has rows")
    total, first, step, count, *others = array(more[0], 4, "the rows", exact=False)
    total = integer(total, (1, MAX_CELLS), "total of the rows")
    first = integer(first, (0, total - 1), "first row")
    step = integer(step, (1, MAX_CELLS), "step of the rows")
    rows = RowsOfBatch(total, first, step, integer(count, (1, (total - 1 - first) // step + 1), "count of the rows"))
    if not others or others[0] is None:
        return rows
    ranges = _ranges_of_rows(others[0], total - 1)
    ends = (rows.last, *(each.last for each in ranges))
    if any(each.first <= end for each, end in zip(ranges, ends, strict=False)):
        raise WireError("the rows of a message do not ascend")
    return replace(rows, more=ranges)


def _message(fields: Any, known: Known) -> Message:
    fields = array(fields, ENVELOPE_FIELDS + 1, "the message", exact=False)
    first, node, epoch, seq, boot, offset_ns, body = fields[: ENVELOPE_FIELDS + 1]
    most = max(ClockQuality) << KIND_BITS | (1 << KIND_BITS) - 1
    quality, kind = divmod(integer(first, (0, most), "kind and time quality"), 1 << KIND_BITS)
    kind = integer(kind, (0, max(RecordKind)), "kind")
    envelope = Envelope(
        text(node, "node"),
        integer(epoch, COUNT, "epoch"),
        integer(seq, COUNT, "seq"),
        integer(boot, COUNT, "boot"),
        integer(offset_ns, INT64, "offset_ns"),
        ClockQuality(quality),
    )
    announcement = _taught(fields)
    rows = _rows_of_batch(fields, kind)
    if kind == RecordKind.EVENT:
        return Message(envelope, _event(body), announcement)
    if kind == RecordKind.TOMBSTONE:
        return Message(envelope, _tombstone(body), announcement)
    groups, data, *references = array(body, 2, "a batch", exact=False)
    reference = None if not references or references[0] is None else integer(references[0], COUNT, "a reference")
    layouts = _layouts(array(groups, 0, "the groups", exact=False))
    if rows is not None and sum(layout.rows for layout in layouts) != rows.size:
        raise WireError(f"the message says that it holds {rows.size} rows, and holds others")
    return Message(envelope, _batch(layouts, data, _latest(envelope, reference, known)), announcement, rows)


def decode_batch(body: bytes) -> Batch:
    """Decode the body of a self-contained batch, as `encode_batch` made it.

    Raises:
        WireError: it is damaged, is no batch, or refers to another one.
    """
    fields, end = take_element(body, 0)
    groups, data, *references = array(fields, 2, "a batch", exact=False)
    if end != len(body) or (references and references[0] is not None):
        raise WireError("the body is not that of a self-contained batch")
    return _batch(_layouts(array(groups, 0, "the groups", exact=False)), data, Latest(None))


def _latest(envelope: Envelope, reference: int | None, known: Known) -> Latest:
    if reference is None:
        return Latest(None)
    try:
        return known.batches[envelope.node, envelope.epoch, reference]
    except KeyError:
        raise UnknownReference(
            f"refers to the batch with seq {reference} of {envelope.node}, epoch {envelope.epoch}, "
            "which is not in this capture"
        ) from None


def _layouts(groups: list[Any]) -> list[Layout]:
    layouts: list[Layout] = []
    for group in groups:
        sensor, extent, quantities = array(group, 3, "a group")
        rows, shared = _extent(extent, layouts)
        layouts.append(Layout(text(sensor, "sensor"), rows, unpack_quantities(quantities), shared))
    return layouts


def _batch(layouts: list[Layout], data: Any, latest: Latest) -> Batch:
    cells = sum(layout.rows * max(1, len(layout.quantities)) for layout in layouts)
    if cells > MAX_CELLS:  # checked before memory is taken
        raise WireError(f"the batch has {cells} cells, more than {MAX_CELLS}")
    decoded = decode_groups(Cursor(octets(data, "column data")), layouts, latest)
    return Batch(tuple(Group(layout.sensor, *columns) for layout, columns in zip(layouts, decoded, strict=True)))


def _extent(field: Any, earlier: list[Layout]) -> tuple[int, int | None]:
    """Read an extent: return the rows of a group, and the earlier group whose times it has (None: its own)."""
    extent = integer(field, (-len(earlier), MAX_ROWS), "rows")
    return (earlier[-1 - extent].rows, -1 - extent) if extent < 0 else (extent, None)


def _event(body: Any) -> Event:
    kind, boot_ns, subject, state, cause, *more = array(body, 5, "an event", exact=False)
    try:
        event_kind = EventKind(text(kind, "event kind"))
    except ValueError:
        raise WireError(f"an event of the unknown kind {kind!r}") from None
    return Event(
        event_kind,
        integer(boot_ns, INT64, "boot_ns"),
        text(subject, "subject"),
        text(state, "state"),
        text(cause, "cause"),
        integer(more[0], INT64, "errno") if more and more[0] is not None else None,
        text(more[1], "severity") if len(more) > 1 and more[1] is not None else None,
        _time_fix(more[2]) if len(more) > 2 and more[2] is not None else None,
    )


def _time_fix(field: Any) -> TimeFix:
    boot, from_ns, to_ns, old_offset_ns, new_offset_ns = array(field, 5, "a time-fix")
    to_ns = integer(to_ns, INT64, "to_ns")
    return TimeFix(
        integer(boot, COUNT, "boot of a time-fix"),
        integer(from_ns, (INT64[0], to_ns), "from_ns"),
        to_ns,
        integer(old_offset_ns, INT64, "old_offset_ns"),
        integer(new_offset_ns, INT64, "new_offset_ns"),
    )


def _tombstone(body: Any) -> Tombstone:
    first_seq, last_seq, records, readings, reason, first_ns, last_ns, *more = array(
        body, 7, "a tombstone", exact=False
    )
    first_seq = integer(first_seq, COUNT, "first_seq")
    last_seq = None if last_seq is None else integer(last_seq, (first_seq, COUNT[1]), "last_seq")
    rows = _ranges_of_rows(more[1], MAX_CELLS - 1) if len(more) > 1 and more[1] is not None else ()
    if rows and first_seq != last_seq:
        raise WireError("rows of more than one record cannot be dropped by one tombstone")
    return Tombstone(
        first_seq,
        last_seq,
        integer(records, COUNT, "records"),
        integer(readings, COUNT, "readings"),
        text(reason, "reason"),
        integer(first_ns, INT64, "first_ns"),
        integer(last_ns, INT64, "last_ns"),
        integer(more[0], COUNT, "epoch of what was dropped") if more and more[0] is not None else None,
        rows,
    )


def _ranges_of_rows(field: Any, most: int) -> tuple[RowRange, ...]:
    ranges: list[RowRange] = []
    for entry in array(field, 1, "ranges of rows", exact=False):
        first, last, *steps = array(entry, 2, "a range of rows", exact=False)
        last = integer(last, (0, most), "last row")
        step = integer(steps[0], (1, MAX_CELLS), "step of the rows") if steps else 1
        ranges.append(RowRange(integer(first, (0, last), "first row"), last, step))
    return tuple(ranges)
