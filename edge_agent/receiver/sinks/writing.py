"""What one transaction writes: each message is entered in the ledger, and what is new of it becomes rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge_agent.reading import Event
from edge_agent.receiver.arrival import Kept, Refused
from edge_agent.receiver.inbound import MOST_ANNOUNCEMENTS
from edge_agent.receiver.ledger import LedgerRefusal
from edge_agent.receiver.sinks.books import Books
from edge_agent.receiver.sinks.heard import hear
from edge_agent.receiver.sinks.rows import RowWriter
from edge_agent.receiver.status import Status
from edge_agent.wire.batch import Batch, Tombstone

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from edge_agent.receiver.arrival import Arrival
    from edge_agent.receiver.sinks.books import Account
    from edge_agent.wire.announcement import Announcement
    from edge_agent.wire.batch import Message

_MOST_ANNOUNCEMENTS: Final = 65_536
"""Most announcements of all prefixes together, the latest ones."""


@dataclass(slots=True)
class Stored:
    """What a transaction did.

    Attributes:
        touched: per prefix the rows of the epochs that got something, a repetition included.
        heard: prefixes of nodes that sent a status.
        records, readings, duplicates: how many were stored, and how many came again.
        refused: messages per reason.
        waiting: prefixes with messages that wait for an announcement.
    """

    touched: dict[str, set[int]] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    records: int = 0
    readings: int = 0
    duplicates: int = 0
    refused: Counter[Refused] = field(default_factory=Counter)
    waiting: set[str] = field(default_factory=set)

    def add(self, other: Stored) -> None:
        """Count what another transaction did."""
        for prefix, epochs in other.touched.items():
            self.touched.setdefault(prefix, set()).update(epochs)
        self.heard |= other.heard
        self.waiting |= other.waiting
        self.records += other.records
        self.readings += other.readings
        self.duplicates += other.duplicates
        self.refused += other.refused


class Writing:
    """One transaction.

    Args:
        db: the database, in the transaction.
        now_ns: wall time, nanoseconds since 1970.
    """

    def __init__(self, db: sqlite3.Connection, now_ns: int) -> None:
        self._db = db
        self._books = Books(db, now_ns)
        self._rows = RowWriter(db, self._books, now_ns)
        self._stored = Stored()
        self._refused: Counter[tuple[int, Refused]] = Counter()

    def write(self, arrivals: Sequence[Arrival]) -> Stored:
        """Write what has come; the caller commits.

        Raises:
            sqlite3.Error, ValueError, OverflowError: it cannot be written; the caller must roll back.
        """
        for arrival in arrivals:
            if arrival.kept is not None:
                self._db.execute("DELETE FROM kept WHERE number = ?", (arrival.kept,))
            if arrival.taught is not None:
                self._teach(arrival.prefix, arrival.taught)
            match arrival.content:
                case Refused():
                    self._refuse(arrival.prefix, arrival.content)
                case Kept(number, announcement, payload):
                    values = number, arrival.prefix, announcement, payload
                    self._db.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?, ?)", values)
                    self._stored.waiting.add(arrival.prefix)
                case Status():
                    self._hear(arrival.prefix, arrival.content, retained=arrival.retained)
                case message:
                    self._message(arrival.prefix, message)
        self._rows.flush()
        self._books.save()
        for (node, reason), count in self._refused.items():
            self._db.execute(
                "INSERT INTO refused VALUES (?, ?, ?)"
                " ON CONFLICT (node, reason) DO UPDATE SET messages = messages + excluded.messages",
                (node, reason.value, count),
            )
        return self._stored

    def _hear(self, prefix: str, status: Status, *, retained: bool) -> None:
        try:
            hear(self._db, self._books, prefix, status, retained=retained)
        except LedgerRefusal:
            self._refuse(prefix, Refused.NO_ROOM)
        else:
            self._stored.heard.add(prefix)

    def _message(self, prefix: str, message: Message) -> None:
        envelope = message.envelope
        try:
            node = self._books.node(envelope.node, prefix)
            account = self._books.account(node, envelope.epoch, envelope.boot)
            new = self._enter(node, message)
        except LedgerRefusal:
            self._refuse(prefix, Refused.NO_ROOM)
            return
        self._stored.touched.setdefault(prefix, set()).add(account.id)
        if not new:
            account.duplicates += 1
            self._stored.duplicates += 1
            return
        before = account.digest.readings
        match message.content:
            case Batch():
                self._rows.batch(node, account, message, new)
            case Event() as event:
                self._rows.event(node, account, envelope, event)
            case Tombstone() as tombstone:
                covered = self._covered(node, message, tombstone)
                self._rows.tombstone(account, covered, envelope, tombstone)
                self._stored.touched[prefix].add(covered.id)
                covered.progressed = True
        account.records += 1
        account.progressed = True
        self._stored.records += 1
        self._stored.readings += account.digest.readings - before

    def _enter(self, node: int, message: Message) -> int:
        """Enter a message in the ledger; returns its rows that are new, or ALL. Nothing is entered if it is refused."""
        envelope, content = message.envelope, message.content
        ledger = self._books.account(node, envelope.epoch, envelope.boot).ledger
        if not isinstance(content, Tombstone):
            rows = sum(len(group.times_ns) for group in content.groups) if isinstance(content, Batch) else 0
            return ledger.deliver(envelope.seq, rows, message.rows)
        if content.epoch is not None:
            if envelope.seq in ledger.have:
                return 0
            self._covered(node, message, content).ledger.drop(content.first_seq, content.last_seq, content.rows)
            return ledger.deliver(envelope.seq)
        # Before release 0.2 a tombstone had the identity of the last record that it covers, which may come yet.
        if envelope.seq in ledger.gone or envelope.seq in ledger.have:
            return 0
        ledger.drop(content.first_seq, content.last_seq)
        return 1

    def _covered(self, node: int, message: Message, tombstone: Tombstone) -> Account:
        envelope = message.envelope
        if tombstone.epoch is None or tombstone.epoch == envelope.epoch:
            return self._books.account(node, envelope.epoch, envelope.boot)
        return self._books.account(node, tombstone.epoch, 0)

    def _teach(self, prefix: str, announcement: Announcement) -> None:
        values = prefix, announcement.id, announcement.packed
        query = "SELECT 1 FROM announcement WHERE prefix = ? AND number = ? AND packed = ?"
        if self._db.execute(query, values).fetchone():
            return
        added = self._db.execute(
            "INSERT OR REPLACE INTO announcement (prefix, number, packed) VALUES (?, ?, ?)", values
        ).lastrowid
        self._db.execute("DELETE FROM announcement WHERE id <= ?", ((added or 0) - _MOST_ANNOUNCEMENTS,))
        self._db.execute(
            "DELETE FROM announcement WHERE prefix = ? AND id NOT IN"
            " (SELECT id FROM announcement WHERE prefix = ? ORDER BY id DESC LIMIT ?)",
            (prefix, prefix, MOST_ANNOUNCEMENTS),
        )

    def _refuse(self, prefix: str, reason: Refused) -> None:
        """Count a refusal: under its node if that is known, else under none, so that nobody makes up rows."""
        found = self._db.execute("SELECT id FROM node WHERE prefix = ? LIMIT 1", (prefix,)).fetchone()
        self._refused[0 if found is None else found[0], reason] += 1
        self._stored.refused[reason] += 1
