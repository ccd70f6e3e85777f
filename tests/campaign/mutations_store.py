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
    ),
    Mutation(
        "the next batch overwrites no segments",
        _OUTBOX,
        "        if intake.sealed:\n            self._segments.start_batch()\n",
        "",
    ),
    Mutation(
        "records of segments share their seqs with new ones",
        _OUTBOX,
        "self._seq, damaged = promote_segments(",
        "_seq, damaged = promote_segments(",
    ),
    Mutation(
        "rowids begin anew",
        _OUTBOX,
        "            self._rowid = int(self._db",
        "            self._last_committed = int(self._db",
    ),
    Mutation(
        "the oldest records are never sent again",
        _OUTBOX,
        "        self._backlog_after = 0\n        self._live_after",
        "        self._live_after",
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
        _OUTBOX,
        "        live, live_after = self._select(self._live_after, 1 << 62, ordinary, self._urgent)\n",
        "        live, self._live_after = self._select(self._live_after, 1 << 62, ordinary, self._urgent)\n"
        "        live_after = self._live_after\n",
        "outbox",
    ),
    Mutation(
        "damaged bytes are sent",
        _OUTBOX,
        "or not isinstance(body, bytes) or crc32(body) != crc:",
        "or not isinstance(body, bytes):",
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

LOSSES: Final = (
    Mutation(
        "a full outbox drops in silence",
        _TOMBSTONES,
        "        if not was_tombstone or reason == DAMAGED:",
        "        if reason == DAMAGED:",
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
        _TRANSACTION,
        "confirmed += row[0] != RecordKind.TOMBSTONE",
        "confirmed += 1",
    ),
    Mutation(
        "tombstoned records are not counted",
        _TRANSACTION,
        "tombstoned=dropped_early + tombstoned",
        "tombstoned=dropped_early",
    ),
    Mutation(
        "a salvage copies bytes that changed",
        _RECOVERY,
        "                if crc is not None and not (isinstance(row[-1], bytes) and crc32(row[-1]) == row[crc]):\n"
        "                    continue\n",
        "",
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
