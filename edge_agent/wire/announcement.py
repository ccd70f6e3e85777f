"""What a gateway says once, so that its batches need not say it again. Pure. Byte by byte in FORMAT.md.

An announcement is known by its bytes: the CRC-32 of them is its id, and the checksum of every message that goes by it
begins with their Adler-32. So a receiver that has another announcement of the same id finds the message damaged,
and never gives its numbers to somebody else's channels. (Begun with their CRC, the checksum would say nothing new.)
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
        packed: its bytes, which are what travels.
        node, epoch, boot, offset_ns, time_quality: as in an envelope.
        time_step_ns: stamps are multiples of it, and so is what offsets differ by.
        sensors: id of each and its quantities, in the order in which batches have them.
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
        """What a message says instead of it, 0..2**32-1."""
        return zlib.crc32(self.packed)

    @cached_property
    def seed(self) -> int:
        """What the checksum of a message by it begins with."""
        return zlib.adler32(self.packed)

    @property
    def channels(self) -> int:
        """How many there are of all sensors."""
        return sum(len(quantities) for _sensor, quantities in self.sensors)

    def to_text(self) -> str:
        """As it stands in a status message."""
        return base64.b64encode(self.packed).decode()


def make_announcement(envelope: Envelope, time_step_ns: int, sensors: Sensors) -> Announcement:
    """Say once who the envelope is of and which channels there are. The envelope's seq is not part of it.

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
        [[checked_text(sensor, "a sensor id"), pack_quantities(quantities)] for sensor, quantities in sensors],
    ]
    return parse_announcement(msgpack.packb(fields))


def parse_announcement(packed: bytes) -> Announcement:
    """Read the bytes of an announcement.

    Raises:
        WireError: they are none, or exceed the caps.
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


def announcement_in_text(said: object) -> Announcement:
    """Read what `to_text` wrote.

    Raises:
        WireError: it is something else.
    """
    if not isinstance(said, str) or len(said) > 2 * MAX_ANNOUNCEMENT_BYTES:
        raise WireError("an announcement is not a text of that length")
    try:
        packed = base64.b64decode(said, validate=True)
    except (binascii.Error, ValueError):
        raise WireError("an announcement is not base64") from None
    return parse_announcement(packed)
