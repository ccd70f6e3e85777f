"""Publishes records on a link, and knows which PUBACK belongs to which.

A batch that is larger than the broker takes is sent in parts that name their rows. The next part is sent when the last
one was acknowledged, so that such a record is one message in flight, like every other one.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge_agent.uplink.mqtt import TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.reading import Record
    from edge_agent.uplink.action import Send
    from edge_agent.uplink.dialect import Dialect, Publication
    from edge_agent.uplink.mqtt import Link
    from edge_agent.uplink.notices import Notices
    from edge_agent.uplink.session import Session

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Sending:
    """A record on its way, and its parts that were not published yet."""

    record: Record
    rest: deque[Publication] = field(default_factory=deque)


class Sending:
    """Records on their way on the present link.

    Args:
        dialect: builds the messages.
        notices: chooses which notices before a record are sent.
        session: is told what becomes of each record.
        too_large: called with a record that is larger than the broker takes, and the share of it that would be taken.

    Attributes:
        bytes_sent: size of all payloads of records.
    """

    def __init__(
        self, dialect: Dialect, notices: Notices, session: Session, too_large: Callable[[Record, float], object]
    ) -> None:
        self.bytes_sent = 0
        self._dialect = dialect
        self._notices = notices
        self._session = session
        self._too_large = too_large
        self._mids: dict[int, _Sending] = {}

    def disconnected(self) -> None:
        """Handle the end of the link: nothing is on its way any more."""
        self._mids.clear()

    def send(self, now_ns: int, link: Link, action: Send) -> None:
        """Publish a record, or tell the session why it cannot be."""
        record = action.record
        try:
            try:
                self._send_whole(now_ns, link, action)
            except TooLarge as error:
                self._dialect.answered(record, taken=False)
                self._too_large(record, error.limit_bytes / error.size_bytes)
                self._send_parts(now_ns, link, action, error)
        except TooLarge as error:
            reason = f"larger than the {error.limit_bytes} bytes that the broker takes"
            self._session.refused(now_ns, record, reason)
        except Exception as error:
            # A record that cannot be encoded must not block the following ones.
            log.debug("a record cannot be encoded epoch=%d seq=%d", record.epoch, record.seq, exc_info=True)
            self._dialect.answered(record, taken=False)
            self._session.refused(now_ns, record, f"it cannot be encoded: {error}")

    def acknowledged(self, now_ns: int, link: Link | None, mid: int, code: int) -> None:
        """Handle a PUBACK with this reason code; those that belong to no record are ignored."""
        sending = self._mids.pop(mid, None)
        if sending is None:
            return
        self._notices.acknowledged()
        record = sending.record
        if code == 0 and sending.rest and link is not None:
            self._session.progressed(now_ns, record)
            try:
                self._publish(link, sending)
            except TooLarge as error:
                self._session.refused(now_ns, record, f"a part is larger than the {error.limit_bytes} bytes of before")
            return
        self._dialect.answered(record, taken=code == 0)
        self._session.acknowledged(now_ns, record, code)

    def _send_whole(self, now_ns: int, link: Link, action: Send) -> None:
        lane, record = action.lane, action.record
        publication = self._dialect.publication(lane, record, alone=action.again)
        try:
            self._publish(link, _Sending(record, deque((publication,))))
        except TooLarge:  # perhaps only because of the announcement in it
            self._dialect.answered(record, taken=False)
            smaller = self._dialect.publication(lane, record, alone=action.again)
            if len(smaller.payload) >= len(publication.payload):
                raise
            publication = smaller
            self._publish(link, _Sending(record, deque((publication,))))
        self._session.published(now_ns, record, len(publication.payload), refers=publication.refers)

    def _send_parts(self, now_ns: int, link: Link, action: Send, error: TooLarge) -> None:
        parts = self._dialect.parts(action.lane, action.record, error.limit_bytes - error.overhead_bytes)
        if not parts:
            raise error
        self._publish(link, _Sending(action.record, deque(parts)))
        self._session.published(now_ns, action.record, sum(len(part.payload) for part in parts))

    def _publish(self, link: Link, sending: _Sending) -> None:
        publication = sending.rest.popleft()
        for notice in self._notices.sendable(publication.before):
            link.notify(notice.topic, notice.payload, retain=notice.retain)
        mid = link.publish(
            publication.topic, publication.payload, publication.content_type, publication.user_properties
        )
        self._mids[mid] = sending
        self.bytes_sent += len(publication.payload)
