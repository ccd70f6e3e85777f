"""Decodes what arrives, whoever sent it. Pure, and bounded in memory.

Announcements are known per prefix, so no gateway can teach another one's names. A message whose announcement is not
known is kept until it comes. What is kept is also stored, so it can be acknowledged to the broker: otherwise messages
that wait would fill the window in which the announcement has to arrive.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from edge_agent.errors import UnknownReference, UnknownVersion, WireError
from edge_agent.receiver.arrival import Arrival, Kept, Refused
from edge_agent.receiver.status import parse_status
from edge_agent.wire.announcement import parse_announcement
from edge_agent.wire.codec import Known, decode_message
from edge_agent.wire.limits import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_agent.wire.announcement import Announcement

MOST_KEPT: Final = 64
MOST_KEPT_BYTES: Final = 1 << 20
"""Most messages, and most bytes, that are kept per prefix."""
MOST_KEPT_BYTES_ALL: Final = 1 << 24
MOST_ANNOUNCEMENTS: Final = 8
"""Announcements that are remembered per prefix, the latest ones."""
MOST_CHANNELS: Final = 1 << 18
"""Channels of all remembered announcements together, each announcement counted as one more."""
RECORD_LANES: Final = frozenset({"live", "backlog", "event"})
STATUS_LANE: Final = "status"


class Inbound:
    """Decodes messages, and keeps those that cannot be decoded yet.

    Args:
        announcements: prefix and bytes of what was learned before, oldest first.
        kept: prefix and content of what was kept before, oldest first.
        jump: how far the numbers of what is kept now are above those; random, so that two receivers on one database
            use different ones.
    """

    def __init__(
        self,
        announcements: Iterable[tuple[str, bytes]] = (),
        kept: Iterable[tuple[str, Kept]] = (),
        jump: int = 0,
    ) -> None:
        self._announcements: OrderedDict[str, dict[int, Announcement]] = OrderedDict()
        self._channels = 0
        self._kept: OrderedDict[str, dict[int, Kept]] = OrderedDict()
        self._kept_bytes = 0
        self._next = 1
        for prefix, each in kept:
            self._keep(prefix, each)
        self._next += jump
        for prefix, packed in announcements:
            self._learn(prefix, parse_announcement(packed))

    def take(self, topic: str, payload: bytes, *, retained: bool = False) -> Iterator[Arrival]:
        """Decode one message.

        Yields:
            What it holds; then what was kept and can be read by it; then what is given up for it.
        """
        prefix, _, lane = topic.rpartition("/")
        if lane == STATUS_LANE:
            if payload:  # an empty one clears what the broker kept
                yield from self._learned(self._status(prefix, payload, retained))
        elif lane in RECORD_LANES and prefix:
            yield from self._learned(self._record(prefix, payload))
        else:
            yield Arrival("", Refused.UNKNOWN_TOPIC)
        yield from self._give_up(prefix)

    def waits_for(self, prefix: str) -> int:
        """How many messages of a prefix are kept."""
        return len(self._kept.get(prefix, ()))

    def _status(self, prefix: str, payload: bytes, retained: bool) -> Arrival:
        try:
            return Arrival(prefix, parse_status(payload), retained)
        except WireError:
            return Arrival(prefix, Refused.NO_STATUS)

    def _record(self, prefix: str, payload: bytes, kept: Kept | None = None) -> Arrival:
        number = None if kept is None else kept.number
        if len(payload) > MAX_MESSAGE_BYTES:
            return Arrival(prefix, Refused.TOO_LARGE, kept=number)
        known = Known()
        known.announcements = self._announcements.get(prefix, {})
        try:
            return Arrival(prefix, decode_message(payload, known), kept=number)
        except UnknownReference as missing:
            if missing.announcement is None:
                return Arrival(prefix, Refused.REFERS, kept=number)
            again = Kept(self._next, missing.announcement, payload)
            self._keep(prefix, again)
            return Arrival(prefix, again, kept=number)
        except UnknownVersion:
            return Arrival(prefix, Refused.UNKNOWN_VERSION, kept=number)
        except WireError:
            return Arrival(prefix, Refused.DAMAGED, kept=number)

    def _learned(self, arrival: Arrival) -> Iterator[Arrival]:
        yield arrival
        if arrival.taught is None or not self._learn(arrival.prefix, arrival.taught):
            return
        mine = self._kept.get(arrival.prefix, {})
        for kept in [each for each in mine.values() if each.announcement == arrival.taught.id]:
            self._forget(arrival.prefix, kept.number)
            yield self._record(arrival.prefix, kept.payload, kept)

    def _keep(self, prefix: str, kept: Kept) -> None:
        self._kept.setdefault(prefix, {})[kept.number] = kept
        self._kept_bytes += len(kept.payload)
        self._next = max(self._next, kept.number + 1)

    def _learn(self, prefix: str, announcement: Announcement) -> bool:
        """Remember an announcement; the oldest ones are forgotten for it. Returns whether it is new."""
        mine = self._announcements.setdefault(prefix, {})
        self._announcements.move_to_end(prefix)
        if mine.get(announcement.id) == announcement:
            return False
        for number in (announcement.id, *list(mine)[: max(0, len(mine) - MOST_ANNOUNCEMENTS + 1)]):
            if number in mine:
                self._channels -= mine.pop(number).channels + 1
        mine[announcement.id] = announcement
        self._channels += announcement.channels + 1
        while self._channels > MOST_CHANNELS:
            _prefix, forgotten = self._announcements.popitem(last=False)
            self._channels -= sum(each.channels + 1 for each in forgotten.values())
        return True

    def _give_up(self, prefix: str) -> Iterator[Arrival]:
        """Keep no more than the limits allow: of this prefix, and of all. The oldest go."""
        mine = self._kept.get(prefix, {})
        size = sum(len(kept.payload) for kept in mine.values())
        while len(mine) > MOST_KEPT or size > MOST_KEPT_BYTES:
            number = next(iter(mine))
            size -= len(mine[number].payload)
            yield self._given_up(prefix, number)
        while self._kept_bytes > MOST_KEPT_BYTES_ALL:
            longest = next(iter(self._kept))
            yield self._given_up(longest, next(iter(self._kept[longest])))

    def _given_up(self, prefix: str, number: int) -> Arrival:
        self._forget(prefix, number)
        return Arrival(prefix, Refused.NO_ANNOUNCEMENT, kept=number)

    def _forget(self, prefix: str, number: int) -> None:
        self._kept_bytes -= len(self._kept[prefix].pop(number).payload)
        if not self._kept[prefix]:
            del self._kept[prefix]
