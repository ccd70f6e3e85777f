"""Announcements: what a gateway sends once, so that its batches need not repeat it. Pure. Byte by byte in FORMAT.md.

The id of an announcement is the CRC-32 of its bytes. The checksum of every message that refers to it starts from their
Adler-32: a receiver that has another announcement of the same id finds the checksum wrong, and assigns no numbers to
wrong channels. (A checksum that starts from the CRC-32 would not tell the two apart.)
"""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgpack

from edge_agent.clock import ClockQuality
from edge_agent.errors import WireError
from edge_agent.wire.fields import COUNT, INT64, array, integer, take_element, text
from edge_agent.wire.limits import MAX_ANNOUNCED_CHANNELS, MAX_ANNOUNCEMENT_BYTES
from edge_agent.wire.names import checked_text, pack_quantities, unpack_quantities

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.wire.envelope import Envelope

    Sensors = Iterable[tuple[str, Iterable[str]]]

_STEP: Final = (1, (1 << 63) - 1)


@dataclass(frozen=True)
class Announcement:
    """Envelope and channels of a node, made by `make_announcement` or `parse_announcement`.

    Attributes:
        packed: its bytes, as they are sent.
        node, epoch, boot, offset_ns, time_quality: as in an envelope.
        time_step_ns: all stamps, and all differences of offsets, are multiples of it.
        sensors: id and quantities of each, in the order that batches have.
    """

    packed: bytes
    node: str
    epoch: int
    boot: int
    offset_ns: int
    time_quality: ClockQuality
    time_step_ns: int
    sensors: tuple[tuple[str, tuple[str, ...]], ...]

    @cached_property
    def id(self) -> int:
        """Stands for the announcement in a message, 0..2**32-1."""
        return zlib.crc32(self.packed)

    @cached_property
    def seed(self) -> int:
        """Start value of the checksum of a message that refers to it."""
        return zlib.adler32(self.packed)

    @property
    def channels(self) -> int:
        """Number of channels of all sensors."""
        return sum(len(quantities) for _sensor, quantities in self.sensors)

    def to_text(self) -> str:
        """Write it as base64, the form that it has in a status message."""
        return base64.b64encode(self.packed).decode()


def make_announcement(envelope: Envelope, time_step_ns: int, sensors: Sensors) -> Announcement:
    """Make an announcement from an envelope, of which seq is not used, and the channels.

    Raises:
        WireError: it exceeds the caps of the format.
    """
    fields = [
        checked_text(envelope.node, "a node id"),
        envelope.epoch,
        envelope.boot,
        envelope.offset_ns,
        int(envelope.time_quality),
        time_step_ns,
        [[checked_text(sensor, "a sensor id"), pack_quantities(tuple(quantities))] for sensor, quantities in sensors],
    ]
    return parse_announcement(msgpack.packb(fields))


def parse_announcement(packed: bytes) -> Announcement:
    """Read the bytes of an announcement.

    Raises:
        WireError: they are not an announcement, or exceed the caps.
    """
    if len(packed) > MAX_ANNOUNCEMENT_BYTES:
        raise WireError(f"an announcement holds at most {MAX_ANNOUNCEMENT_BYTES} bytes, not {len(packed)}")
    fields, end = take_element(packed, 0)
    if end != len(packed):
        raise WireError("bytes follow the end of an announcement")
    node, epoch, boot, offset_ns, quality, step_ns, listed = array(fields, 7, "an announcement")
    sensors: list[tuple[str, tuple[str, ...]]] = []
    room = MAX_ANNOUNCED_CHANNELS
    for entry in array(listed, 0, "the sensors", exact=False):
        sensor, quantities = array(entry, 2, "a sensor")
        sensors.append((text(sensor, "sensor"), tuple(unpack_quantities(quantities))))
        room -= len(sensors[-1][1])
        if room < 0:
            raise WireError(f"an announcement holds at most {MAX_ANNOUNCED_CHANNELS} channels")
    return Announcement(
        packed,
        text(node, "node"),
        integer(epoch, COUNT, "epoch"),
        integer(boot, COUNT, "boot"),
        integer(offset_ns, INT64, "offset_ns"),
        ClockQuality(integer(quality, (0, max(ClockQuality)), "time quality")),
        integer(step_ns, _STEP, "time_step_ns"),
        tuple(sensors),
    )


def announcement_in_text(encoded: object) -> Announcement:
    """Read what `to_text` wrote.

    Raises:
        WireError: it is something else.
    """
    if not isinstance(encoded, str) or len(encoded) > 2 * MAX_ANNOUNCEMENT_BYTES:
        raise WireError("an announcement is not a text of that length")
    try:
        packed = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise WireError("an announcement is not base64") from None
    return parse_announcement(packed)
