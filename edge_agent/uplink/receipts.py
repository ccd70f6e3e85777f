"""Records that the broker has taken and no receiver has confirmed yet. Pure.

A PUBACK says that the broker has a record, not that anybody stored it. With `ack = "receiver"`, a record is *sent* at
its PUBACK and leaves the outbox when the receivers have confirmed it. This is kept in memory only: after a start, what
waits is sent again, and a receiver that has it answers with an ack.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge_agent.reading import Record
    from edge_agent.uplink.confirmation import Ack, Ask

MOST_UNCONFIRMED: Final = 4096
"""Records that are sent and not confirmed, at most."""
_BACKLOG_SHARE: Final = 0.75
"""Share of them that the backlog may take: the rest is reserved for live records."""
RESEND_NS: Final = 60 * NS_PER_S
_LAST_RESEND_NS: Final = 3600 * NS_PER_S
_MOST_NAMES: Final = 16
_TEACH_NS: Final = 10 * NS_PER_S
"""Time in which a request for an announcement is followed once."""


@dataclass(slots=True)
class _Sent:
    """A record that some receiver may have.

    Attributes:
        record: the record, without its body.
        sent_ns: when it was published last.
        taken: whether the broker has acknowledged it, so that it is not sent again for now.
        refers: whether it was sent in a form that needs an announcement.
        by: required receivers that have confirmed it.
    """

    record: Record
    sent_ns: int
    taken: bool = False
    refers: bool = False
    by: set[str] = field(default_factory=set)


class Receipts:
    """Confirmations of receivers.

    Args:
        receivers: those that must confirm each record; empty: any one does.

    Attributes:
        others: names of receivers that confirm and are not required; shown, and ignored.
        ever: whether a receiver has ever confirmed a record.
    """

    def __init__(self, receivers: Iterable[str]) -> None:
        self._receivers = frozenset(receivers)
        self.others: set[str] = set()
        self.ever = False
        self._sent: dict[int, _Sent] = {}
        self._rowids: dict[int, dict[int, int]] = {}  # epoch → seq → rowid
        self._taken = 0
        self._wait_ns = RESEND_NS
        self._resend_ns: int | None = None
        self._teach_ns: int | None = None  # when a request for an announcement was followed last

    @property
    def unconfirmed(self) -> int:
        """Number of records that the broker has and no receiver has confirmed."""
        return self._taken

    @property
    def is_silent(self) -> bool:
        """Whether the time for a first confirmation has passed without any."""
        return not self.ever and self._wait_ns > RESEND_NS

    @property
    def resend_ns(self) -> int | None:
        """Time at which unconfirmed records are sent again; None if there are none."""
        return self._resend_ns

    def is_taken(self, rowid: int) -> bool:
        """Whether a record is with the broker, so that it is not sent again for now."""
        sent = self._sent.get(rowid)
        return sent is not None and sent.taken

    def has_room(self, in_flight: int, *, backlog: bool) -> bool:
        """Whether one more record may be unconfirmed."""
        most = MOST_UNCONFIRMED * (_BACKLOG_SHARE if backlog else 1)
        return self._taken + in_flight < most

    def published(self, now_ns: int, record: Record) -> bool:
        """Handle that a record is sent: from now on an ack counts for it, also before the PUBACK.

        Returns:
            Whether it was sent before.
        """
        known = self._sent.get(record.rowid)
        if known is not None:
            known.sent_ns, known.refers = now_ns, False
            return True
        if len(self._sent) >= 2 * MOST_UNCONFIRMED:  # some were dropped by the outbox meanwhile
            self._forget(next(rowid for rowid, sent in self._sent.items() if not sent.taken))
        self._sent[record.rowid] = _Sent(replace(record, body=b""), now_ns)
        self._rowids.setdefault(record.epoch, {})[record.seq] = record.rowid
        return False

    def refers(self, rowid: int) -> None:
        """Note that a record was sent in a form that needs an announcement."""
        if rowid in self._sent:
            self._sent[rowid].refers = True

    def taken(self, now_ns: int, rowid: int) -> None:
        """Handle a successful PUBACK."""
        sent = self._sent.get(rowid)
        if sent is not None and not sent.taken:
            sent.taken = True
            self._taken += 1
            if self._resend_ns is None:
                self._resend_ns = now_ns + self._wait_ns

    def withdrawn(self, rowid: int) -> None:
        """Handle that a record was not sent after all, or was refused: nobody has it from this attempt."""
        sent = self._sent.get(rowid)
        if sent is not None and not sent.taken and not sent.by:
            self._forget(rowid)

    def heeds(self, receiver: str) -> bool:
        """Whether what this receiver says counts; otherwise its name is remembered."""
        if not self._receivers or receiver in self._receivers:
            return True
        if len(self.others) < _MOST_NAMES:
            self.others.add(receiver)
        return False

    def confirmed(self, now_ns: int, ack: Ack) -> list[Record]:
        """Handle an ack. Returns the records that can leave the outbox, without their bodies."""
        if not self.heeds(ack.receiver):
            return []
        done: list[Record] = []
        progress = False
        for seqs in ack.seqs:
            for seq, rowid in list(self._rowids.get(seqs.epoch, {}).items()):
                sent = self._sent[rowid]
                if seq not in seqs or ack.receiver in sent.by:
                    continue
                progress = True
                sent.by.add(ack.receiver)
                if not self._receivers or sent.by >= self._receivers:
                    done.append(sent.record)
                    self._forget(rowid)
        if progress:
            self.ever = True
            self._wait_ns = RESEND_NS
            self._resend_ns = now_ns + self._wait_ns if self._taken else None
        return done

    def asked(self, now_ns: int, ask: Ask) -> bool:
        """Handle what a receiver lacks. Returns whether records are to be sent again: the outbox hands them out.

        Only records that were sent longer ago than the time of a resend count: others may still be on their way.
        """
        found = False
        for seqs in ask.missing:
            for seq, rowid in self._rowids.get(seqs.epoch, {}).items():
                if seq not in seqs:
                    continue
                sent = self._sent[rowid]
                sent.by.discard(ask.receiver)  # it was restored from a backup since
                if sent.taken and now_ns - sent.sent_ns >= RESEND_NS:
                    self._untake(sent)
                    found = True
        return found

    def teach(self, now_ns: int) -> bool:
        """Handle that a receiver lacks an announcement. Returns whether to follow that now.

        Then what needs an announcement is to be sent again, and stands alone.
        """
        if self._teach_ns is not None and now_ns - self._teach_ns < _TEACH_NS:
            return False
        self._teach_ns = now_ns
        for sent in self._sent.values():
            if sent.refers:
                self._untake(sent)
        return True

    def resend(self, now_ns: int) -> bool:
        """Return whether it is time to send all unconfirmed records again; the next time is later, up to an hour."""
        if self._resend_ns is None or now_ns < self._resend_ns:
            return False
        self._wait_ns = min(2 * self._wait_ns, _LAST_RESEND_NS)
        self._resend_ns = None
        for sent in self._sent.values():
            self._untake(sent)
        return True

    def _untake(self, sent: _Sent) -> None:
        self._taken -= sent.taken
        sent.taken = False

    def _forget(self, rowid: int) -> None:
        sent = self._sent.pop(rowid)
        self._untake(sent)
        seqs = self._rowids[sent.record.epoch]
        del seqs[sent.record.seq]
        if not seqs:
            del self._rowids[sent.record.epoch]
