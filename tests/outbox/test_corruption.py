"""Files damaged at random: the outbox always starts, sends nothing that is wrong, and is silent about nothing."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from edge_agent.clock import NS_PER_S, SystemClock
from edge_agent.outbox.outbox import Content
from edge_agent.outbox.recovery import DATABASE
from edge_agent.outbox.schema import StoreSettings
from edge_agent.outbox.segments import FILE
from edge_agent.reading import RecordKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.outbox.outbox import Outbox
    from edge_agent.reading import Record

MUTATIONS = int(os.environ.get("CORRUPTION_MUTATIONS", "300"))
"""The slow lane tries more."""
CHUNKS = 10
START_NS = 5 * NS_PER_S
OPEN_END = 1 << 62


@dataclass
class Before:
    """An outbox as a power cut left it.

    Attributes:
        directory: its files.
        bodies: body of each record that waits, by epoch and seq.
        confirmed: those that were delivered.
    """

    directory: Path
    bodies: dict[tuple[int, int], bytes]
    confirmed: set[tuple[int, int]]


@pytest.fixture
def before(open_outbox: Callable[..., Outbox], tmp_path: Path) -> Before:
    """Two runs: the first left a backlog, the second was interrupted with a journal and rows of an open batch."""
    rng = random.Random(1)
    bodies: dict[tuple[int, int], bytes] = {}
    confirmed: set[tuple[int, int]] = set()
    settings = StoreSettings(1 << 24, durable=False)
    for run in (1, 2):
        outbox = open_outbox(boot_id=f"boot-{run}", settings=settings)
        for name in range(170):
            kind = RecordKind.EVENT if name % 9 == 0 else RecordKind.BATCH
            content = Content(kind, 10, name, name + 1, rng.randbytes(rng.choice([90, 700, 700, 1500, 4000])))
            bodies[outbox.epoch, outbox.add(content)] = content.body
            if name % 3 == 0:
                outbox.commit()
        for _lane, record in outbox.hand_out(40):
            outbox.confirm(record)
            confirmed.add((record.epoch, record.seq))
            del bodies[record.epoch, record.seq]
        outbox.commit()
        if run == 1:
            outbox.close()
    rows = Content(RecordKind.BATCH, 7, 0, 1, b"rows of the open batch")
    outbox.add_segment(rows)
    bodies[outbox.epoch, outbox.last_seq] = rows.body
    outbox.commit()
    directory = tmp_path / "before"
    shutil.copytree(tmp_path / "state", directory)
    return Before(directory, bodies, confirmed)


def mutate(path: Path, rng: random.Random) -> str:
    """Damage a file; returns how."""
    content = bytearray(path.read_bytes())
    at = rng.randrange(len(content))
    how = rng.choice(["flip", "flip", "many", "zero", "noise", "truncate", "swap", "double", "header"])
    size = rng.choice([16, 512, 1024, 4096, 20_000])
    if how == "flip":
        content[at] ^= 1 << rng.randrange(8)
    elif how == "many":
        for _ in range(rng.randrange(2, 60)):
            content[rng.randrange(len(content))] = rng.randrange(256)
    elif how == "zero":
        content[at : at + size] = bytes(len(content[at : at + size]))
    elif how == "noise":
        content[at : at + size] = rng.randbytes(len(content[at : at + size]))
    elif how == "truncate":
        del content[at:]
    elif how in {"swap", "double"}:
        first, second = (rng.randrange(max(1, len(content) // 1024)) * 1024 for _ in range(2))
        one, other = content[first : first + 1024], content[second : second + 1024]
        content[second : second + 1024] = one
        if how == "swap":
            content[first : first + 1024] = other
    else:
        begin = rng.randrange(100)
        content[begin : begin + rng.randrange(1, 100)] = b""  # what follows moves
    path.write_bytes(content)
    return f"{how} {path.name} at {at} size {size}"


def read_all(outbox: Outbox) -> tuple[list[Record], set[tuple[int, int]]]:
    """As the worker does. Returns the records that can be sent, and the seqs that tombstones cover."""
    for _ in range(3):
        try:
            while outbox.check():
                pass
            while outbox.salvage():
                pass
            outbox.commit()
            records = [record for _lane, record in outbox.hand_out(100_000)]
            outbox.commit()
            records += [record for _lane, record in outbox.hand_out(100_000)]
            break
        except sqlite3.DatabaseError:
            outbox.reopen()
            outbox.rewind()
    gone: set[tuple[int, int]] = set()
    for record in records:
        if record.kind is RecordKind.TOMBSTONE:
            epoch, first, last = record.body.split(b" ")[:3]
            end = 1000 if last == b"None" else int(last)
            gone |= {(int(epoch), seq) for seq in range(int(first), end + 1)}
    return [record for record in records if record.kind is not RecordKind.TOMBSTONE], gone


def check(before: Before, outbox: Outbox, how: str) -> None:
    records, gone = read_all(outbox)
    sent = {(record.epoch, record.seq): record.body for record in records}
    for identity, body in sent.items():
        # A record that was confirmed may come back, where the damage is in what told so.
        if identity in before.bodies:
            assert body == before.bodies[identity], f"a wrong body is sent: {how}"
        else:
            assert identity in before.confirmed or identity[0] == outbox.epoch, f"a record from nowhere: {how}"
    missing = before.bodies.keys() - sent.keys() - gone
    told = {news.state for news in outbox.news}
    if missing:
        assert told & {"reset", "rolled-back"}, f"{sorted(missing)} are missing in silence: {how}"
    tally = outbox.tally()
    assert tally.committed == tally.confirmed + tally.tombstoned + tally.pending, how
    assert tally.pending == outbox.count_pending(), how


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_damage_anywhere_is_survived_and_told(
    before: Before, open_outbox: Callable[..., Outbox], tmp_path: Path, chunk: int
) -> None:
    """What is missing is covered by tombstones; only where nobody can know the extent, an event alone has to do."""
    names = [DATABASE, DATABASE, f"{DATABASE}-wal", FILE]
    for seed in range(chunk * MUTATIONS // CHUNKS, (chunk + 1) * MUTATIONS // CHUNKS):
        rng = random.Random(f"corruption {seed}")
        directory = tmp_path / f"mutation-{seed}"
        shutil.copytree(before.directory, directory)
        how = f"seed {seed}: {mutate(directory / rng.choice(names), rng)}"
        begin_ns = SystemClock().now_ns()
        outbox = open_outbox(directory=directory, boot_id="boot-3", settings=StoreSettings(1 << 24, durable=False))
        assert SystemClock().now_ns() - begin_ns < START_NS, how
        assert not outbox.volatile, how
        check(before, outbox, how)
        outbox.close()
        shutil.rmtree(directory)
