"""Which boots the stored stamps belong to, and where wall time stood in each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.clock import Anchor, ClockQuality

if TYPE_CHECKING:
    import sqlite3

_UNKNOWN: Final = Anchor(0, ClockQuality.NONE, 0)
"""Of a boot whose row was lost."""


class Boots:
    """Every boot that this outbox has met, numbered in the order in which it met them.

    Args:
        db: to read from and to note a new boot in.
        boot_id: name of the current boot.
        anchor: where wall time stands in it.

    Attributes:
        current: number of the current boot.
    """

    def __init__(self, db: sqlite3.Connection, boot_id: str, anchor: Anchor) -> None:
        self._known: dict[int, tuple[str, Anchor]] = {
            boot: (name, Anchor(offset_ns, _quality(quality), max_error_ns))
            for boot, name, offset_ns, quality, max_error_ns in db.execute("SELECT * FROM boot").fetchall()
        }
        names = {name: boot for boot, (name, _anchor) in self._known.items()}
        # A boot whose row was lost may still be named by records.
        (highest,) = db.execute("SELECT coalesce(max(boot), 0) FROM record").fetchone()
        self.current = names.get(boot_id) or max(highest, *self._known, 0) + 1
        self._known.setdefault(self.current, (boot_id, anchor))
        self.set_anchor(anchor)
        self.write(db)

    def anchor(self, boot: int) -> Anchor:
        """The best anchor known of a boot."""
        return self._known[boot][1] if boot in self._known else _UNKNOWN

    def set_anchor(self, anchor: Anchor) -> bool:
        """Note where wall time stands in this boot, unless what is known is better. Returns whether it was news."""
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
        """Store every boot: the database is another one."""
        for boot, (name, anchor) in self._known.items():
            row = (boot, name, anchor.offset_ns, int(anchor.quality), anchor.max_error_ns)
            db.execute("INSERT OR REPLACE INTO boot VALUES (?, ?, ?, ?, ?)", row)


def _quality(number: int) -> ClockQuality:
    return ClockQuality(number) if number in set(ClockQuality) else ClockQuality.NONE
