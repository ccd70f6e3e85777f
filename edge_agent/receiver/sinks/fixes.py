"""Applies time-fixes to readings and events that are stored, and to those that come later.

A fix sets the offset of a span of stamps. Of several fixes for a stamp the one that was issued last holds, so the
result does not depend on the order in which fixes and records arrive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from edge_agent.reading import TimeFix


MOST_FIXES: Final = 1024
"""Fixes of one boot that are applied, the latest ones; all are stored."""


class Span(NamedTuple):
    """Stamps from_ns..to_ns of a boot have this offset."""

    from_ns: int
    to_ns: int
    offset_ns: int


def fixes_of(db: sqlite3.Connection, node: int, boot: int) -> list[Span]:
    """The fixes of a boot in the order in which they were issued; a later one holds against an earlier one."""
    query = (
        "SELECT from_ns, to_ns, new_offset_ns FROM time_fix WHERE node = ? AND boot = ?"
        " ORDER BY issued_ns DESC, epoch DESC, seq DESC LIMIT ?"
    )
    latest = [Span(*row) for row in db.execute(query, (node, boot, MOST_FIXES))]
    return latest[::-1]


def offsets_of(fixes: Sequence[Span], times_ns: Sequence[int], offset_ns: int) -> list[int]:
    """The offset of each stamp: that of the last fix that covers it, or else the one it came with."""
    if not fixes:
        return [offset_ns] * len(times_ns)
    return [
        next((fix.offset_ns for fix in reversed(fixes) if fix.from_ns <= stamp <= fix.to_ns), offset_ns)
        for stamp in times_ns
    ]


def restate(db: sqlite3.Connection, node: int, fix: TimeFix) -> None:
    """Apply a fix, which is in the table already, to what is stored."""
    span = fix.to_ns, fix.from_ns
    touched = db.execute(
        "SELECT record.id, first_reading, last_reading FROM record JOIN epoch ON epoch.id = record.epoch"
        " WHERE node = ? AND record.boot = ? AND record.first_ns <= ? AND record.last_ns >= ?",
        (node, fix.boot, *span),
    ).fetchall()
    for later in fixes_of(db, node, fix.boot):
        # Those that were issued before are applied again, too: they cannot undo what holds against them.
        low, high = max(later.from_ns, fix.from_ns), min(later.to_ns, fix.to_ns)
        db.executemany(
            "UPDATE reading SET offset_ns = ? WHERE id BETWEEN ? AND ? AND boot_ns BETWEEN ? AND ?",
            [(later.offset_ns, first, last, low, high) for _, first, last in touched],
        )
        db.executemany(
            "UPDATE event SET offset_ns = ? WHERE record = ? AND boot_ns BETWEEN ? AND ?",
            [(later.offset_ns, record, low, high) for record, _, _ in touched],
        )
