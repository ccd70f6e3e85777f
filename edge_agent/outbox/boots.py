"""Boots that stored stamps belong to, each with its best anchor of wall time."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final
from uuid import UUID

from edge_agent.clock import Anchor, ClockQuality

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

IDENTITY_BITS: Final = 53
_UNKNOWN: Final = Anchor(0, ClockQuality.NONE, 0)
"""Anchor of a boot whose row was lost."""


class Boots:
    """All boots known to this outbox, each with the number that stands for it in records.

    Args:
        boot_id: name of the current boot.
        anchor: offset of wall time in the current boot.

    Attributes:
        current: number of the current boot.
    """

    def __init__(self, boot_id: str, anchor: Anchor) -> None:
        self.current = number_of(boot_id)
        self._known: dict[int, tuple[str, Anchor]] = {self.current: (boot_id, anchor)}

    def load(self, db: sqlite3.Connection) -> None:
        """Read the boots of earlier runs, and store the current one."""
        boot_id, anchor = self._known[self.current]
        self.learn(db.execute("SELECT * FROM boot").fetchall())
        names = {name: boot for boot, (name, _anchor) in self._known.items() if boot != self.current}
        # Releases before 0.2 counted boots; a boot that is still running keeps its count.
        if boot_id in names:
            del self._known[self.current]
            self.current = names[boot_id]
        self.set_anchor(anchor)
        self.write(db)

    def learn(self, rows: Iterable[tuple[int, str, int, int, int]]) -> None:
        """Take over rows of the table of boots; of the current boot, the better anchor."""
        for boot, name, offset_ns, quality, max_error_ns in rows:
            anchor = Anchor(offset_ns, _quality(quality), max_error_ns)
            known = self._known.get(boot)
            if known is None or known[1].quality < anchor.quality:
                self._known[boot] = name, anchor

    def anchor(self, boot: int) -> Anchor:
        """Best known anchor of a boot."""
        return self._known[boot][1] if boot in self._known else _UNKNOWN

    def set_anchor(self, anchor: Anchor) -> bool:
        """Set the anchor of the current boot, unless a better one is known. Returns whether it changed."""
        name, known = self._known[self.current]
        if anchor.quality < known.quality or anchor == known:
            return False
        self._known[self.current] = name, anchor
        return True

    def write(self, db: sqlite3.Connection) -> None:
        """Store the current boot."""
        name, anchor = self._known[self.current]
        row = (self.current, name, anchor.offset_ns, int(anchor.quality), anchor.max_error_ns)
        db.execute("INSERT OR REPLACE INTO boot VALUES (?, ?, ?, ?, ?)", row)

    def write_all(self, db: sqlite3.Connection) -> None:
        """Store all boots, into a database that was opened again."""
        for boot, (name, anchor) in self._known.items():
            row = (boot, name, anchor.offset_ns, int(anchor.quality), anchor.max_error_ns)
            db.execute("INSERT OR REPLACE INTO boot VALUES (?, ?, ?, ?, ?)", row)


def number_of(boot_id: str) -> int:
    """The first 53 bits of the kernel's boot id (a UUID); of any other name, those of its SHA-256.

    A count would begin again after a reset, and two boots would have the same number. Every JSON reader holds 53 bits
    exactly.
    """
    try:
        bits = UUID(boot_id).int
    except ValueError:
        bits = int.from_bytes(sha256(boot_id.encode()).digest()[:16], "big")
    return bits >> 128 - IDENTITY_BITS


def _quality(number: int) -> ClockQuality:
    return ClockQuality(number) if number in set(ClockQuality) else ClockQuality.NONE
