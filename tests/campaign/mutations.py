"""Rules of safety, each broken by one small change, and what must notice it.

A mutation whose old text is not there any more is an error: the rule has moved, and so must the mutation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CHECKS: Final[dict[str, tuple[str, ...]]] = {
    "campaign": ("python", "tests/campaign/run.py", "--hours", "100", "--stop"),
    "nth": ("pytest", "-x", "-q", "-n", "0", "tests/campaign/test_nth_call.py"),
    "directed": ("pytest", "-x", "-q", "-n", "0", "tests/campaign/test_directed.py"),
    "outbox": ("pytest", "-x", "-q", "-n", "0", "tests/outbox"),
    "pipeline": ("pytest", "-x", "-q", "-n", "0", "tests/pipeline"),
    "agent": ("pytest", "-x", "-q", "-n", "0", "tests/agent"),
    "session": ("pytest", "-x", "-q", "-n", "0", "tests/uplink/test_session.py", "tests/uplink/test_session_poison.py"),
}


@dataclass(frozen=True, slots=True)
class Mutation:
    """One broken rule.

    Attributes:
        name: what is broken.
        file: below `edge_agent/`.
        old, new: text, which stands there once, and what replaces it.
        check: key of CHECKS: what must fail.
    """

    name: str
    file: str
    old: str
    new: str
    check: str = "campaign"


_SESSION: Final = "uplink/session.py"
_WORKER: Final = "uplink/worker.py"
_OUTBOX: Final = "outbox/outbox.py"
_SCHEMA: Final = "outbox/schema.py"
_SEGMENTS: Final = "outbox/segments.py"
_TRANSACTION: Final = "outbox/transaction.py"
_TOMBSTONES: Final = "outbox/tombstones.py"
_RECOVERY: Final = "outbox/recovery.py"
_STORE: Final = "outbox/worker.py"
_PIPELINE: Final = "pipeline/pipeline.py"

UPLINK: Final = (
    Mutation(
        "mids of an earlier connection are kept", _WORKER, "        self._mids.clear()\n", "        pass\n", "directed"
    ),
    Mutation(
        "events of an earlier connection are believed",
        _WORKER,
        "if link == self._links and self._link is not None:",
        "if link:",
        "directed",
    ),
    Mutation("every PUBACK confirms", _SESSION, "        if code == _SUCCESS:", "        if code >= 0:"),
    Mutation(
        "no subscriber counts as delivered",
        _SESSION,
        "        if code == _SUCCESS:",
        "        if code in {_SUCCESS, NO_MATCHING_SUBSCRIBERS}:",
    ),
    Mutation(
        "a record is confirmed when it is sent",
        _SESSION,
        "        self._actions.append(Send(lane, record))\n",
        "        self._actions += [Send(lane, record), Confirm(record)]\n",
    ),
    Mutation(
        "a record that the broker never takes is confirmed",
        _SESSION,
        '            self._refuse(record, f"refused by the broker: {_HOPELESS[code]} ({code:#04x})")',
        "            self._succeed(record, way)",
    ),
    Mutation(
        "gateways come back in step",
        _SESSION,
        "self._rng.uniform(0.05, 1.0) * cap_s",
        "cap_s",
        "directed",
    ),
    Mutation(
        "nothing is sent again on a new connection",
        _SESSION,
        "        self._actions.append(Rewind())\n",
        "",
    ),
    Mutation(
        "records in flight stay in flight over a break",
        _SESSION,
        "        self._in_flight.clear()\n",
        "",
    ),
    Mutation(
        "an acknowledgement is awaited for ever",
        _SESSION,
        "if any(now_ns >= due_ns for _record, due_ns, _way in self._in_flight.values()):",
        "if False:",
    ),
    Mutation(
        "after a refusal nothing is tried again",
        _SESSION,
        "        if self._retry_ns is not None and now_ns >= self._retry_ns:",
        "        if self._retry_ns is not None and self.state is LinkState.OFFLINE and now_ns >= self._retry_ns:",
    ),
    Mutation(
        "a commit wakes nobody",
        _SESSION,
        "        self._drained = False\n        self._request()",
        "        self._request()",
    ),
)

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

TIME: Final = (
    Mutation(
        "stored records keep a wrong wall time",
        "agent/agent.py",
        "        self.store.inbox.put_always(SetAnchor(anchor))\n",
        "",
    ),
    Mutation(
        "a worse anchor replaces a better one",
        "outbox/boots.py",
        "if anchor.quality < known.quality or anchor == known:",
        "if anchor == known:",
    ),
    Mutation(
        "steps of an hour are not noticed",
        "runtime.py",
        "    step_ns = 50_000_000\n",
        "    step_ns = 4_000_000_000_000\n",
    ),
    Mutation(
        "rows are secured ten times later",
        _PIPELINE,
        "first_ns + self._settings.durability_ns",
        "first_ns + 10 * self._settings.durability_ns",
    ),
    Mutation(
        "the open batch is lost at a stop",
        _PIPELINE,
        "        self.step()\n        self.seal()\n        if self._window is not None:",
        "        self.step()\n        if self._window is not None:",
    ),
    Mutation(
        "rows count as secured that the store refused",
        _PIPELINE,
        "        if self._recorder.secure([sensor.unsecured() for sensor in unsecured]):\n            for",
        "        if self._recorder.secure([sensor.unsecured() for sensor in unsecured]) or True:\n            for",
        "pipeline",
    ),
    Mutation(
        "a measurement is delivered twice",
        "sampling/worker.py",
        "            self._deliver(sensor.make_measurement(measured_ns, values))\n",
        "            measured = sensor.make_measurement(measured_ns, values)\n"
        "            self._deliver(measured)\n"
        "            self._deliver(measured)\n",
    ),
)

MUTATIONS: Final = UPLINK + STORE + LOSSES + TIME
