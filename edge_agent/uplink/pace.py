"""How much may be sent: bytes in flight by the measured rate, and configured limits. Pure.

What is in flight delays every record that is sent after it, also the live ones. So not more bytes are in flight than
the link carries in a second beyond its round trip, and at least one message; one message more while there is no queue.
The rate is that at which bytes are acknowledged between the sending of a record and its PUBACK, as in the delivery
rate of BBR (draft-cardwell-iccrg-bbr-congestion-control, 4.1). The one message at the start of a link gives the first
values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from edge_agent.clock import NS_PER_S

QUEUE_S: Final = 1.0
"""Time that bytes in flight may wait on the link, besides the round trip, seconds."""
_NO_QUEUE_NS: Final = NS_PER_S // 2
"""A round trip that is longer than the least one by less than this shows that the link can do more."""
_GAIN: Final = 0.5
"""Weight of a new sample of the rate."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Configured limits.

    Attributes:
        max_messages_per_s, max_bytes_per_s: of records; None: no limit.
        backlog_share: share of the bytes that the backlog gets while live records wait too, 0..0.9.
    """

    max_messages_per_s: float | None = None
    max_bytes_per_s: float | None = None
    backlog_share: float = 0.1


@dataclass(slots=True)
class _Sent:
    """A record in flight.

    Attributes:
        size_bytes: size of its message.
        sent_ns: when it was sent.
        acked_bytes, acked_ns: how much was acknowledged by then, and when the last of it was.
        alone: whether nothing else was in flight.
    """

    size_bytes: int
    sent_ns: int
    acked_bytes: int
    acked_ns: int
    alone: bool


class Pace:
    """Measures a link.

    Attributes:
        in_flight_bytes: sum of the messages without PUBACK.
        bytes_per_s: rate of acknowledged bytes; infinite if no time passed; None before the first PUBACK.
        least_rtt_ns: least time between sending and PUBACK. That of a record that was sent alone replaces it, even if
            it is longer, because the way may have changed.
        mean_bytes: mean size of a message, over about the last ten; 0 before the first.
    """

    def __init__(self) -> None:
        self.in_flight_bytes = 0
        self.bytes_per_s: float | None = None
        self.least_rtt_ns: int | None = None
        self.mean_bytes = 0.0
        self._rtt_ns = 0  # of the last PUBACK
        self._ratio = 1.0  # size of a message by that of the body
        self._sent: dict[int, _Sent] = {}
        self._acked_bytes = 0
        self._acked_ns = 0
        self._full_ns = -1  # when a record last had to wait

    def connected(self) -> None:
        """Handle a new link, of which nothing is known."""
        self.bytes_per_s = self.least_rtt_ns = None
        self._sent.clear()
        self.in_flight_bytes = 0
        self._full_ns = -1

    def expected_bytes(self, body_bytes: int) -> int:
        """Size of the message of a record, as far as it can be told before it is made."""
        return round(body_bytes * self._ratio)

    def has_room(self, now_ns: int, size_bytes: int) -> bool:
        """Whether a message of this size may be sent now."""
        # One message more while there is no queue: with a round trip above a second, the limit alone would not grow.
        no_queue = self.least_rtt_ns is not None and self._rtt_ns - self.least_rtt_ns < _NO_QUEUE_NS
        limit_bytes = self._limit_bytes() + size_bytes * no_queue
        if not self._sent or self.in_flight_bytes + size_bytes <= limit_bytes:
            return True
        self._full_ns = now_ns
        return False

    def sent(self, now_ns: int, rowid: int, size_bytes: int) -> None:
        """Handle that a record is sent."""
        if not self._sent:
            self._acked_ns = now_ns
        self._sent[rowid] = _Sent(size_bytes, now_ns, self._acked_bytes, self._acked_ns, alone=not self._sent)
        self.in_flight_bytes += size_bytes

    def measured(self, rowid: int, body_bytes: int, size_bytes: int) -> None:
        """Handle the true size of a message, which is known once it was made."""
        sent = self._sent.get(rowid)
        if sent is None:
            return
        self.in_flight_bytes += size_bytes - sent.size_bytes
        sent.size_bytes = size_bytes
        self.mean_bytes += (size_bytes - self.mean_bytes) * (0.1 if self.mean_bytes else 1.0)
        if body_bytes:
            self._ratio += (size_bytes / body_bytes - self._ratio) * _GAIN

    def acknowledged(self, now_ns: int, rowid: int) -> None:
        """Handle the PUBACK of a record, with any code: the bytes have arrived at the broker."""
        sent = self.forget(rowid)
        if sent is None:
            return
        self._acked_bytes += sent.size_bytes
        self._acked_ns = now_ns
        rtt_ns = now_ns - sent.sent_ns
        self._rtt_ns = rtt_ns
        if sent.alone or self.least_rtt_ns is None or rtt_ns < self.least_rtt_ns:
            self.least_rtt_ns = rtt_ns
        elapsed_ns = now_ns - sent.acked_ns
        sample = (self._acked_bytes - sent.acked_bytes) * NS_PER_S / elapsed_ns if elapsed_ns > 0 else math.inf
        known = self.bytes_per_s
        if known is None or sample > known or math.isinf(known):
            self.bytes_per_s = sample
        elif self._full_ns >= sent.sent_ns:  # otherwise there was nothing more to send, and the link can do more
            self.bytes_per_s = known + (sample - known) * _GAIN

    def forget(self, rowid: int) -> _Sent | None:
        """Handle that a record is not in flight any more."""
        sent = self._sent.pop(rowid, None)
        if sent is not None:
            self.in_flight_bytes -= sent.size_bytes
        return sent

    def _limit_bytes(self) -> float:
        if self.bytes_per_s is None or self.least_rtt_ns is None:
            return 0.0
        return self.bytes_per_s * (self.least_rtt_ns / NS_PER_S + QUEUE_S)


class Bucket:
    """A token bucket that holds the tokens of one second.

    Args:
        per_s: tokens per second; None: no limit.
    """

    def __init__(self, per_s: float | None) -> None:
        self._per_s = per_s
        self._empty_until_ns = 0  # the bucket lacks tokens until then; full one second later

    def ready_ns(self) -> int:
        """Time from which the next message may be sent, nanoseconds."""
        return self._empty_until_ns

    def take(self, now_ns: int, tokens: float) -> None:
        """Take tokens; the bucket may lack some afterwards, so that a message larger than the bucket can be sent."""
        if self._per_s is not None:
            begin_ns = max(self._empty_until_ns, now_ns - NS_PER_S)
            self._empty_until_ns = begin_ns + round(tokens * NS_PER_S / self._per_s)
