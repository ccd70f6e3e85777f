from __future__ import annotations

from edge_agent.agent.commands import INBOX_LIMIT, CommandWorker
from edge_agent.uplink.command import Rebirth
from edge_agent.uplink.dialect import Occasion


def test_whoever_asks_for_a_rebirth_gets_a_birth() -> None:
    published: list[Occasion] = []
    worker = CommandWorker(published.append)
    worker.inbox.put(Rebirth())
    worker.step()
    assert published == [Occasion.BIRTH]
    worker.step()
    assert published == [Occasion.BIRTH]


def test_a_flood_of_commands_is_bounded() -> None:
    worker = CommandWorker(lambda _occasion: None)
    taken = [worker.inbox.put(Rebirth()) for _ in range(INBOX_LIMIT + 5)]
    assert taken == [True] * INBOX_LIMIT + [False] * 5
