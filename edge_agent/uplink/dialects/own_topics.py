"""Topics for all formats without topics of their own: `…/live`, `…/backlog`, `…/event`, retained `…/status`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.errors import WireError
from edge_agent.reading import RecordKind
from edge_agent.uplink.action import way_of
from edge_agent.uplink.confirmation import parse_ack, parse_ask
from edge_agent.uplink.dialect import Notice, Occasion, Publication
from edge_agent.uplink.mqtt import Will
from edge_agent.uplink.packet import publish_bytes
from edge_agent.uplink.signature import verified
from edge_agent.uplink.terms import LARGEST_PACKET_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.reading import Lane, Record
    from edge_agent.uplink.command import Heard
    from edge_agent.uplink.dialects.announcer import Announcer
    from edge_agent.wire.formats.base import Rewrite, Rewritten

log = logging.getLogger(__name__)

_LENGTH_BYTES: Final = 3
"""The length field of a packet with content is up to three bytes longer than that of an empty one."""
_ROW_PROPERTY_BYTES: Final = 20
"""Most bytes of the user property `row`, and by which it makes length fields longer."""
_MOST_COMPLAINTS: Final = 4
"""Different reasons why messages are ignored that are logged, each once."""


class OwnTopics:
    """Records on the topic of their lane, and the status as retained JSON.

    Args:
        prefix: first levels of every topic.
        encode: encodes a record in edge-agent's own format.
        rewrite: converts such a message to the format that is sent.
        status: makes the JSON of the status from the state (`online`, `stopped` or `offline`) and its largest size.
        announcer: chooses the form of messages in the own format; None: every one is self-contained.
        receivers: whether receivers confirm records.
        key: secret by which receivers sign; None: they need not.
        divide: divides a batch into messages of at most so many bytes, each with the first of its rows; raises
            WireError if it cannot. None: the format cannot hold a part.

    Attributes:
        topics: filters of the topics of receivers.
        ignored: number of their messages that cannot be read, or lack a valid signature.
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
        key: str | None = None,
        divide: Callable[[Record, int], Sequence[tuple[int, bytes]]] | None = None,
    ) -> None:
        self._prefix = prefix
        self._encode = encode
        self._rewrite = rewrite
        self._status = status
        self._announcer = announcer
        self._acks, self._asks = f"{prefix}/ack/", f"{prefix}/ask/"
        self.topics: Sequence[str] = (f"{self._acks}+", f"{self._asks}+") if receivers else ()
        self.ignored = 0
        self._key = key
        self._divide = divide
        self._complaints: set[str] = set()

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

    def publication(self, lane: Lane, record: Record, *, alone: bool = False) -> Publication:
        """The record in the configured format. User properties hold its identity, so that a bridge can deduplicate."""
        written = self._rewrite(self._encode(record))
        topic = f"{self._prefix}/{written.topic or way_of(lane, record).value}"
        payload = written.payload
        if self._announcer is not None and not alone:
            payload = self._announcer.message(topic, record, payload)
        refers = len(payload) < len(written.payload)  # the other forms contain the whole message
        properties = _properties(record, written)
        return Publication(topic, payload, written.content_type, properties, refers=refers)

    def parts(self, lane: Lane, record: Record, most_bytes: int) -> Sequence[Publication]:
        """Some rows of a batch each. The user property `row` is the first of them: one more part of the identity."""
        if self._divide is None or record.kind is not RecordKind.BATCH:
            return ()
        topic = f"{self._prefix}/{way_of(lane, record).value}"
        room = most_bytes - _ROW_PROPERTY_BYTES
        publications: list[Publication] = []
        try:
            for first_row, message in self._divide(record, room):
                written = self._rewrite(message)
                properties = (*_properties(record, written), ("row", str(first_row)))
                publications.append(Publication(topic, written.payload, written.content_type, properties))
        except WireError as error:
            log.debug("a batch cannot be divided epoch=%d seq=%d reason=%r", record.epoch, record.seq, str(error))
            return ()
        return publications

    def answered(self, record: Record, *, taken: bool) -> None:
        """Pass the result to the announcer."""
        if self._announcer is not None:
            self._announcer.answered(record, taken=taken)

    def heard(self, topic: str, payload: bytes) -> Sequence[Heard]:
        """What a receiver has stored, or lacks."""
        try:
            if self._key is not None:
                payload = verified(topic, payload, self._key)
            if topic.startswith(self._acks):
                return (parse_ack(topic.removeprefix(self._acks), payload),)
            if topic.startswith(self._asks):
                ask = parse_ask(topic.removeprefix(self._asks), payload)
                if ask.teach and self._announcer is not None:
                    self._announcer.teach()
                return (ask,)
        except WireError as error:
            self.ignored += 1
            if str(error) not in self._complaints and len(self._complaints) < _MOST_COMPLAINTS:  # it may come often
                log.warning("a message of a receiver is ignored topic=%s reason=%r", topic, str(error))
                self._complaints.add(str(error))
        return ()

    @property
    def _status_topic(self) -> str:
        return f"{self._prefix}/status"


def _properties(record: Record, written: Rewritten) -> tuple[tuple[str, str], ...]:
    identity = (("epoch", str(record.epoch)), ("seq", str(record.seq)))
    return (*identity, ("n", str(record.readings)), ("v", written.version))
