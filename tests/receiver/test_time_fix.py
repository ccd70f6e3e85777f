"""A time-fix sets offsets, whatever comes before or after it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.clock import NS_PER_S
from tests.receiver.gateway import OFFSET_NS, Bench, Gateway

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

G = Gateway()


def seconds(bench: Bench) -> dict[int, int]:
    """Per stamp in seconds, by how many seconds its offset differs from what was sent at first."""
    rows = bench.rows("SELECT boot_ns, offset_ns FROM readings UNION SELECT boot_ns, offset_ns FROM events")
    assert len({stamp for stamp, _ in rows}) == len(rows)
    return {stamp // NS_PER_S: (offset_ns - OFFSET_NS) // NS_PER_S for stamp, offset_ns in rows}


def fix(seq: int, first_s: int, last_s: int, by_s: int, *, at_s: int = 0) -> bytes:
    return G.fix(seq, first_s * NS_PER_S, last_s * NS_PER_S, OFFSET_NS + by_s * NS_PER_S, at_ns=at_s * NS_PER_S)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_20_a_fix_sets_the_offset_in_its_span_in_any_order(bench: Bench, order: tuple[int, ...]) -> None:
    messages = [G.batch(1), G.batch(2), fix(3, 101, 200, 7, at_s=300)]
    for place in order:
        bench.take(messages[place])
    assert seconds(bench) == {100: 0, 101: 7, 102: 7, 200: 7, 201: 0, 202: 0, 300: 0}
    bench.take(messages[2])
    assert seconds(bench)[101] == 7, "it sets, and does not add"


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_20_of_two_fixes_the_later_one_holds_in_any_order(bench: Bench, order: tuple[int, ...]) -> None:
    messages = [G.batch(1), fix(3, 0, 101, 7, at_s=300), fix(2, 101, 102, 9, at_s=301), G.batch(4)]
    for place in order:
        bench.take(messages[place])
    found = seconds(bench)
    assert [found[stamp] for stamp in (100, 101, 102, 400)] == [7, 9, 9, 0]


def test_20_a_fix_is_of_its_boot_and_its_node_alone(bench: Bench) -> None:
    bench.take(G.batch(1), Gateway(epoch=78, boot=6).batch(1))
    bench.take(Gateway(node="m").batch(1), prefix="edge/m")
    bench.take(fix(2, 0, 1000, 7))
    moved = bench.rows("SELECT DISTINCT node, boot FROM readings WHERE offset_ns != ?", OFFSET_NS)
    assert moved == [("n", 5)]


def test_20_offsets_are_piecewise(bench: Bench) -> None:
    bench.take(G.batch(1, 50))
    bench.take(*(fix(2 + piece, 100 + 10 * piece, 109 + 10 * piece, piece, at_s=900) for piece in range(5)))
    found = seconds(bench)
    assert [found[100 + row] for row in range(50)] == [row // 10 for row in range(50)]


def test_20_the_wall_time_in_the_view_follows(bench: Bench) -> None:
    bench.take(G.batch(1, 1))
    bench.take(fix(2, 0, 1000, 5))
    walls = {wall_ns for (wall_ns,) in bench.rows("SELECT wall_ns FROM readings")}
    assert walls == {100 * NS_PER_S + OFFSET_NS + 5 * NS_PER_S}


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.integers(95, 130), st.integers(0, 20), st.integers(-5, 5), st.integers(0, 4)), max_size=5),
    st.randoms(use_true_random=False),
)
def test_20_the_result_depends_on_no_order(
    tmp_path_factory: pytest.TempPathFactory, fixes: list[tuple[int, int, int, int]], rng: object
) -> None:
    messages = [G.batch(1, 30)] + [
        fix(seq, first, first + span, by, at_s=at) for seq, (first, span, by, at) in enumerate(fixes, 2)
    ]
    expected = dict.fromkeys(range(100, 130), 0)
    for _at, _seq, (first, span, by) in sorted(
        (at, seq, (first, span, by)) for seq, (first, span, by, at) in enumerate(fixes, 2)
    ):
        expected |= {stamp: by for stamp in expected if first <= stamp <= first + span}
    shuffle: Callable[[list[bytes]], None] = getattr(rng, "shuffle")  # noqa: B009 Hypothesis has no type for it
    shuffle(messages)
    folder: Path = tmp_path_factory.mktemp("fix")
    bench = Bench(folder / "received.db")
    bench.take(*messages)
    rows = bench.rows("SELECT boot_ns, offset_ns FROM readings GROUP BY boot_ns")
    assert {stamp // NS_PER_S: (offset_ns - OFFSET_NS) // NS_PER_S for stamp, offset_ns in rows} == expected
    bench.close()
