"""How large a status message or birth may be, and what is said of those that are larger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.clock import NS_PER_S
from edge_agent.uplink.dialect import Notice, Occasion
from edge_agent.uplink.notices import Notices
from edge_agent.uplink.packet import publish_bytes
from edge_agent.uplink.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.reading import Lane, Record
    from edge_agent.uplink.command import Command
    from edge_agent.uplink.dialect import Publication
    from edge_agent.uplink.mqtt import Will

OVERHEAD_BYTES = publish_bytes("n/status", b"")


class Stretching:
    """Makes a status of 1000 bytes, or as large as it may be, but never smaller than 50 bytes."""

    topics = ()
    ignored = 0

    def __init__(self, full_bytes: int = 1000) -> None:
        self.full_bytes = full_bytes

    def will(self) -> Will:
        """None is asked for."""
        raise NotImplementedError

    def notices(self, _occasion: Occasion, most_bytes: int) -> Sequence[Notice]:
        """The status."""
        return (Notice("n/status", bytes(max(50, min(self.full_bytes, most_bytes - OVERHEAD_BYTES - 3))), retain=True),)

    def publication(self, lane: Lane, record: Record, *, alone: bool = False) -> Publication:
        """None is asked for."""
        raise NotImplementedError

    def parts(self, lane: Lane, record: Record, most_bytes: int) -> Sequence[Publication]:
        """None are asked for."""
        raise NotImplementedError

    def answered(self, record: Record, *, taken: bool) -> None:
        """Nobody is answered."""

    def heard(self, _topic: str, _payload: bytes) -> Sequence[Command]:
        """Nothing is heard."""
        return ()


def sizes(notices: Notices) -> list[int]:
    return [len(notice.payload) for notice in notices.due(Occasion.BIRTH)]


def end_at_once(notices: Notices, now_ns: int, times: int) -> None:
    """Links that end a second after the birth."""
    for _ in range(times):
        notices.connected(now_ns, Terms())
        notices.due(Occasion.BIRTH)
        notices.disconnected(now_ns + NS_PER_S)


@pytest.mark.parametrize(
    ("length", "size"),
    [(0, 2 + 10 + 1), (127 - 11, 2 + 127), (128 - 11, 3 + 128), (16_383 - 11, 3 + 16_383), (16_384 - 11, 4 + 16_384)],
)
def test_the_size_of_a_packet_is_that_of_the_specification(length: int, size: int) -> None:
    assert publish_bytes("n/status", bytes(length)) == size
    assert publish_bytes("n/status", bytes(length), 0) in {size - 1, size - 2}


def test_a_status_is_as_large_as_the_broker_takes(caplog: pytest.LogCaptureFixture) -> None:
    notices = Notices(Stretching())
    notices.connected(0, Terms())
    assert sizes(notices) == [1000]
    notices.connected(1, Terms(maximum_packet_bytes=400))
    assert sizes(notices) == [400 - OVERHEAD_BYTES - 3]
    assert caplog.messages == []


def test_what_cannot_be_made_small_enough_is_not_sent_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    notices = Notices(Stretching())
    notices.connected(0, Terms(maximum_packet_bytes=50))
    assert sizes(notices) == []
    assert sizes(notices) == []
    (said,) = caplog.messages
    assert said == (
        "a message cannot be made small enough and is not sent topic=n/status"
        f" bytes={50 + OVERHEAD_BYTES} limit_bytes=50"
    )
    notices.connected(1, Terms(maximum_packet_bytes=50 + OVERHEAD_BYTES))
    assert sizes(notices) == [50]


def test_after_links_that_end_right_after_the_status_it_is_made_smaller_for_an_hour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notices = Notices(Stretching())
    end_at_once(notices, NS_PER_S, 3)
    notices.connected(2 * NS_PER_S, Terms())
    assert sizes(notices) == [(1000 + OVERHEAD_BYTES + 1) // 2 - OVERHEAD_BYTES - 3]
    end_at_once(notices, 3 * NS_PER_S, 3)
    notices.connected(4 * NS_PER_S, Terms())
    assert sizes(notices)[0] < 260
    assert len(caplog.messages) == 2
    notices.connected(3605 * NS_PER_S, Terms())
    assert sizes(notices) == [1000]


def test_links_that_carry_a_record_or_last_are_no_reason_to_shorten_the_status() -> None:
    notices = Notices(Stretching())
    end_at_once(notices, NS_PER_S, 2)
    notices.connected(5 * NS_PER_S, Terms())
    notices.due(Occasion.BIRTH)
    notices.acknowledged()
    notices.disconnected(6 * NS_PER_S)
    end_at_once(notices, 7 * NS_PER_S, 2)
    notices.connected(10 * NS_PER_S, Terms())
    assert sizes(notices) == [1000]
    notices.disconnected(21 * NS_PER_S)
    notices.disconnected(21 * NS_PER_S)
    end_at_once(notices, 22 * NS_PER_S, 2)
    notices.connected(23 * NS_PER_S, Terms())
    assert sizes(notices) == [1000]


def test_a_heartbeat_takes_the_link_for_a_second_and_a_birth_is_sent_in_full() -> None:
    notices = Notices(Stretching(4000))
    notices.connected(0, Terms())
    assert [len(each.payload) for each in notices.due(Occasion.HEARTBEAT, 2000.0)] == [2000 - OVERHEAD_BYTES - 3]
    assert [len(each.payload) for each in notices.due(Occasion.HEARTBEAT, 10.0)] == [1024 - OVERHEAD_BYTES - 3]
    assert [len(each.payload) for each in notices.due(Occasion.HEARTBEAT)] == [4000]
    assert [len(each.payload) for each in notices.due(Occasion.BIRTH, 2000.0)] == [4000]
