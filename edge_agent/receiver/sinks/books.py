"""Nodes, epochs, channels and ledgers in the database, within one transaction.

Ledgers are read in the transaction that writes them, so two programs may use one database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.receiver.digest import Digest
from edge_agent.receiver.ledger import Ledger, LedgerRefusal, Part
from edge_agent.receiver.ranges import Ranges

if TYPE_CHECKING:
    import sqlite3

MOST_NODES: Final = 10_000
MOST_EPOCHS: Final = 65_536
"""Most epochs of a node."""
MOST_CHANNELS: Final = 65_536
"""Most channels of a node."""


@dataclass(slots=True)
class Account:
    """One epoch while a transaction changes it.

    Attributes:
        id: its row.
        ledger: what is stored and what was dropped.
        digest: of the stored readings.
        records, duplicates: messages stored, and repetitions that came.
        boot: of the epoch, if that has been learned now; else 0.
        progressed: whether something was stored or dropped.
        found: mark and duplicates when it was read, to see whether they were changed.
    """

    id: int
    ledger: Ledger
    digest: Digest
    records: int
    duplicates: int
    boot: int = 0
    progressed: bool = False
    found: tuple[int, int] = (0, 0)

    def is_changed(self) -> bool:
        """Whether it has to be written."""
        return self.progressed or self.found != (self.ledger.mark, self.duplicates)


class Books:
    """The ledger of one transaction.

    Args:
        db: the database, in a transaction.
        now_ns: wall time of the receiver, nanoseconds since 1970.
    """

    def __init__(self, db: sqlite3.Connection, now_ns: int) -> None:
        self._db = db
        self._now_ns = now_ns
        self._nodes: dict[str, int] = {}
        self._prefixes: dict[int, str] = {}
        self._accounts: dict[tuple[int, int], Account] = {}
        self._channels: dict[tuple[int, str, str], int] = {}

    def node(self, name: str, prefix: str) -> int:
        """Find or enter a node; the prefix is the one that its last message came by.

        Raises:
            LedgerRefusal: there are too many nodes.
        """
        if name not in self._nodes:
            found = self._db.execute("SELECT id, prefix FROM node WHERE name = ?", (name,)).fetchone()
            if found is None:
                (count,) = self._db.execute("SELECT count(*) FROM node").fetchone()
                if count >= MOST_NODES:
                    raise LedgerRefusal(f"more than {MOST_NODES} nodes")
                cursor = self._db.execute("INSERT INTO node (name, prefix) VALUES (?, ?)", (name, prefix))
                found = cursor.lastrowid, prefix
            self._nodes[name], self._prefixes[found[0]] = found
        node = self._nodes[name]
        if self._prefixes[node] != prefix:
            self._db.execute("UPDATE node SET prefix = ? WHERE id = ?", (prefix, node))
            self._prefixes[node] = prefix
        return node

    def account(self, node: int, epoch: int, boot: int) -> Account:
        """Find or open the account of an epoch.

        Raises:
            LedgerRefusal: the node has too many epochs.
        """
        found = self._accounts.get((node, epoch))
        if found is None:
            found = self._load(node, epoch) or self._open(node, epoch, boot)
            self._accounts[node, epoch] = found
        found.boot = found.boot or boot
        return found

    def channel(self, node: int, sensor: str, quantity: str) -> int:
        """Find or enter a channel.

        Raises:
            LedgerRefusal: the node has too many channels.
        """
        key = node, sensor, quantity
        if key not in self._channels:
            query = "SELECT id FROM channel WHERE node = ? AND sensor = ? AND quantity = ?"
            found = self._db.execute(query, key).fetchone()
            if found is None:
                (count,) = self._db.execute("SELECT count(*) FROM channel WHERE node = ?", (node,)).fetchone()
                if count >= MOST_CHANNELS:
                    raise LedgerRefusal(f"more than {MOST_CHANNELS} channels of one node")
                added = self._db.execute("INSERT INTO channel (node, sensor, quantity) VALUES (?, ?, ?)", key)
                found = (added.lastrowid,)
            self._channels[key] = found[0]
        return self._channels[key]

    def save(self) -> None:
        """Write the accounts that were changed."""
        for account in self._accounts.values():
            if not account.is_changed():
                continue
            ledger, digest = account.ledger, account.digest
            self._db.execute(
                "UPDATE epoch SET have = ?, gone = ?, highest = ?, mark = ?, complete = ?, records = ?,"
                " duplicates = ?, rows = ?, readings = ?, crc_sum = ?,"
                " boot = CASE boot WHEN 0 THEN ? ELSE boot END,"
                " progress_ns = CASE WHEN ? THEN ? ELSE progress_ns END WHERE id = ?",
                (
                    *(ledger.have.to_text(), ledger.gone.to_text(), ledger.highest, ledger.mark),
                    *(not ledger.missing(), account.records, account.duplicates),
                    *(digest.rows, digest.readings, digest.crc_sum),
                    *(account.boot, account.progressed, self._now_ns, account.id),
                ),
            )
            if account.progressed:
                self._save_parts(account)

    def _save_parts(self, account: Account) -> None:
        stored = {seq for (seq,) in self._db.execute("SELECT seq FROM part WHERE epoch = ?", (account.id,))}
        parts = account.ledger.parts
        self._db.executemany(
            "DELETE FROM part WHERE epoch = ? AND seq = ?", [(account.id, seq) for seq in stored - parts.keys()]
        )
        self._db.executemany(
            "INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?, ?)",
            [(account.id, seq, part.total, _packed(part.have), _packed(part.gone)) for seq, part in parts.items()],
        )

    def _load(self, node: int, epoch: int) -> Account | None:
        where, values = "WHERE node = ? AND epoch = ?", (node, epoch)
        return next((account for _, account in load_accounts(self._db, where, values)), None)

    def _open(self, node: int, epoch: int, boot: int) -> Account:
        (count,) = self._db.execute("SELECT count(*) FROM epoch WHERE node = ?", (node,)).fetchone()
        if count >= MOST_EPOCHS:
            raise LedgerRefusal(f"more than {MOST_EPOCHS} epochs of one node")
        added = self._db.execute(
            "INSERT INTO epoch (node, epoch, boot, first_ns, progress_ns) VALUES (?, ?, ?, ?, ?)",
            (node, epoch, boot, self._now_ns, self._now_ns),
        )
        return Account(int(added.lastrowid or 0), Ledger(), Digest(), 0, 0)


def load_accounts(db: sqlite3.Connection, where: str, values: tuple[object, ...]) -> list[tuple[int, Account]]:
    """Read accounts with their epochs, oldest first.

    Args:
        db: the database.
        where: condition and values, of our own making.
        values: for the condition.
    """
    columns = "id, epoch, have, gone, highest, mark, records, duplicates, rows, readings, crc_sum"
    query = f"SELECT {columns} FROM epoch {where} ORDER BY id"  # noqa: S608 see above
    parts: dict[int, dict[int, Part]] = {}
    of_these = f"SELECT epoch, seq, total, have, gone FROM part WHERE epoch IN (SELECT id FROM epoch {where})"  # noqa: S608
    for number, seq, total, have, gone in db.execute(of_these, values):
        part = Part(total, int.from_bytes(have, "little"), int.from_bytes(gone, "little"))
        parts.setdefault(number, {})[seq] = part
    found: list[tuple[int, Account]] = []
    for number, epoch, have, gone, highest, mark, records, duplicates, *digest in db.execute(query, values).fetchall():
        ledger = Ledger(Ranges.from_text(have), Ranges.from_text(gone), parts.get(number, {}), highest, mark)
        account = Account(number, ledger, Digest(*digest), records, duplicates, found=(mark, duplicates))
        found.append((epoch, account))
    return found


def _packed(mask: int) -> bytes:
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")
