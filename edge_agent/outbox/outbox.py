"""The outbox: records in commit order, counted so that the numbers always add up.

Rules:
- A record is handed out only after the commit that stored it.
- committed = confirmed + tombstoned + pending, at every moment. A tombstone is not itself counted: it stands for the
  records that it tells of.
- What is dropped leaves a tombstone in the same transaction. Its seq is that of the last record it covers.
- New rows, removal of confirmed ones and dropping share one transaction, because each costs a flush of the card.
- (epoch, seq) is never used twice: every opening begins a new epoch.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from zlib import crc32

from edge_agent.clock import Anchor, ClockQuality
from edge_agent.outbox.recovery import open_or_set_aside
from edge_agent.reading import Lane, Record, RecordKind

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable
    from pathlib import Path

log = logging.getLogger(__name__)

_ROW_BYTES: Final = 64
"""What a row costs in the file beside its body, roughly."""
_EVICT_TO: Final = 0.98
"""Dropping goes on to this share of the limit, so that it does not happen at every commit."""
_INSERT_RECORD: Final = "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_SEGMENT: Final = "INSERT INTO segment VALUES (NULL, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be stored: encoded, with what must be known of it without decoding.

    Attributes:
        kind: what the body holds.
        readings: how many readings.
        first_ns, last_ns: boot time of the first and last of them.
        body: encoded.
    """

    kind: RecordKind
    readings: int
    first_ns: int
    last_ns: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Dropped:
    """A run of records that a tombstone tells of, within one epoch."""

    first_seq: int
    last_seq: int
    records: int
    readings: int
    first_ns: int
    last_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class Tally:
    """Records of this run, those found at its start included: committed = confirmed + tombstoned + pending."""

    committed: int
    confirmed: int
    tombstoned: int
    pending: int
    carried_over: int


@dataclass(slots=True)
class _Row:
    """A row of `record` that is not committed yet."""

    rowid: int
    seq: int
    content: Content


