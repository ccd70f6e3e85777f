"""Boots that stored stamps belong to, each with its best anchor of wall time."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final
from uuid import UUID

from edge_agent.clock import Anchor, AnchorSince, ClockQuality

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

IDENTITY_BITS: Final = 53
MOST_ANCHORS: Final = 128
"""Anchors of one boot that are kept."""
_NOISE_NS: Final = 50_000_000
"""Difference of two anchors up to which a start keeps what it finds: what it finds may be several anchors."""
_UNKNOWN: Final = Anchor(0, ClockQuality.NONE, 0)
"""Anchor of a boot whose row was lost."""


class Boots:
    """All boots known to this outbox, each with the number that stands for it in records.

    A boot has one anchor after the other: each holds for the stamps from its `since_ns` on.

    Args:
        boot_id: name of the current boot.
        anchor: offset of wall time in the current boot.

    Attributes:
        current: number of the current boot.
    """

    def __init__(self, boot_id: str, anchor: Anchor) -> None:
        self.current = number_of(boot_id)
        self._names: dict[int, str] = {self.current: boot_id}
        self._anchors: dict[int, list[AnchorSince]] = {self.current: [AnchorSince(0, anchor)]}

    def load(self, db: sqlite3.Connection) -> None:
        """Read the boots of earlier runs, and store the current one."""
        boot_id, mine = self._names[self.current], self._anchors[self.current]
        self.learn(db.execute("SELECT * FROM boot").fetchall(), db.execute("SELECT * FROM anchor").fetchall())
        names = {name: boot for boot, name in self._names.items() if boot != self.current}
        # Releases before 0.2 counted boots; a boot that is still running keeps its count.
        if boot_id in names:
            del self._names[self.current], self._anchors[self.current]
            self.current = names[boot_id]
        last = self._anchors[self.current][-1].anchor
        if abs(mine[-1].anchor.offset_ns - last.offset_ns) > _NOISE_NS or mine[-1].anchor.quality > last.quality:
            self.set_anchor(*mine)
        self.write(db)

    def learn(
        self, boots: Iterable[tuple[int, str, int, int, int]], anchors: Iterable[tuple[int, int, int, int, int, int]]
    ) -> None:
        """Take over rows of the tables; of the current boot, those of better quality than what is known."""
        found: dict[int, list[AnchorSince]] = {}
        for _rowid, boot, since_ns, offset_ns, quality, max_error_ns in anchors:
            anchor = Anchor(offset_ns, _quality(quality), max_error_ns)
            found.setdefault(boot, []).append(AnchorSince(since_ns, anchor))
        for boot, name, offset_ns, quality, max_error_ns in boots:
            anchor = Anchor(offset_ns, _quality(quality), max_error_ns)
            pieces = sorted(found.get(boot, [AnchorSince(0, anchor)]), key=lambda piece: piece.since_ns)
            known = self._anchors.get(boot)
            if known is None or known[-1].anchor.quality <= pieces[-1].anchor.quality:
                self._names[boot], self._anchors[boot] = name, pieces

    def anchor(self, boot: int, at_ns: int) -> Anchor:
        """Best known anchor of a boot for a stamp, nanoseconds since boot."""
        pieces = self._anchors.get(boot, [])
        best = _UNKNOWN if not pieces else pieces[0].anchor
        for piece in pieces:
            if piece.since_ns <= at_ns:
                best = piece.anchor
        return best

    def set_anchor(self, *anchors: AnchorSince) -> bool:
        """Restate the current boot from the first of these on, unless a better anchor than the last of them is known.

        Args:
            anchors: ascending.

        Returns:
            Whether something changed.
        """
        pieces, new = self._anchors[self.current], anchors[-1].anchor
        last = pieces[-1].anchor
        if new.quality < last.quality or (new.quality == last.quality and new.offset_ns == last.offset_ns):
            return False
        kept = [piece for piece in pieces if piece.since_ns < anchors[0].since_ns]
        self._anchors[self.current] = [*kept, *anchors][-MOST_ANCHORS:]
        return True

    def write(self, db: sqlite3.Connection) -> None:
        """Store the current boot."""
        self._write(db, self.current)

    def write_all(self, db: sqlite3.Connection) -> None:
        """Store all boots, into a database that was opened again."""
        for boot in self._names:
            self._write(db, boot)

    def _write(self, db: sqlite3.Connection, boot: int) -> None:
        pieces = self._anchors[boot]
        last = pieces[-1].anchor
        row = (boot, self._names[boot], last.offset_ns, int(last.quality), last.max_error_ns)
        db.execute("INSERT OR REPLACE INTO boot VALUES (?, ?, ?, ?, ?)", row)
        db.execute("DELETE FROM anchor WHERE boot = ?", (boot,))
        for piece in pieces if len(pieces) > 1 or pieces[0].since_ns else ():
            anchor = piece.anchor
            numbers = (boot, piece.since_ns, anchor.offset_ns, int(anchor.quality), anchor.max_error_ns)
            db.execute("INSERT INTO anchor VALUES (NULL, ?, ?, ?, ?, ?)", numbers)


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
