"""Connections come and go; what an old one says does not matter any more."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from edge_agent.clock import NS_PER_S
from edge_agent.receiver.link import Arrived, Down, LinkEvent, Up
from tests.receiver.gateway import PREFIX, Bench, FakeConnection, Gateway

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

G = Gateway()


def test_an_old_connection_is_not_heard(bench: Bench) -> None:
    bench.put(G.batch(1))
    bench.receiver.step()
    bench.sink.db.execute("PRAGMA query_only=1")
    old = bench.link
    bench.wait(0.3)
    bench.sink.db.execute("PRAGMA query_only=0")
    bench.connect()
    old.emit(Arrived(f"{PREFIX}/live", G.batch(2), False, 2))
    old.emit(Down("late"))
    bench.take(G.batch(3))
    assert bench.link.acknowledged == [2], "the token of the new connection, which counts anew"
    assert bench.rows("SELECT DISTINCT seq FROM record") == [(3,)]
    assert len(bench.connections) == 2


def test_what_had_come_before_a_cut_is_stored(bench: Bench) -> None:
    bench.put(G.batch(1))
    bench.link.emit(Down("cut"))
    bench.step()
    assert len(bench.identities()) == 9
    bench.connect()
    bench.take(G.batch(1))
    assert set(bench.identities().values()) == {1}


def test_what_waits_in_a_session_may_come_before_anything_else(bench: Bench) -> None:
    bench.lose()
    while len(bench.connections) == 1:
        bench.step()
    bench.put(G.batch(1))
    bench.link.emit(Up(has_session=True))
    bench.wait(2)
    assert bench.link.acknowledged == [1]
    assert bench.ack() == {"epoch": 77, "upto": 1, "ranges": []}


def test_it_tries_again_ever_less_often_and_speaks_the_version_that_the_broker_knows(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions: list[int] = []
    times: list[int] = []

    def connect(version: int, emit: Callable[[LinkEvent], object]) -> FakeConnection:
        versions.append(version)
        times.append(bench.clock.now_ns())
        bench.connections.append(FakeConnection(emit))
        return bench.connections[-1]

    monkeypatch.setattr(bench.receiver, "_connect", connect)
    bench.lose()
    for wrong in (True, True, False, False, False, False, False, False):
        bench.wait(70)
        bench.link.emit(Down("no", wrong_version=wrong))
        bench.step()
    assert versions == [5, 4, 5, 5, 5, 5, 5, 5]
    waits = [later - earlier - 70 * NS_PER_S for earlier, later in pairwise(times)]
    assert all(wait <= 60 * NS_PER_S for wait in waits)


def test_at_the_end_everything_is_stored_acknowledged_and_said(bench: Bench) -> None:
    bench.put(G.batch(1))
    link = bench.link
    bench.receiver.stop()
    assert (link.acknowledged, link.is_closed) == ([1], True)
    assert bench.ack() == {"epoch": 77, "upto": 1, "ranges": []}
    assert len(bench.identities()) == 9
