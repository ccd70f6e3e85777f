"""Topics for all formats without topics of their own: `…/live`, `…/backlog`, `…/event`, retained `…/status`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.errors import WireError
from edge_agent.uplink.action import way_of
from edge_agent.uplink.confirmation import parse_ack, parse_ask
from edge_agent.uplink.dialect import Notice, Occasion, Publication
from edge_agent.uplink.mqtt import Will
from edge_agent.uplink.packet import publish_bytes
from edge_agent.uplink.terms import LARGEST_PACKET_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.reading import Lane, Record
    from edge_agent.uplink.command import Heard
    from edge_agent.uplink.dialects.announcer import Announcer
    from edge_agent.wire.formats.base import Rewrite

log = logging.getLogger(__name__)

_LENGTH_BYTES: Final = 3
"""The length field of a packet with content is up to three bytes longer than that of an empty one."""


class OwnTopics:
    """Records on the topic of their lane, and the status as retained JSON.

    Args:
        prefix: first levels of every topic.
        encode: encodes a record in edge-agent's own format.
        rewrite: converts such a message to the format that is sent.
        status: makes the JSON of the status from the state (`online`, `stopped` or `offline`) and its largest size.
        announcer: chooses the form of messages in the own format; None: every one is self-contained.
        receivers: whether receivers confirm records.

    Attributes:
        topics: filters of the topics of receivers.
    """

    def __init__(
        self,
        prefix: str,
        *,
        encode: Callable[[Record], bytes],
        rewrite: Rewrite,
        status: Callable[[str, int], bytes],
        announcer: Announcer | None = None,
        receivers: bool = False,
    ) -> None:
        self._prefix = prefix
        self._encode = encode
        self._rewrite = rewrite
        self._status = status
        self._announcer = announcer
        self._acks, self._asks = f"{prefix}/ack/", f"{prefix}/ask/"
        self.topics: Sequence[str] = (f"{self._acks}+", f"{self._asks}+") if receivers else ()
        self._complained = False

    def will(self) -> Will:
        """The status `offline`, retained."""
        return Will(self._status_topic, self._status("offline", LARGEST_PACKET_BYTES))

    def notices(self, occasion: Occasion, most_bytes: int) -> Sequence[Notice]:
        """The status, retained, shortened if it has to be."""
        if self._announcer is not None and occasion is Occasion.BIRTH:
            self._announcer.begin()
        elif self._announcer is not None and occasion is Occasion.HEARTBEAT:
            self._announcer.refresh()
        state = "stopped" if occasion is Occasion.FAREWELL else "online"
        room = most_bytes - publish_bytes(self._status_topic, b"") - _LENGTH_BYTES
        return (Notice(self._status_topic, self._status(state, room), retain=True),)

    def publication(self, lane: Lane, record: Record) -> Publication:
        """The record in the configured format. User properties hold its identity, so that a bridge can deduplicate."""
        written = self._rewrite(self._encode(record))
        topic = f"{self._prefix}/{written.topic or way_of(lane, record).value}"
        payload = written.payload
        if self._announcer is not None:
            payload = self._announcer.message(topic, record, payload)
        identity = (("epoch", str(record.epoch)), ("seq", str(record.seq)))
        properties = (*identity, ("n", str(record.readings)), ("v", written.version))
        return Publication(topic, payload, written.content_type, properties)

    def answered(self, record: Record, *, taken: bool) -> None:
        """Pass the result to the announcer."""
        if self._announcer is not None:
            self._announcer.answered(record, taken=taken)

    def heard(self, topic: str, payload: bytes) -> Sequence[Heard]:
        """What a receiver has stored, or lacks."""
        try:
            if topic.startswith(self._acks):
                return (parse_ack(topic.removeprefix(self._acks), payload),)
            if topic.startswith(self._asks):
                ask = parse_ask(topic.removeprefix(self._asks), payload)
                if ask.teach and self._announcer is not None:
                    self._announcer.teach()
                return (ask,)
        except WireError as error:
            if not self._complained:  # once, because it may come with every message
                log.warning("a message of a receiver cannot be read topic=%s reason=%r", topic, str(error))
            self._complained = True
        return ()

    @property
    def _status_topic(self) -> str:
        return f"{self._prefix}/status"
