"""Records to messages. Pure. Byte by byte in FORMAT.md.

A body is encoded once, when the record is made; the envelope is put around it each time the record leaves,
because the best known time of its boot may have changed meanwhile.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

import msgpack

from edge_agent.errors import WireError
from edge_agent.wire.column import encode_columns
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

    from edge_agent.reading import Event, RecordKind
    from edge_agent.wire.batch import Batch, Column, Envelope, Tombstone

_CODE_OF: Final = {quantity: code for code, quantity in enumerate(QUANTITY_CODES)}
_FIXARRAY: Final = 0x90


def encode_batch(batch: Batch) -> bytes:
    """Encode a batch into the body of a message.

    Raises:
        WireError: it exceeds the caps of the format, its columns differ in length, or a name is too long.
    """
    columns, times, references = _check(batch)
    column_blocks, time_blocks = encode_columns(columns, times)
    following = iter(column_blocks)
    groups = []
    own_times = iter(time_blocks)
    for group, reference in zip(batch.groups, references, strict=True):
        quantities = [_CODE_OF.get(column.quantity) for column in group.columns]
        groups.append(
            [
                _checked_text(group.sensor, "a sensor id"),
                len(group.times_ns),
                next(own_times) if reference is None else reference,
                [
                    _checked_text(column.quantity, "a quantity") if code is None else code
                    for code, column in zip(quantities, group.columns, strict=True)
                ],
                b"".join([next(following) for _ in group.columns]),
            ]
        )
    return _pack([groups])


def _check(batch: Batch) -> tuple[list[Column], list[Sequence[int]], list[int | None]]:
    """Refuse what no decoder takes; return columns, distinct times, and who shares the times of whom."""
    if len(batch.groups) > MAX_GROUPS:
        raise WireError(f"a batch holds at most {MAX_GROUPS} groups, not {len(batch.groups)}")
    cells = 0
    times: list[Sequence[int]] = []
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
        stamps = tuple(group.times_ns)
        references.append(seen.get(stamps))
        if stamps not in seen:
            seen[stamps] = place
            times.append(stamps)
    if cells > MAX_CELLS:
        raise WireError(f"a batch holds at most {MAX_CELLS} cells, not {cells}")
    return [column for group in batch.groups for column in group.columns], times, references


def encode_event(event: Event) -> bytes:
    """Encode an event into the body of a message. A cause longer than 256 bytes is cut."""
    return _pack(
        [
            event.kind.value,
            event.boot_ns,
            _checked_text(event.subject, "a subject"),
            _checked_text(event.state, "a state"),
            _cut_text(event.cause),
        ]
        + ([] if event.errno is None else [event.errno])
    )


def encode_tombstone(tombstone: Tombstone) -> bytes:
    """Encode a tombstone into the body of a message. A reason longer than 256 bytes is cut."""
    return _pack(
        [
            tombstone.first_seq,
            tombstone.last_seq,
            tombstone.records,
            tombstone.readings,
            _cut_text(tombstone.reason),
            tombstone.first_ns,
            tombstone.last_ns,
        ]
    )


def encode_message(kind: RecordKind, envelope: Envelope, body: bytes) -> bytes:
    """Put the envelope around a body, which is not looked into.

    Raises:
        WireError: the message would be larger than MAX_MESSAGE_BYTES, or the node's id is too long.
    """
    fields = _pack(
        [
            int(kind),
            _checked_text(envelope.node, "a node id"),
            envelope.epoch,
            envelope.seq,
            envelope.boot,
            envelope.offset_ns,
            int(envelope.time_quality),
        ]
    )
    # The body becomes one more element: only the length in the array's first byte tells.
    start = bytes((VERSION, _FIXARRAY | ENVELOPE_FIELDS + 1))
    message = start + fields[1:] + body
    if len(message) + CRC_BYTES > MAX_MESSAGE_BYTES:
        raise WireError(f"a message holds at most {MAX_MESSAGE_BYTES} bytes, not {len(message) + CRC_BYTES}")
    return message + zlib.crc32(message).to_bytes(CRC_BYTES, "big")


def _pack(fields: list[Any]) -> bytes:
    packed: bytes = msgpack.packb(fields)
    return packed


def _checked_text(text: str, what: str) -> str:
    octets = text.encode(errors="replace")  # msgpack would refuse half a surrogate pair
    if len(octets) > MAX_TEXT_BYTES:
        raise WireError(f"{what} has at most {MAX_TEXT_BYTES} bytes: {text[:40]}…")
    return octets.decode()


def _cut_text(text: str) -> str:
    octets = text.encode(errors="replace")
    if len(octets) <= MAX_TEXT_BYTES:
        return octets.decode()
    ellipsis_ = "…"
    return octets[: MAX_TEXT_BYTES - len(ellipsis_.encode())].decode(errors="ignore") + ellipsis_
