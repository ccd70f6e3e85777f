"""Batches that refer to an announcement and so repeat none of it. Pure.

They are made from self-contained messages, whose column data are copied unchanged. So any stored record can be sent in
either form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgpack

from edge_agent.clock import ClockQuality
from edge_agent.errors import Truncated, UnknownReference, WireError
from edge_agent.reading import RecordKind
from edge_agent.wire.cursor import Cursor, signed_varint, varint, wrap_int64
from edge_agent.wire.encode import FIXARRAY, sealed
from edge_agent.wire.envelope import Envelope
from edge_agent.wire.fields import COUNT, integer
from edge_agent.wire.limits import CRC_BYTES, ENVELOPE_FIELDS, KIND_BITS, MAX_ROWS, VERSION
from edge_agent.wire.names import unpack_quantities
from edge_agent.wire.table import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.wire.announcement import Announcement

_ID_BYTES: Final = 4
EPOCH: Final = 1
BOOT: Final = 2
OFFSET: Final = 4
REFERENCE: Final = 8
COLUMNS: Final = 16
SHARED: Final = 32
"""Bits of the form byte, one per field that follows it. See FORMAT.md, section 3."""
_KNOWN_BITS: Final = 63


class Opened(NamedTuple):
    """The parts of a batch that refers to an announcement.

    Attributes:
        envelope: identity and time of the message.
        layouts: one per group.
        data: the columns of all groups, still encoded.
        reference: seq of the batch that its numbers are relative to; None if there is none.
    """

    envelope: Envelope
    layouts: list[Layout]
    data: bytes
    reference: int | None


def teaching(message: bytes, announcement: Announcement) -> bytes:
    """Append an announcement to a self-contained message, which remains self-contained.

    Raises:
        WireError: the message would be too large.
    """
    if message[1] != FIXARRAY | ENVELOPE_FIELDS + 1:  # it holds some rows of its batch, and says which
        parts = msgpack.unpackb(message[1:-CRC_BYTES])
        parts[ENVELOPE_FIELDS + 1] = announcement.packed
        return sealed(bytes((VERSION,)) + msgpack.packb(parts))
    fields = message[2:-CRC_BYTES] + msgpack.packb(announcement.packed)
    return sealed(bytes((VERSION, FIXARRAY | ENVELOPE_FIELDS + 2)) + fields)


def by_announcement(message: bytes, announcement: Announcement) -> bytes | None:
    """Rewrite a self-contained batch so that it refers to an announcement.

    Args:
        message: as `encode_message` made it.
        announcement: one that every receiver has.

    Returns:
        The message. None if this form cannot hold it: it is no batch, it is from another node, its channels are not
        among the announced ones in the announced order, its offset does not differ from the announced one by a multiple
        of the time step, or it holds only some rows of its batch.
    """
    first, node, epoch, seq, boot, offset_ns, body, *more = msgpack.unpackb(message[1:-CRC_BYTES])
    quality, kind = divmod(first, 1 << KIND_BITS)
    steps, odd_ns = divmod(wrap_int64(offset_ns - announcement.offset_ns), announcement.time_step_ns)
    if kind != RecordKind.BATCH or node != announcement.node or odd_ns or any(more[1:]):
        return None
    groups, data, *reference = body
    places = _places(groups, announcement)
    if places is None:
        return None
    form, fields = 0, list[bytes]()
    if epoch != announcement.epoch:
        form, fields = form | EPOCH, [*fields, varint(epoch)]
    if (boot, quality) != (announcement.boot, announcement.time_quality):
        form, fields = form | BOOT, [*fields, varint(boot), varint(quality)]
    if steps:
        form, fields = form | OFFSET, [*fields, signed_varint(steps)]
    if reference:
        form, fields = form | REFERENCE, [*fields, signed_varint(wrap_int64(seq - reference[0]))]
    if len(places) < announcement.channels:
        bits = sum(1 << place for place in places)
        form, fields = form | COLUMNS, [*fields, bits.to_bytes((announcement.channels + 7) // 8, "little")]
    extents = [extent for _sensor, extent, _quantities in groups]
    if any(extent < 0 for extent in extents):
        form, fields = form | SHARED, [*fields, *map(signed_varint, extents)]
    else:
        fields += map(varint, extents)
    parts = (announcement.id.to_bytes(_ID_BYTES, "big"), varint(seq), bytes((form,)), *fields, data)
    return sealed(bytes((VERSION,)) + msgpack.packb(b"".join(parts)), announcement.seed)


def _places(groups: Sequence[Any], announcement: Announcement) -> list[int] | None:
    """Find the place of each column among the announced channels; None if one is missing or in another order."""
    places: list[int] = []
    rest = iter(groups)
    group = next(rest, None)
    first = 0
    for sensor, quantities in announcement.sensors:
        if group is not None and group[0] == sensor:
            names = unpack_quantities(group[2])
            own = [place for place, quantity in enumerate(quantities, first) if quantity in names]
            if not names or [quantities[place - first] for place in own] != names:
                return None
            places += own
            group = next(rest, None)
        first += len(quantities)
    return places if group is None else None


def announcement_of(content: bytes, announcements: Mapping[int, Announcement]) -> Announcement:
    """Find the announcement that a batch refers to.

    Raises:
        UnknownReference: it is not among `announcements`.
    """
    if len(content) < _ID_BYTES:
        raise Truncated("a batch by announcement ends before it names one")
    number = int.from_bytes(content[:_ID_BYTES], "big")
    try:
        return announcements[number]
    except KeyError:
        missing = UnknownReference(
            f"refers to announcement {number:08x} of a birth message that is not in this capture; "
            "capture edge/<node>/status too"
        )
        missing.announcement = number
        raise missing from None


def open_announced(content: bytes, announcement: Announcement) -> Opened:
    """Parse a batch that refers to an announcement; its columns stay encoded.

    Raises:
        WireError: it is damaged.
    """
    cursor = Cursor(content)
    cursor.take(_ID_BYTES)
    seq, form = cursor.varint(), cursor.byte()
    if form & ~_KNOWN_BITS:
        raise WireError(f"a batch in the unknown form {form:#04x}")
    epoch = cursor.varint() if form & EPOCH else announcement.epoch
    boot, quality = (
        (cursor.varint(), cursor.varint()) if form & BOOT else (announcement.boot, announcement.time_quality)
    )
    steps = cursor.signed_varint() if form & OFFSET else 0
    reference = wrap_int64(seq - cursor.signed_varint()) if form & REFERENCE else None
    count = announcement.channels
    bits = int.from_bytes(cursor.take((count + 7) // 8), "little") if form & COLUMNS else (1 << count) - 1
    if bits >> count:
        raise WireError("a batch with more columns than were announced")
    layouts: list[Layout] = []
    first = 0
    for sensor, quantities in announcement.sensors:
        chosen = [quantity for place, quantity in enumerate(quantities, first) if bits >> place & 1]
        first += len(quantities)
        if chosen:
            extent = cursor.signed_varint() if form & SHARED else cursor.varint()
            layouts.append(_layout(sensor, extent, chosen, layouts))
    envelope = Envelope(
        announcement.node,
        integer(epoch, COUNT, "epoch"),
        integer(seq, COUNT, "seq"),
        integer(boot, COUNT, "boot"),
        wrap_int64(announcement.offset_ns + steps * announcement.time_step_ns),
        ClockQuality(integer(int(quality), (0, max(ClockQuality)), "time quality")),
    )
    return Opened(envelope, layouts, content[cursor.at :], reference)


def _layout(sensor: str, extent: int, quantities: list[str], earlier: list[Layout]) -> Layout:
    """Make the layout of a group: `extent` is its number of rows or, if negative, -1 - the group whose times it has."""
    integer(extent, (-len(earlier), MAX_ROWS), "rows")
    return (
        Layout(sensor, earlier[-1 - extent].rows, quantities, -1 - extent)
        if extent < 0
        else Layout(sensor, extent, quantities, None)
    )
