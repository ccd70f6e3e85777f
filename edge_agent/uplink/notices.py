"""Notices of a link: status and births, as large as the broker takes them.

With MQTT 5 the broker says how large a packet may be. With MQTT 3.1.1 it does not, and closes the connection at a
packet that is too large. So after several links that ended at once, notices are limited to half of what was sent.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.uplink.dialect import Occasion
from edge_agent.uplink.packet import publish_bytes
from edge_agent.uplink.terms import LARGEST_PACKET_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.uplink.dialect import Dialect, Notice
    from edge_agent.uplink.terms import Terms

log = logging.getLogger(__name__)

_SHORT_LINKS: Final = 3
"""Links in a row that ended at once, after which notices are limited."""
_AT_ONCE_NS: Final = 10 * NS_PER_S
_AGAIN_NS: Final = 3600 * NS_PER_S
"""Time after which notices of full size are tried again."""

_HEARTBEAT_S: Final = 1.0
_LEAST_HEARTBEAT_BYTES: Final = 1024


class Notices:
    """Chooses the size of notices.

    Args:
        dialect: builds them.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._terms_bytes = LARGEST_PACKET_BYTES
        self._limit_bytes = LARGEST_PACKET_BYTES
        self._limited_ns = 0
        self._largest_bytes = 0  # of the notices of this link
        self._since_ns: int | None = None  # when this link was established, until a record was acknowledged on it
        self._short_links = 0
        self._said: set[str] = set()

    def connected(self, now_ns: int, terms: Terms) -> None:
        """Handle a new link."""
        self._terms_bytes = terms.maximum_packet_bytes
        self._since_ns, self._largest_bytes = now_ns, 0
        if now_ns - self._limited_ns >= _AGAIN_NS:
            self._limit_bytes = LARGEST_PACKET_BYTES

    def acknowledged(self) -> None:
        """Handle that a record was acknowledged on this link: the notices before it were not too large."""
        self._since_ns, self._short_links = None, 0

    def disconnected(self, now_ns: int) -> None:
        """Handle the end of a link, or that it could not be made."""
        if self._since_ns is None:
            return
        self._short_links = self._short_links + 1 if now_ns - self._since_ns < _AT_ONCE_NS else 0
        self._since_ns = None
        if self._short_links >= _SHORT_LINKS and self._largest_bytes:
            self._short_links = 0
            self._limit_bytes, self._limited_ns = self._largest_bytes // 2, now_ns
            log.warning(
                "links end right after the status message; it is limited to %d bytes for an hour", self._limit_bytes
            )

    def due(self, occasion: Occasion, bytes_per_s: float | None = None) -> Sequence[Notice]:
        """Build the notices of an occasion.

        Args:
            occasion: the occasion.
            bytes_per_s: what the link carries; a heartbeat takes it for about a second, because records wait for it.
                None: not known.
        """
        limit_bytes = min(self._terms_bytes, self._limit_bytes)
        if occasion is Occasion.HEARTBEAT and bytes_per_s is not None:
            limit_bytes = min(limit_bytes, max(_LEAST_HEARTBEAT_BYTES, round(bytes_per_s * _HEARTBEAT_S)))
        return self.sendable(self._dialect.notices(occasion, limit_bytes))

    def sendable(self, notices: Sequence[Notice]) -> Sequence[Notice]:
        """Return the notices that are small enough; say once of each topic that others are not sent."""
        limit_bytes = min(self._terms_bytes, self._limit_bytes)
        sendable: list[Notice] = []
        for notice in notices:
            size = publish_bytes(notice.topic, notice.payload)
            if size <= limit_bytes:
                sendable.append(notice)
                self._largest_bytes = max(self._largest_bytes, size)
            elif notice.topic not in self._said:
                self._said.add(notice.topic)
                text = "a message cannot be made small enough and is not sent"
                log.error("%s topic=%s bytes=%d limit_bytes=%d", text, notice.topic, size, limit_bytes)
        return sendable