class Outbox:
    """Records on disk.

    Args:
        directory: holds `outbox.db`; made if missing.
        max_bytes: what all bodies together may take; beyond it the oldest batches are dropped.
        boot_id: name of the current boot.
        anchor: where wall time stands now.
        rng: draws the epoch.
        encode_tombstone: makes the body of a tombstone.
    """

    def __init__(
        self,
        directory: Path,
        *,
        max_bytes: int,
        boot_id: str,
        anchor: Anchor,
        rng: random.Random,
        encode_tombstone: Callable[[Dropped], bytes],
    ) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._encode_tombstone = encode_tombstone
        self._db, self.salvage = open_or_set_aside(directory, max_bytes)
        self._anchors: dict[int, Anchor] = {}
        self._waiting: list[_Row] = []
        self._segments: list[Content] = []
        self._clear_segments = False
        self._confirmed: dict[int, RecordKind] = {}
        self._refused: list[tuple[Record, str]] = []
        self._handed_out: set[int] = set()
        self._last_tombstone: tuple[int, int, Dropped] | None = None
        self._live_after = self._backlog_after = self._watermark = 0
        self._boot = self._enter_boot(boot_id, anchor)
        self.epoch = self._begin_epoch(rng)
        self._seq = 0
        self._rowid, self._bytes, self._carried_over = self._take_stock()
        self._committed, self._confirmed_count, self._tombstoned = self._carried_over, 0, 0
        self.commits = 0
        self._promote_segments()

    # ---- what comes in

    def add(self, content: Content) -> int:
        """Take a record in; the next commit stores it. Returns its seq."""
        self._seq += 1
        self._rowid += 1
        self._waiting.append(_Row(self._rowid, self._seq, content))
        if content.kind is RecordKind.BATCH:
            # The batch holds all that the segments of it held.
            self._segments.clear()
            self._clear_segments = True
        return self._seq

    def add_segment(self, content: Content) -> None:
        """Take in part of a batch that is not sealed yet, so that a power cut does not lose it."""
        self._segments.append(content)

    def set_anchor(self, anchor: Anchor) -> None:
        """Note where wall time stands in this boot, unless what is known is better."""
        if anchor.quality >= self._anchors[self._boot].quality:
            self._write_anchor(anchor)

    # ---- what goes out

    def rewind(self) -> None:
        """Begin handing out again from the oldest record; what is stored by now is backlog."""
        self._handed_out.clear()
        self._backlog_after = 0
        self._live_after = self._watermark = self._last_committed_rowid()

    def hand_out(self, limit: int) -> list[tuple[Lane, Record]]:
        """The next records to send, fresh ones first; each is handed out once until `rewind`."""
        live = self._select(self._live_after, None, limit)
        backlog = self._select(self._backlog_after, self._watermark, limit - len(live))
        if live:
            self._live_after = live[-1].rowid
        if backlog:
            self._backlog_after = backlog[-1].rowid
        chosen = [(Lane.LIVE, record) for record in live] + [(Lane.BACKLOG, record) for record in backlog]
        self._handed_out.update(record.rowid for _lane, record in chosen)
        return chosen

    def confirm(self, record: Record) -> None:
        """It has arrived; the next commit removes it."""
        if record.rowid not in self._confirmed:
            self._confirmed[record.rowid] = record.kind
            self._handed_out.discard(record.rowid)
            self._confirmed_count += record.kind is not RecordKind.TOMBSTONE
            if self._last_tombstone is not None and self._last_tombstone[0] == record.rowid:
                self._last_tombstone = None

    def refuse(self, record: Record, reason: str) -> None:
        """It can never arrive; the next commit puts a tombstone in its place."""
        self._handed_out.discard(record.rowid)
        self._refused.append((record, reason))

    def commit(self) -> bool:
        """Make everything taken in since the last commit durable, in one transaction. Returns whether there was any.

        Raises:
            sqlite3.Error: nothing was stored; everything is kept and tried again with the next commit.
        """
        if not (self._waiting or self._segments or self._clear_segments or self._confirmed or self._refused):
            return False
        bytes_before, tombstoned = self._bytes, 0
        new = [row for row in self._waiting if row.content.kind is not RecordKind.TOMBSTONE]
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._delete(self._confirmed)
            self._db.executemany(_INSERT_RECORD, [self._columns(self.epoch, row) for row in self._waiting])
            self._bytes += sum(len(row.content.body) + _ROW_BYTES for row in self._waiting)
            if self._clear_segments:
                self._db.execute("DELETE FROM segment")
            self._db.executemany(
                _INSERT_SEGMENT,
                [(self._boot, s.readings, s.first_ns, s.last_ns, crc32(s.body), s.body) for s in self._segments],
            )
            for record, reason in self._refused:
                tombstoned += self._bury([(record.rowid, record.epoch, record.seq)], reason)
            if self._bytes > self._max_bytes:
                tombstoned += self._evict()
            self._db.execute("COMMIT")
        except BaseException:
            self._bytes, self._last_tombstone = bytes_before, None
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._committed += len(new)
        self._tombstoned += tombstoned
        self._waiting.clear()
        self._segments.clear()
        self._confirmed.clear()
        self._refused.clear()
        self._clear_segments = False
        self.commits += 1
        return True

    def reopen(self) -> None:
        """Drop the connection and open it again: after a failed write, SQLite may keep failing on the old one.

        Raises:
            sqlite3.Error, Unavailable: it cannot be opened either.
        """
        on_disk = self.tally().pending + len(self._confirmed)
        self._db.close()
        self._db, self.salvage = open_or_set_aside(self._directory, self._max_bytes)
        if self.salvage is not None:
            self._tombstoned += max(0, on_disk - self.salvage.records)
            self._db.execute("INSERT OR IGNORE INTO epoch VALUES (?, ?)", (self.epoch, self._boot))
            for boot, anchor in self._anchors.items():
                self._db.execute(
                    "INSERT OR IGNORE INTO boot VALUES (?, ?, ?, ?, ?)",
                    (boot, f"boot-{boot}", anchor.offset_ns, int(anchor.quality), anchor.max_error_ns),
                )
            _rowid, self._bytes, _rows = self._take_stock()

    def tally(self) -> Tally:
        """Where the records of this run are."""
        return Tally(
            committed=self._committed,
            confirmed=self._confirmed_count,
            tombstoned=self._tombstoned,
            pending=self._committed - self._confirmed_count - self._tombstoned,
            carried_over=self._carried_over,
        )

    def count_pending(self) -> int:
        """Records on disk that have not been confirmed: what `tally().pending` says, counted."""
        (rows,) = self._db.execute("SELECT count(*) FROM record WHERE kind != ?", (RecordKind.TOMBSTONE,)).fetchone()
        return int(rows) - sum(kind is not RecordKind.TOMBSTONE for kind in self._confirmed.values())

    def close(self) -> None:
        """Commit what is left and close."""
        try:
            self.commit()
        finally:
            self._db.close()

    # ---- inside

    def _columns(self, epoch: int, row: _Row) -> tuple[object, ...]:
        content = row.content
        return (
            row.rowid,
            epoch,
            row.seq,
            int(content.kind),
            self._boot,
            content.readings,
            content.first_ns,
            content.last_ns,
            crc32(content.body),
            content.body,
        )

    def _select(self, after: int, upto: int | None, limit: int) -> list[Record]:
        """Rows in (after, upto], oldest first, without those confirmed already; a damaged one is refused instead."""
        if limit <= 0:
            return []
        rows = self._db.execute(
            "SELECT rowid, epoch, seq, kind, boot, readings, crc, body FROM record"
            " WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT ?",
            (after, 1 << 62 if upto is None else upto, limit + sum(rowid > after for rowid in self._confirmed)),
        ).fetchall()
        records: list[Record] = []
        for rowid, epoch, seq, kind, boot, readings, crc, body in rows:
            if rowid in self._confirmed or len(records) == limit:
                continue
            anchor = self._anchors[boot]
            record = Record(rowid, epoch, seq, RecordKind(kind), boot, anchor.offset_ns, anchor.quality, readings, body)
            if crc32(body) == crc:
                records.append(record)
            else:
                log.error("a stored record is damaged and is replaced by a tombstone epoch=%d seq=%d", epoch, seq)
                self.refuse(record, "damaged in the store")
        return records

    def _delete(self, rowids: Iterable[int]) -> None:
        for rowid in rowids:
            row = self._db.execute("DELETE FROM record WHERE rowid = ? RETURNING length(body)", (rowid,)).fetchone()
            if row is not None:
                self._bytes -= row[0] + _ROW_BYTES

    def _evict(self) -> int:
        """Drop the oldest batches that are not on their way until the rest fits. Returns how many."""
        rows = self._db.execute(
            "SELECT rowid, epoch, seq, length(body) FROM record WHERE kind = ? ORDER BY rowid", (RecordKind.BATCH,)
        )
        doomed: list[tuple[int, int, int]] = []
        excess = self._bytes - self._max_bytes * _EVICT_TO
        for rowid, epoch, seq, size in rows.fetchall() if excess > 0 else []:
            if excess <= 0:
                break
            if rowid not in self._handed_out:
                doomed.append((rowid, epoch, seq))
                excess -= size + _ROW_BYTES
        if doomed:
            log.warning("the outbox is full: the oldest batches were dropped records=%d", len(doomed))
        return self._bury(doomed, "outbox full")

    def _bury(self, doomed: list[tuple[int, int, int]], reason: str) -> int:
        """Replace rows (rowid, epoch, seq) by tombstones, one per unbroken run. Returns how many rows went."""
        buried = 0
        for rowid, epoch, seq in doomed:
            row = self._db.execute(
                "DELETE FROM record WHERE rowid = ? RETURNING boot, readings, first_ns, last_ns, length(body), kind",
                (rowid,),
            ).fetchone()
            if row is None:
                continue
            boot, readings, first_ns, last_ns, size, kind = row
            self._bytes -= size + _ROW_BYTES
            if kind == RecordKind.TOMBSTONE:
                continue  # a tombstone that cannot be delivered tells of nothing new
            buried += 1
            dropped = Dropped(seq, seq, 1, readings, first_ns, last_ns, reason)
            self._write_tombstone(epoch, boot, dropped)
        return buried

    def _write_tombstone(self, epoch: int, boot: int, dropped: Dropped) -> None:
        """Write one tombstone, or widen the last one if it adjoins and has not been handed out."""
        last = self._last_tombstone
        if last is not None:
            rowid, last_epoch, before = last
            adjoins = (last_epoch, before.reason, before.last_seq + 1) == (epoch, dropped.reason, dropped.first_seq)
            if adjoins and rowid > max(self._handed_out, default=0):
                dropped = Dropped(
                    before.first_seq,
                    dropped.last_seq,
                    before.records + dropped.records,
                    before.readings + dropped.readings,
                    before.first_ns,
                    dropped.last_ns,
                    dropped.reason,
                )
                self._delete([rowid])
        body = self._encode_tombstone(dropped)
        self._rowid += 1
        self._db.execute(
            _INSERT_RECORD,
            (
                self._rowid,
                epoch,
                dropped.last_seq,
                int(RecordKind.TOMBSTONE),
                boot,
                dropped.readings,
                dropped.first_ns,
                dropped.last_ns,
                crc32(body),
                body,
            ),
        )
        self._bytes += len(body) + _ROW_BYTES
        self._last_tombstone = (self._rowid, epoch, dropped)

    def _last_committed_rowid(self) -> int:
        (rowid,) = self._db.execute("SELECT coalesce(max(rowid), 0) FROM record").fetchone()
        return int(rowid)

    def _take_stock(self) -> tuple[int, int, int]:
        """Highest rowid, bytes, and records that earlier runs left."""
        rowid, size, rows = self._db.execute(
            "SELECT coalesce(max(rowid), 0), coalesce(sum(length(body)), 0) + ? * count(*),"
            " coalesce(sum(kind != ?), 0) FROM record",
            (_ROW_BYTES, int(RecordKind.TOMBSTONE)),
        ).fetchone()
        return rowid, size, rows

    def _enter_boot(self, boot_id: str, anchor: Anchor) -> int:
        """The ordinal of this boot; boots are numbered in the order in which this outbox met them."""
        for boot, known_id, offset_ns, quality, max_error_ns in self._db.execute("SELECT * FROM boot").fetchall():
            self._anchors[boot] = Anchor(offset_ns, ClockQuality(quality), max_error_ns)
            if known_id == boot_id:
                self._boot = boot
                self.set_anchor(anchor)
                return int(boot)
        self._boot = max(self._anchors, default=0) + 1
        self._anchors[self._boot] = anchor
        self._db.execute(
            "INSERT INTO boot VALUES (?, ?, ?, ?, ?)",
            (self._boot, boot_id, anchor.offset_ns, int(anchor.quality), anchor.max_error_ns),
        )
        return self._boot

    def _write_anchor(self, anchor: Anchor) -> None:
        self._anchors[self._boot] = anchor
        self._db.execute(
            "UPDATE boot SET offset_ns = ?, quality = ?, max_error_ns = ? WHERE boot = ?",
            (anchor.offset_ns, int(anchor.quality), anchor.max_error_ns, self._boot),
        )

    def _begin_epoch(self, rng: random.Random) -> int:
        """Draw an epoch that this outbox has never used; 53 bits, so that every JSON reader keeps it exact."""
        used = {epoch for (epoch,) in self._db.execute("SELECT epoch FROM epoch").fetchall()}
        epoch = rng.getrandbits(53)
        while epoch in used:
            epoch = rng.getrandbits(53)
        self._db.execute("INSERT INTO epoch VALUES (?, ?)", (epoch, self._boot))
        return epoch

    def _promote_segments(self) -> None:
        """Make records of what an interrupted run had not sealed. They keep the boot that their stamps belong to."""
        rows = self._db.execute(
            "SELECT boot, readings, first_ns, last_ns, crc, body FROM segment ORDER BY rowid"
        ).fetchall()
        if not rows:
            return
        whole = [row for row in rows if crc32(row[5]) == row[4]]
        self._db.execute("BEGIN IMMEDIATE")
        for boot, readings, first_ns, last_ns, crc, body in whole:
            self._rowid += 1
            self._seq += 1
            self._db.execute(
                _INSERT_RECORD,
                (self._rowid, self.epoch, self._seq, 0, boot, readings, first_ns, last_ns, crc, body),
            )
            self._bytes += len(body) + _ROW_BYTES
        self._db.execute("DELETE FROM segment")
        self._db.execute("COMMIT")
        self._carried_over += len(whole)
        self._committed += len(whole)
