"""Records between the outbox and the broker: held ones, those in flight, and which one is sent next. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from edge_agent.uplink.action import way_of
from edge_agent.uplink.lanes import Lanes
from edge_agent.uplink.pace import Bucket, Pace

if TYPE_CHECKING:
    from edge_agent.reading import Record
    from edge_agent.uplink.action import Way
    from edge_agent.uplink.lanes import Held
    from edge_agent.uplink.pace import Limits
    from edge_agent.uplink.suspects import Suspects

_SLOWEST_NS_PER_BYTE: Final = 2_000_000
"""Time that a byte in flight may take: at 500 bytes/s a large record needs longer than the time for a PUBACK."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """A record without PUBACK.

    Attributes:
        record: the record.
        way: its topic.
        sent_ns: when it was sent.
        due_ns: when its PUBACK is overdue.
    """

    record: Record
    way: Way
    sent_ns: int
    due_ns: int


class Flow:
    """Decides which record is sent next, and whether now.

    Args:
        limits: configured limits.
        ack_timeout_ns: time without PUBACK after which a link is abandoned, nanoseconds.

    Attributes:
        lanes: records that were handed out and not sent yet.
        pace: measures the link.
        in_flight: records without PUBACK by rowid, in the order of sending.
        ready_ns: time at which a record that waits for a configured limit can be sent; None if none waits.
    """

    def __init__(self, limits: Limits, ack_timeout_ns: int) -> None:
        self.lanes = Lanes(limits.backlog_share)
        self.pace = Pace()
        self.in_flight: dict[int, InFlight] = {}
        self.ready_ns: int | None = None
        self._ack_timeout_ns = ack_timeout_ns
        self._limits = limits
        self._messages, self._bytes = Bucket(limits.max_messages_per_s), Bucket(limits.max_bytes_per_s)

    @property
    def records_per_s(self) -> float | None:
        """Records that the link and the configured limits allow in a second; None if nothing is known yet."""
        pace, limits = self.pace, self._limits
        if not pace.bytes_per_s or not pace.mean_bytes:
            return None
        byte_rates = [rate for rate in (pace.bytes_per_s, limits.max_bytes_per_s) if rate is not None]
        rates = [min(byte_rates) / pace.mean_bytes]
        if limits.max_messages_per_s is not None:
            rates.append(limits.max_messages_per_s)
        return min(rates)

    def connected(self) -> None:
        """Handle a new link."""
        self.pace.connected()

    def disconnected(self) -> None:
        """Handle the end of a link: nothing is in flight any more."""
        self.in_flight.clear()
        self.ready_ns = None

    def next(self, now_ns: int, in_flight_limit: int, suspects: Suspects, *, with_backlog: bool = True) -> Held | None:
        """Return the record to send now; None if there is none, or it has to wait."""
        self.ready_ns = None
        if not self.in_flight.keys().isdisjoint(suspects.waiting):
            return None  # it is in flight alone
        suspected = self.lanes.find(suspects.waiting)
        if suspected is not None and suspects.may_send(suspected[1].rowid):
            return None if self.in_flight else suspected
        held = self.lanes.next(suspects.waiting, self._expected_bytes, with_backlog=with_backlog)
        if held is None or len(self.in_flight) >= in_flight_limit:
            return None
        if not self.pace.has_room(now_ns, self._expected_bytes(held[1])):
            return None
        ready_ns = max(self._messages.ready_ns(), self._bytes.ready_ns())
        if now_ns < ready_ns:
            self.ready_ns = ready_ns
            return None
        return held

    def send(self, now_ns: int, held: Held) -> None:
        """Move a record from the held ones to those in flight."""
        lane, record = held
        size_bytes = self._expected_bytes(record)
        due_ns = now_ns + self._ack_timeout_ns + (self.pace.in_flight_bytes + size_bytes) * _SLOWEST_NS_PER_BYTE
        self.lanes.take(lane, record, size_bytes)
        self.in_flight[record.rowid] = InFlight(record, way_of(lane, record), now_ns, due_ns)
        self.pace.sent(now_ns, record.rowid, size_bytes)
        self._messages.take(now_ns, 1)
        self._bytes.take(now_ns, size_bytes)

    def measured(self, now_ns: int, record: Record, size_bytes: int) -> None:
        """Handle the true size of the message of a record in flight."""
        if record.rowid in self.in_flight:
            self._bytes.take(now_ns, size_bytes - self._expected_bytes(record))
            self.pace.measured(record.rowid, len(record.body), size_bytes)

    def progressed(self, now_ns: int, rowid: int) -> None:
        """Handle that a part of a record in flight was acknowledged: its other parts have the full time again."""
        known = self.in_flight.get(rowid)
        if known is not None:
            due_ns = now_ns + self._ack_timeout_ns + self.pace.in_flight_bytes * _SLOWEST_NS_PER_BYTE
            self.in_flight[rowid] = replace(known, due_ns=due_ns)

    def acknowledged(self, now_ns: int, rowid: int) -> InFlight | None:
        """Handle the PUBACK of a record, with any code. Returns what is known of it; None if it is not in flight."""
        self.pace.acknowledged(now_ns, rowid)
        return self.in_flight.pop(rowid, None)

    def withdrawn(self, rowid: int) -> bool:
        """Handle that a record in flight was not sent after all. Returns whether it was in flight."""
        self.pace.forget(rowid)
        return self.in_flight.pop(rowid, None) is not None

    def overdue_ns(self) -> int | None:
        """Time at which the first PUBACK is overdue; None if nothing is in flight."""
        return min((each.due_ns for each in self.in_flight.values()), default=None)

    def _expected_bytes(self, record: Record) -> int:
        return self.pace.expected_bytes(len(record.body))
