"""Enters what nodes say of themselves: which epochs they hold, which one is in memory only, who is alive."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

    from edge_agent.receiver.sinks.books import Account, Books
    from edge_agent.receiver.status import Status

log = logging.getLogger(__name__)

ONLINE: Final = "online"
LOST_VOLATILE: Final = "lost, volatile"
ACCEPTED: Final = "accepted as lost"
CLONED: Final = "two gateways are alive under this node id alternately: look for a copied memory card"


def hear(db: sqlite3.Connection, books: Books, prefix: str, status: Status, *, retained: bool) -> None:
    """Enter a status.

    Args:
        db: the database, in a transaction.
        books: nodes and ledgers of the transaction.
        prefix: topic without its last level.
        status: what the node says.
        retained: whether the broker had kept it; then it may be old, and says nothing of who is alive.

    Raises:
        LedgerRefusal: there are too many nodes or epochs.
    """
    node = books.node(status.node, prefix)
    (present,) = db.execute("SELECT epoch FROM node WHERE id = ?", (node,)).fetchone()
    if status.epoch is None:
        return
    if status.state != ONLINE:
        if present in {None, status.epoch}:  # the will of an earlier run comes late
            db.execute("UPDATE node SET state = ? WHERE id = ?", (status.state, node))
        return
    for each in status.epochs or ():  # in the order of the list, so that rows are in the order of age
        books.account(node, each.epoch, each.boot)
    boot = next((each.boot for each in status.epochs or () if each.epoch == status.epoch), 0)
    account = books.account(node, status.epoch, boot)
    if present != status.epoch:
        (before,) = db.execute("SELECT was_present FROM epoch WHERE id = ?", (account.id,)).fetchone()
        if before and retained:
            return
        if before:
            log.error("%s node=%s epochs=%d,%d", CLONED, status.node, present, status.epoch)
            db.execute("UPDATE node SET alarm = ? WHERE id = ?", (CLONED, node))
        elif present is not None:
            _end_volatile(db, books.account(node, present, 0))
    db.execute("UPDATE node SET state = ?, epoch = ? WHERE id = ?", (ONLINE, status.epoch, node))
    db.execute("UPDATE epoch SET was_present = 1, volatile_upto = ? WHERE id = ?", (status.volatile_upto, account.id))
    account.ledger.mark = max(account.ledger.mark, status.volatile_upto or 0)
    if status.epochs is not None:
        _list(db, books, node, status)


def _list(db: sqlite3.Connection, books: Books, node: int, status: Status) -> None:
    """Enter which epochs the node holds records of. Others are known to be held no longer."""
    listed = {status.epoch: 0}
    for each in status.epochs or ():
        account = books.account(node, each.epoch, each.boot)
        account.ledger.mark = max(account.ledger.mark, each.upto)
        listed[each.epoch] = each.boot
    db.execute("UPDATE node SET lists = 1 WHERE id = ?", (node,))
    db.execute("UPDATE epoch SET listed = 0 WHERE node = ? AND listed IS NOT 0", (node,))
    db.executemany(
        "UPDATE epoch SET listed = 1, boot = CASE boot WHEN 0 THEN ? ELSE boot END WHERE node = ? AND epoch = ?",
        [(boot, node, epoch) for epoch, boot in listed.items()],
    )


def _end_volatile(db: sqlite3.Connection, account: Account) -> None:
    """What has not come of an epoch that was in memory only cannot come any more, but for what is on its way."""
    (upto,) = db.execute("SELECT volatile_upto FROM epoch WHERE id = ?", (account.id,)).fetchone()
    if upto is not None:
        close(db, account, LOST_VOLATILE)


def close(db: sqlite3.Connection, account: Account, reason: str) -> int:
    """Enter everything that is missing of an epoch as gone. What arrives all the same is stored.

    Returns:
        The number of records.
    """
    missing = account.ledger.missing()
    for first, last in missing:
        account.ledger.gone.add(first, last)
        db.execute(
            "INSERT INTO tombstone VALUES (NULL, NULL, ?, ?, ?, NULL, ?, 0, ?, 0, 0)",
            (account.id, first, last, last - first + 1, reason),
        )
    account.progressed = account.progressed or bool(missing)
    return sum(last - first + 1 for first, last in missing)
