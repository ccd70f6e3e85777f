"""Boots that stored stamps belong to, each with its best anchor of wall time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.clock import Anchor, ClockQuality

if TYPE_CHECKING:
    import sqlite3

_UNKNOWN: Final = Anchor(0, ClockQuality.NONE, 0)
"""Anchor of a boot whose row was lost."""


class Boots:
    """All boots known to this outbox, numbered in their order.

    Args:
        db: database to read from; a new boot is written to it.
        boot_id: name of the current boot.
        anchor: offset of wall time in the current boot.

    Attributes:
        current: number of the current boot.
    """

    def __init__(self, db: sqlite3.Connection, boot_id: str, anchor: Anchor) -> None:
        self._known: dict[int, tuple[str, Anchor]] = {
            boot: (name, Anchor(offset_ns, _quality(quality), max_error_ns))
            for boot, name, offset_ns, quality, max_error_ns in db.execute("SELECT * FROM boot").fetchall()
        }
        names = {name: boot for boot, (name, _anchor) in self._known.items()}
        # Records may refer to a boot whose row was lost.
        (highest,) = db.execute("SELECT coalesce(max(boot), 0) FROM record").fetchone()
        self.current = names.get(boot_id) or max(highest, *self._known, 0) + 1
        self._known.setdefault(self.current, (boot_id, anchor))
        self.set_anchor(anchor)
        self.write(db)

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


def _quality(number: int) -> ClockQuality:
    return ClockQuality(number) if number in set(ClockQuality) else ClockQuality.NONE
