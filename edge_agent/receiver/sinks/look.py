"""Reads what is said to gateways and to people from the database. Changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.receiver.acks import Answer
from edge_agent.receiver.asks import Missing
from edge_agent.receiver.completeness import Dropped, EpochState, NodeState, state_of
from edge_agent.receiver.sinks.books import Books, load_accounts
from edge_agent.receiver.sinks.heard import ACCEPTED, close

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

_LATEST: Final = 16
"""Epochs of a prefix that are always acknowledged: a node that lists none may hold records of them."""


@dataclass(frozen=True, slots=True)
class Gaps:
    """What is missing below a prefix.

    Attributes:
        missing: per epoch, oldest first.
        is_reachable: whether a node there may be listening.
    """

    missing: tuple[Missing, ...]
    is_reachable: bool


def prefixes(db: sqlite3.Connection) -> list[str]:
    """Prefixes of all nodes."""
    return [prefix for (prefix,) in db.execute("SELECT DISTINCT prefix FROM node ORDER BY prefix")]


def answers(db: sqlite3.Connection, prefix: str, touched: Collection[int]) -> list[Answer]:
    """What is durable of the epochs that a prefix has to be told of, oldest first.

    Args:
        db: the database.
        prefix: topic without its last level.
        touched: rows of epochs for which something has come.
    """
    nodes = "SELECT id FROM node WHERE prefix = ?"
    marks = ",".join(map(str, map(int, touched)))
    present = {row for (row,) in db.execute("SELECT epoch FROM node WHERE prefix = ?", (prefix,))}
    latest = f"SELECT id FROM epoch WHERE node IN ({nodes}) ORDER BY id DESC LIMIT {_LATEST}"  # noqa: S608 our own
    where = f"WHERE node IN ({nodes}) AND (listed = 1 OR complete = 0 OR id IN ({marks}) OR id IN ({latest}))"
    return [
        Answer(
            epoch,
            account.ledger.upto(),
            tuple(account.ledger.ranges_beyond()),
            epoch in present or account.id in touched,
        )
        for epoch, account in load_accounts(db, where, (prefix, prefix))
    ]


def gaps(db: sqlite3.Connection, prefix: str) -> Gaps:
    """What is missing below a prefix."""
    nodes = "node IN (SELECT id FROM node WHERE prefix = ?)"
    where = f"WHERE complete = 0 AND {nodes}"
    missing = [
        Missing(epoch, tuple(account.ledger.missing())) for epoch, account in load_accounts(db, where, (prefix,))
    ]
    states = {state for (state,) in db.execute("SELECT state FROM node WHERE prefix = ?", (prefix,))}
    return Gaps(tuple(missing), bool(states - {"offline", "stopped"}))


def nodes(db: sqlite3.Connection) -> list[NodeState]:
    """Everything that is known of every node, by name."""
    found: list[NodeState] = []
    query = "SELECT id, name, prefix, state, epoch, lists, alarm FROM node ORDER BY name"
    for node, name, prefix, state, present, lists, alarm in db.execute(query).fetchall():
        refused = db.execute("SELECT reason, messages FROM refused WHERE node = ? ORDER BY reason", (node,)).fetchall()
        found.append(NodeState(name, prefix, state, alarm, tuple(refused), _epochs(db, node, present, bool(lists))))
    return found


def refused_of_nobody(db: sqlite3.Connection) -> list[tuple[str, int]]:
    """Reasons and numbers of messages that were refused and belong to no known node."""
    return db.execute("SELECT reason, messages FROM refused WHERE node = 0 ORDER BY reason").fetchall()


def _epochs(db: sqlite3.Connection, node: int, present: int | None, lists: bool) -> tuple[EpochState, ...]:
    found: list[EpochState] = []
    for epoch, account in load_accounts(db, "WHERE node = ?", (node,)):
        boot, listed = db.execute("SELECT boot, listed FROM epoch WHERE id = ?", (account.id,)).fetchone()
        is_held = None if not lists and epoch != present else bool(listed) or epoch == present
        ledger = account.ledger
        waiting = {seq: part for seq, part in ledger.parts.items() if not part.is_complete() and seq not in ledger.gone}
        missing = ledger.missing()
        found.append(
            EpochState(
                epoch=epoch,
                boot=boot,
                state=state_of(missing=bool(missing), is_present=epoch == present, is_held=is_held),
                upto=ledger.upto(),
                highest=ledger.highest,
                mark=ledger.mark,
                records=account.records,
                duplicates=account.duplicates,
                missing=tuple(missing),
                missing_rows=tuple((seq, tuple(part.missing())) for seq, part in sorted(waiting.items())),
                never_came=ledger.dropped().size(),
                dropped=_dropped(db, account.id),
                digest=account.digest,
            )
        )
    return tuple(found)


def _dropped(db: sqlite3.Connection, epoch: int) -> tuple[Dropped, ...]:
    """Sums of what tombstones say, by reason."""
    query = (
        "SELECT reason, count(*), sum(records), sum(readings), max(last_seq IS NULL) FROM tombstone"
        " WHERE epoch = ? GROUP BY reason ORDER BY reason"
    )
    found = db.execute(query, (epoch,)).fetchall()
    return tuple(
        Dropped(reason, tombstones, records, readings, bool(open_ended))
        for reason, tombstones, records, readings, open_ended in found
    )


def accept_lost(db: sqlite3.Connection, now_ns: int) -> list[tuple[str, int, int]]:
    """Close what is missing and cannot be had: of epochs that have ended and that their node does not hold any more.

    Args:
        db: the database, not in a transaction.
        now_ns: wall time, nanoseconds since 1970.

    Returns:
        Node, epoch and number of records.
    """
    closed: list[tuple[str, int, int]] = []
    db.execute("BEGIN IMMEDIATE")
    books = Books(db, now_ns)
    query = (
        "SELECT node.id, node.name, epoch.epoch, epoch.id FROM epoch JOIN node ON node.id = epoch.node"
        " WHERE complete = 0 AND node.epoch IS NOT epoch.epoch AND (CASE WHEN lists THEN listed IS NOT 1"
        " ELSE node.epoch IS NOT NULL OR epoch.id < (SELECT max(id) FROM epoch AS e WHERE e.node = node.id) END)"
    )
    for node, name, epoch, _number in db.execute(query).fetchall():
        closed.append((name, epoch, close(db, books.account(node, epoch, 0), ACCEPTED)))
    books.save()
    db.execute("COMMIT")
    return closed
