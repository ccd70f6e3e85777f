"""Encodes records to messages. Pure. Byte by byte in FORMAT.md.

A body is encoded once, when the record is made. The envelope is added each time the record is sent, because the best
known time of its boot may have changed since.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

import msgpack

from edge_agent.errors import WireError
from edge_agent.wire.column import encode_groups
from edge_agent.wire.known import Latest
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
    VERSION,
)
from edge_agent.wire.names import checked_text, pack_quantities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.reading import Event, RecordKind
    from edge_agent.wire.batch import Batch, RowRange, RowsOfBatch, Tombstone
    from edge_agent.wire.envelope import Envelope
    from edge_agent.wire.known import Reference

FIXARRAY: Final = 0x90
"""First byte of a short msgpack array; its length is added."""


def encode_batch(batch: Batch, *, reference: Reference | None = None) -> bytes:
    """Encode a batch into the body of a message.

    Args:
        batch: what to encode.
        reference: a batch of the same node and epoch that the receiver has confirmed; numbers are written relative to
            its last ones. None: the batch is self-contained.

    Raises:
        WireError: it exceeds the caps of the format, its columns differ in length, or a name is too long.
    """
    shared = _check(batch)
    data = encode_groups(batch.groups, shared, Latest(None if reference is None else reference.batch))
    extents = [
        len(group.times_ns) if other is None else -1 - other for group, other in zip(batch.groups, shared, strict=True)
    ]
    heads = [
        [
            checked_text(group.sensor, "a sensor id"),
            extent,
            pack_quantities(tuple([column.quantity for column in group.columns])),
        ]
        for group, extent in zip(batch.groups, extents, strict=True)
    ]
    return _pack([heads, data] if reference is None else [heads, data, reference.seq])


def _check(batch: Batch) -> list[int | None]:
    """Check the caps of the format. Return per group the earlier group whose times it has, or None."""
    if len(batch.groups) > MAX_GROUPS:
        raise WireError(f"a batch holds at most {MAX_GROUPS} groups, not {len(batch.groups)}")
    cells = 0
    references: list[int | None] = []
    seen: dict[tuple[int, ...], int] = {}
    for place, group in enumerate(batch.groups):
        rows = len(group.times_ns)
        if rows > MAX_ROWS or len(group.columns) > MAX_COLUMNS:
            raise WireError(f"a group holds at most {MAX_ROWS} rows and {MAX_COLUMNS} columns")
        for column in group.columns:
            if not rows == len(column.values) == len(column.statuses) == len(column.raws or column.values):
                raise WireError(f"{group.sensor}.{column.quantity} has another length than its times")
        cells += rows * max(1, len(group.columns))
        first = seen.setdefault(tuple(group.times_ns), place)
        references.append(None if first == place else first)
    if cells > MAX_CELLS:
        raise WireError(f"a batch holds at most {MAX_CELLS} cells, not {cells}")
    return references


def encode_event(event: Event) -> bytes:
    """Encode an event into the body of a message. A cause longer than 256 bytes is cut."""
    fields: list[Any] = [
        event.kind.value,
        event.boot_ns,
        checked_text(event.subject, "a subject"),
        checked_text(event.state, "a state"),
        _cut_text(event.cause),
    ]
    severity = None if event.severity is None else checked_text(event.severity, "a severity")
    fix = event.fix
    numbers = None if fix is None else [fix.boot, fix.from_ns, fix.to_ns, fix.old_offset_ns, fix.new_offset_ns]
    return _pack(_without_last_nils([*fields, event.errno, severity, numbers]))


def encode_tombstone(tombstone: Tombstone) -> bytes:
    """Encode a tombstone into the body of a message. A reason longer than 256 bytes is cut."""
    fields = [
        tombstone.first_seq,
        tombstone.last_seq,
        tombstone.records,
        tombstone.readings,
        _cut_text(tombstone.reason),
        tombstone.first_ns,
        tombstone.last_ns,
    ]
    rows = _shown(tombstone.rows) or None
    return _pack(_without_last_nils([*fields, tombstone.epoch, rows]))


def _shown(ranges: Sequence[RowRange]) -> list[list[int]]:
    return [list(each if each.step > 1 else each[:2]) for each in ranges]


def _without_last_nils(fields: list[Any]) -> list[Any]:
    """Leave out what is None at the end: receivers know it as left out."""
    while fields and fields[-1] is None:
        fields.pop()
    return fields


def encode_message(kind: RecordKind, envelope: Envelope, body: bytes, *, rows: RowsOfBatch | None = None) -> bytes:
    """Add the envelope and the checksum to a body.

    Args:
        kind: what the body is.
        envelope: identity and time.
        body: made by one of the functions above; it is not decoded.
        rows: which rows of its batch the body holds, as `split_batch` or `thin_batch` says; None: all.

    Raises:
        WireError: the message would be larger than MAX_MESSAGE_BYTES, or the node's id is too long.
    """
    fields = _pack(
        [
            int(kind) | int(envelope.time_quality) << KIND_BITS,
            checked_text(envelope.node, "a node id"),
            envelope.epoch,
            envelope.seq,
            envelope.boot,
            envelope.offset_ns,
        ]
    )
    # The body is one more element of the array, whose first byte holds its length; so are nil and the rows.
    more = b""
    if rows is not None:
        others = [_shown(rows.more)] if rows.more else []
        more = _pack([None, [rows.total, rows.first, rows.step, rows.count, *others]])[1:]
    start = bytes((VERSION, FIXARRAY | ENVELOPE_FIELDS + (1 if rows is None else 3)))
    return sealed(start + fields[1:] + body + more)


def sealed(message: bytes, start: int = 0) -> bytes:
    """Append the checksum, which starts from `start`.

    Raises:
        WireError: the message would be larger than MAX_MESSAGE_BYTES.
    """
    if len(message) + CRC_BYTES > MAX_MESSAGE_BYTES:
        raise WireError(f"a message holds at most {MAX_MESSAGE_BYTES} bytes, not {len(message) + CRC_BYTES}")
    return message + zlib.crc32(message, start).to_bytes(CRC_BYTES, "big")


def _pack(fields: list[Any]) -> bytes:
    packed: bytes = msgpack.packb(fields)
    return packed


def _cut_text(text: str) -> str:
    octets = text.encode(errors="replace")
    if len(octets) <= MAX_TEXT_BYTES:
        return octets.decode()
    ellipsis_ = "…"
    return octets[: MAX_TEXT_BYTES - len(ellipsis_.encode())].decode(errors="ignore") + ellipsis_
