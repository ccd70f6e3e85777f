"""Rules of the store, each broken by one small change. See `mutation.py`."""

from __future__ import annotations

from typing import Final

from tests.campaign.mutation import Mutation

_OUTBOX: Final = "outbox/outbox.py"
_SCHEMA: Final = "outbox/schema.py"
_SEGMENTS: Final = "outbox/segments.py"
_TRANSACTION: Final = "outbox/transaction.py"
_TOMBSTONES: Final = "outbox/tombstones.py"
_RECOVERY: Final = "outbox/recovery.py"
_STORE: Final = "outbox/worker.py"
_PIPELINE: Final = "pipeline/pipeline.py"

STORE: Final = (
    Mutation("WAL without a sync per commit", _SCHEMA, "'FULL' if settings.durable", "'NORMAL' if settings.durable"),
    Mutation("no sync at all", _SCHEMA, "'FULL' if settings.durable", "'OFF' if settings.durable"),
    Mutation("a journal in memory", _SCHEMA, "PRAGMA journal_mode=WAL", "PRAGMA journal_mode=MEMORY"),
    Mutation("segments are not synced", _SEGMENTS, "(os.O_DSYNC if durable else 0)", "0"),
    Mutation(
        "a sealed batch is not marked",
        _TRANSACTION,
        "            self._segments.mark_sealed(db)\n",
        "            pass\n",
    ),
    Mutation(
        "segments that became records are not marked",
        _SEGMENTS,
        "        if found:\n            _save_generation(db, generation)\n",
        "",
        "outbox",
    ),
    Mutation(
        "the next batch overwrites no segments",
        _OUTBOX,
        "        if intake.sealed:\n            self._segments.start_batch()\n",
        "",
    ),
    Mutation(
        "segments of a batch have another seq than the batch",
        "outbox/outbox.py",
        "            seq, self._open_seq = self._open_seq, 0\n",
        "            seq, self._open_seq = self._next_seq(), 0\n",
    ),
    Mutation(
        "rowids begin anew",
        "outbox/outbox.py",
        "        self._rowid = max(self._rowid, last, self._salvaging.rowids_below())\n",
        "        self._rowid = max(self._rowid, self._salvaging.rowids_below())\n",
    ),
    Mutation(
        "the oldest records are never sent again",
        "outbox/lanes.py",
        "        self._backlog_after = self._nothing_upto if self.aside else 0\n",
        "",
    ),
    Mutation(
        "a failed COMMIT counts as durable",
        _OUTBOX,
        "        if durable:\n            self._tombstones",
        "        if True:\n            self._tombstones",
    ),
    Mutation(
        "changes of a failed commit are forgotten",
        _OUTBOX,
        "            self._intake = intake.followed_by(self._intake)\n",
        "",
    ),
    Mutation(
        "what was secured while the disk failed is forgotten",
        _OUTBOX,
        "            del segments[0]\n",
        "            segments.clear()\n",
        "outbox",
    ),
    Mutation(
        "a failed read skips records",
        "outbox/lanes.py",
        "        live, live_after = select(self._live_after, _LAST_ROWID, ordinary, skipped)\n",
        "        live, self._live_after = select(self._live_after, _LAST_ROWID, ordinary, skipped)\n"
        "        live_after = self._live_after\n",
        "outbox",
    ),
    Mutation(
        "damaged bytes are sent",
        "outbox/outbox.py",
        "                if not row.is_intact():\n",
        "                if row.body is None:\n",
        "outbox",
    ),
    Mutation(
        "a failed commit is not tried again on a new connection",
        _STORE,
        "            if self._failing:\n                self.outbox.reopen()\n",
        "",
        "outbox",
    ),
    Mutation(
        "a request to commit is ignored", _STORE, "                return True\n", "                return False\n"
    ),
)

RECOVERY: Final = (
    Mutation(
        "what is read back after a failed sync is durable",
        "outbox/store.py",
        "        if self._settings.durable:\n            journal.rewrite(self._journal, self._settings.files)\n",
        "",
        "disk",
    ),
    Mutation(
        "what a damaged file lost is not told",
        "outbox/salvage.py",
        "    tell(ranges)\n",
        "",
        "outbox",
    ),
    Mutation(
        "a lost journal is not told",
        "outbox/store.py",
        "            self.lost_commits = journal.lost_commits(self._journal, PAGE_BYTES)\n",
        "            pass\n",
        "outbox",
    ),
    Mutation(
        "a salvage begins anew at each start",
        "outbox/salvage.py",
        "                self.progress.after = item.rowid\n",
        "",
        "outbox",
    ),
    Mutation(
        "records in memory are stored with the first failed attempt forgotten",
        "outbox/outbox.py",
        "                self._intake = self._intake.followed_by(later)\n",
        "                self._intake = later\n",
        "outbox",
    ),
    Mutation(
        "a full disk keeps its reserve",
        "outbox/store.py",
        "        if self._reserve.give_up():\n",
        "        if False:\n",
        "outbox",
    ),
)

LOSSES: Final = (
    Mutation(
        "a full outbox drops in silence",
        "outbox/tombstones.py",
        "        if not was_tombstone:\n            append_loss",
        "        if was_tombstone:\n            append_loss",
        "outbox",
    ),
    Mutation(
        "a tombstone changes after it was sent",
        _TOMBSTONES,
        "        if self._last is not None and self._last[0] in rowids:\n            self._last = None",
        "        return",
        "outbox",
    ),
    Mutation(
        "seqs of failed transactions leave gaps",
        _TOMBSTONES,
        "            self._spare += self._drawn\n",
        "            pass\n",
        "outbox",
    ),
    Mutation(
        "confirmed tombstones are counted",
        "outbox/transaction.py",
        "confirmed += row[1] != RecordKind.TOMBSTONE",
        "confirmed += 1",
    ),
    Mutation(
        "tombstoned records are not counted",
        _TRANSACTION,
        "tombstoned=dropped_early + tombstoned",
        "tombstoned=dropped_early",
        "outbox",
    ),
    Mutation(
        "a salvage copies bytes that changed",
        "outbox/salvage.py",
        "    return row if row.is_intact() else None",
        "    return row",
        "directed",
    ),
    Mutation(
        "what the store has no room for goes in silence",
        "pipeline/recorder.py",
        "            self.lose(Tombstone(0, 0, 1, readings, STORE_FULL, first_ns, last_ns))\n",
        "            pass\n",
        "pipeline",
    ),
    Mutation(
        "what the pipeline has no room for goes in silence",
        _PIPELINE,
        "Inbox(INBOX_LIMIT, self._refuse)",
        "Inbox(INBOX_LIMIT)",
        "pipeline",
    ),
)
