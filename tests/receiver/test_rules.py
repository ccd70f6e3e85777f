"""The protocol of confirmation, rule by rule: each test plays the history that needs the rule."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.receiver import completeness
from edge_agent.receiver.acks import MOST_BYTES, Answer, ack_message
from edge_agent.receiver.signature import signed
from edge_agent.receiver.sinks import look
from edge_agent.receiver.sinks.schema import open_database
from edge_agent.wire.batch import RowRange
from edge_agent.wire.codec import split_batch, thin_batch
from tests.receiver.gateway import PREFIX, Bench, Gateway

if TYPE_CHECKING:
    from collections.abc import Callable

G = Gateway()
NEXT = replace(G, epoch=78)
READINGS = 9
Start = "Callable[..., Bench]"


def report(bench: Bench, epoch: int = 77, node: str = "n") -> dict[str, Any]:
    """What `--report --json` says of an epoch."""
    said = completeness.as_json(look.nodes(bench.sink.db), look.refused_of_nobody(bench.sink.db))
    (found,) = [
        each for told in said["nodes"] if told["node"] == node for each in told["epochs"] if each["epoch"] == epoch
    ]
    assert isinstance(found, dict)
    return found


# Identity


def test_1_epochs_of_53_bits_and_more_are_kept_exactly(bench: Bench) -> None:
    for epoch in ((1 << 53) - 1, (1 << 53) + 1, (1 << 63) - 1):
        bench.take(replace(G, epoch=epoch, boot=epoch).batch(1))
        bench.wait(2)
        assert bench.ack(epoch) == {"epoch": epoch, "upto": 1, "ranges": []}
    assert len(bench.identities()) == 3 * READINGS


def test_1_the_same_epoch_and_seq_of_two_nodes_are_two_records(bench: Bench) -> None:
    bench.take(G.batch(1))
    bench.take(replace(G, node="m").batch(1), prefix="edge/m")
    assert len(bench.identities()) == 2 * READINGS


def test_2_the_second_part_of_a_split_is_no_repetition(bench: Bench) -> None:
    body = G.body(1, 20)
    parts = split_batch(body, len(body) * 3 // 4)
    assert len(parts) > 1
    for rows, part in parts[1:]:
        bench.take(G.part(1, rows, part))
        bench.take(G.part(1, rows, part))
    bench.wait(2)
    assert bench.ack() == {"epoch": 77, "upto": 0, "ranges": []}
    assert report(bench)["missing_rows"] == [{"seq": 1, "rows": [[0, parts[0][0].count - 1]]}]
    bench.take(G.part(1, *parts[0]))
    bench.wait(2)
    assert bench.ack() == {"epoch": 77, "upto": 1, "ranges": []}
    assert set(bench.identities().values()) == {1}
    assert len(bench.identities()) == 60


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_2_whichever_copy_of_a_row_comes_first_wins(bench: Bench, order: tuple[int, ...]) -> None:
    body = G.body(1, 20)
    thinned, thin = thin_batch(body, 4)
    rows, part = split_batch(body, len(body) * 3 // 4)[0]
    copies = [G.batch(1, 20), G.part(1, thinned, thin), G.part(1, rows, part)]
    for place in order:
        bench.take(copies[place])
    assert set(bench.identities().values()) == {1}
    assert len(bench.identities()) == 60
    (features,) = bench.rows("SELECT count(*) FROM feature")
    assert features == (3,)


def test_2_a_thinned_batch_is_complete_with_the_tombstone_of_the_other_rows(bench: Bench) -> None:
    rows, thin = thin_batch(G.body(1, 20), 2)
    bench.take(G.tombstone(2, 1, 1, rows=(RowRange(1, 39, 2),)))
    assert report(bench)["state"] == "incomplete"
    bench.take(G.part(1, rows, thin))
    bench.wait(2)
    assert bench.ack() == {"epoch": 77, "upto": 2, "ranges": []}
    bench.take(G.batch(1, 20))
    assert len(bench.identities()) == 60, "delivered wins over dropped, row by row"


def test_2_parts_that_contradict_each_other_are_refused_and_change_nothing(bench: Bench) -> None:
    rows, thin = thin_batch(G.body(1, 20), 2)
    bench.take(G.part(1, rows, thin))
    before = bench.identities()
    bench.take(G.batch(1, 21))
    assert bench.identities() == before
    assert bench.receiver.total.refused.total() == 1


def test_3_a_seq_that_was_reserved_may_come_after_later_ones(bench: Bench) -> None:
    bench.take(G.status((77, 3)), lane="status")
    bench.take(G.event(3), G.batch(1))
    bench.wait(2)
    assert bench.ack() == {"epoch": 77, "upto": 1, "ranges": [[3, 3]]}
    bench.take(G.batch(2))
    bench.wait(2)
    assert bench.ack() == {"epoch": 77, "upto": 3, "ranges": []}


def test_4_a_node_that_is_alive_under_two_epochs_alternately_raises_an_alarm(bench: Bench) -> None:
    clone = replace(G, epoch=99)
    bench.take(G.status((77, 1)), clone.status((99, 1)), lane="status")
    assert look.nodes(bench.sink.db)[0].alarm is None, "a restart is no clone"
    bench.take(G.status((77, 2)), lane="status")
    alarm = look.nodes(bench.sink.db)[0].alarm
    assert alarm is not None
    assert "copied" in alarm


def test_4_an_old_status_that_the_broker_kept_or_a_late_will_raises_no_alarm(bench: Bench) -> None:
    bench.take(G.status((77, 1)), NEXT.status((78, 1)), lane="status")
    bench.take(G.status((77, 2)), lane="status", retained=True)
    bench.take(G.status(state="offline"), lane="status")
    (node,) = look.nodes(bench.sink.db)
    assert (node.alarm, node.state) == (None, "online")


# Durability at the gateway


def test_6_an_epoch_that_is_incomplete_and_no_longer_listed_is_reported_until_shown_otherwise(bench: Bench) -> None:
    bench.take(G.batch(1), G.batch(3))
    bench.take(G.status((77, 3)), lane="status")
    assert report(bench)["state"] == "receiving"
    bench.take(NEXT.status((77, 4), (78, 1)), lane="status")
    assert report(bench)["state"] == "receiving"
    assert report(bench)["missing"] == [[2, 2], [4, 4]]
    bench.take(NEXT.status((78, 1)), lane="status")
    assert report(bench)["state"] == "outbox gone"
    bench.take(NEXT.status((77, 4), (78, 1)), lane="status")
    assert report(bench)["state"] == "receiving"
    bench.take(NEXT.status((78, 1)), lane="status")
    bench.take(G.batch(2), G.batch(4), lane="backlog")
    assert report(bench)["state"] == "complete"


def test_6_nothing_follows_from_a_status_that_lists_no_epochs(bench: Bench) -> None:
    bench.take(G.batch(2))
    bench.take(NEXT.status(), lane="status")
    assert report(bench)["state"] == "incomplete"


def test_6_the_mark_shows_what_is_missing_at_the_end(bench: Bench) -> None:
    bench.take(G.batch(1))
    assert report(bench)["state"] == "complete"
    bench.take(G.status((77, 5)), lane="status")
    assert report(bench)["missing"] == [[2, 5]]


def test_6_the_mark_never_goes_back(bench: Bench) -> None:
    bench.take(G.batch(1))
    bench.take(G.status((77, 5)), G.status((77, 3)), lane="status")
    assert report(bench)["mark"] == 5


def test_6_an_open_ended_tombstone_closes_a_dead_epoch(bench: Bench) -> None:
    bench.take(G.batch(1), G.batch(9))
    bench.take(NEXT.status((77, 30), (78, 1)), lane="status")
    bench.take(NEXT.tombstone(1, 3, None, epoch=77, why="damaged"))
    assert report(bench)["missing"] == [[2, 2]]
    bench.take(NEXT.tombstone(2, 2, 2, epoch=77))
    bench.wait(2)
    assert report(bench)["state"] == "complete"
    assert bench.ack() == {"epoch": 77, "upto": 30, "ranges": []}
    bench.take(G.batch(20))
    assert (77, 20) in {identity[1:3] for identity in bench.identities()}
    assert [each["open_ended"] for each in report(bench)["dropped"]] == [True, False]


def test_7_the_unseen_tail_of_a_volatile_epoch_is_lost_when_its_successor_speaks(bench: Bench) -> None:
    bench.take(G.batch(1))
    bench.take(G.status((77, 4), volatile=4), lane="status")
    assert report(bench)["missing"] == [[2, 4]]
    assert report(bench)["state"] == "receiving"
    bench.take(NEXT.status((78, 1)), lane="status")
    assert report(bench)["state"] == "complete"
    assert [(each["reason"], each["records"]) for each in report(bench)["dropped"]] == [("lost, volatile", 3)]
    bench.take(G.batch(3))
    assert len(bench.identities()) == 2 * READINGS, "what was on its way is stored all the same"


def test_7_the_mark_of_a_volatile_epoch_counts_though_nothing_is_listed(bench: Bench) -> None:
    bench.take(G.batch(1))
    bench.take(G.status(volatile=4), NEXT.status(), lane="status")
    assert [(each["reason"], each["records"]) for each in report(bench)["dropped"]] == [("lost, volatile", 3)]


def test_7_an_epoch_on_disk_is_not_lost_when_its_successor_speaks(bench: Bench) -> None:
    bench.take(G.batch(1))
    bench.take(G.status((77, 4), volatile=4), G.status((77, 4)), NEXT.status((77, 4), (78, 1)), lane="status")
    assert report(bench)["missing"] == [[2, 4]]


# Tombstones


def test_8_a_tombstone_of_an_old_epoch_collides_with_nothing_there(bench: Bench) -> None:
    bench.take(G.batch(1), G.batch(2), G.batch(5))
    bench.take(NEXT.tombstone(1, 3, 4, epoch=77), NEXT.batch(2))
    bench.wait(2)
    assert bench.ack(77) == {"epoch": 77, "upto": 5, "ranges": []}
    assert bench.ack(78) == {"epoch": 78, "upto": 2, "ranges": []}
    assert bench.rows("SELECT epoch, seq, of_epoch, first_seq, last_seq FROM tombstones") == [(78, 1, 77, 3, 4)]
    bench.take(NEXT.tombstone(1, 3, 4, epoch=77))
    assert len(bench.rows("SELECT 1 FROM tombstones")) == 1


def test_8_a_tombstone_of_an_old_release_leaves_the_identity_to_the_record(bench: Bench) -> None:
    old = G.tombstone(4, 1, 4, epoch=None)
    bench.take(old, old, G.batch(4))
    assert len(bench.rows("SELECT 1 FROM tombstones")) == 1
    assert len(bench.identities()) == READINGS


def test_8_a_tombstone_of_what_had_no_seq_covers_nothing(bench: Bench) -> None:
    bench.take(G.tombstone(1, 0, 0), G.batch(3))
    assert report(bench)["missing"] == [[2, 2]]


@pytest.mark.parametrize("first", ["record", "tombstone"])
def test_9_delivered_wins_over_tombstoned_in_either_order(bench: Bench, first: str) -> None:
    messages = [G.batch(1), G.tombstone(2, 1, 1)]
    bench.take(*(messages if first == "record" else reversed(messages)))
    bench.wait(2)
    assert len(bench.identities()) == READINGS
    assert bench.ack() == {"epoch": 77, "upto": 2, "ranges": []}
    assert report(bench)["never_came"] == 0
    bench.take(G.batch(1))
    assert set(bench.identities().values()) == {1}


def test_9_what_is_gone_counts_for_upto(bench: Bench) -> None:
    bench.take(G.batch(1), G.tombstone(5, 2, 3))
    bench.wait(2)
    assert bench.ack() == {"epoch": 77, "upto": 3, "ranges": [[5, 5]]}


# Acknowledgement


def test_11_an_acknowledgement_is_retained_and_says_what_is_durable(bench: Bench) -> None:
    bench.take(G.batch(1), G.batch(2), G.batch(4), G.batch(7))
    bench.wait(2)
    assert bench.link.published == [
        (f"{PREFIX}/ack/hq", {"v": 1, "acks": [{"epoch": 77, "upto": 2, "ranges": [[4, 4], [7, 7]]}]}, True)
    ]


def test_11_with_a_thousand_epochs_it_stays_small_and_the_present_one_is_in_it(bench: Bench) -> None:
    epochs = [(1 << 52) + number for number in range(1000)]
    for start in range(0, 1000, 100):
        bench.take(*(replace(G, epoch=epoch).batch(1) for epoch in epochs[start : start + 100]))
    present = epochs[-1]
    bench.take(replace(G, epoch=present).status(*((epoch, 1) for epoch in epochs)), lane="status")
    bench.take(replace(G, epoch=present).batch(2))
    bench.wait(3)
    listed = [entry["epoch"] for entry in bench.said("ack")[-1]["acks"]]
    assert present in listed
    assert listed[:200] == epochs[:200], "the oldest open ones first"
    assert len(listed) < 1000


def test_11_there_is_room_for_what_has_just_come_before_what_is_old() -> None:
    answers = [
        Answer((1 << 52) + number, number, ((number + 2, number + 3),), first=number == 900) for number in range(1000)
    ]
    message = ack_message(answers)
    assert len(signed("t", message, "k")) <= MOST_BYTES
    assert len(signed("t", message, "k")) > MOST_BYTES - 100
    assert str((1 << 52) + 900).encode() in message
    assert str((1 << 52) + 899).encode() not in message


def test_13_what_is_said_can_be_signed(start: Callable[..., Bench]) -> None:
    bench = start(key="secret")
    bench.take(G.batch(1), G.announced(2))
    bench.wait(2)
    assert len(bench.link.published) == 2
    for topic, said, _ in bench.link.published:
        signature = said.pop("hmac")
        unsigned = json.dumps(said, separators=(",", ":")).encode()
        assert signature == hmac.new(b"secret", topic.encode() + b"\0" + unsigned, hashlib.sha256).hexdigest()


def test_14_every_duplicate_is_answered(bench: Bench) -> None:
    bench.take(G.batch(1))
    bench.wait(2)
    for count in range(2, 5):
        bench.take(G.batch(1))
        bench.wait(2)
        assert len(bench.said("ack")) == count
    assert report(bench)["duplicates"] == 3


def test_14_a_duplicate_of_a_closed_epoch_is_answered_too(bench: Bench) -> None:
    bench.take(G.batch(1))
    for number in range(40):
        bench.take(replace(G, epoch=1000 + number).batch(1))
    present = replace(G, epoch=1039)
    bench.take(present.status((1039, 1)), lane="status")
    bench.take(present.batch(2))
    bench.wait(3)
    assert bench.ack() is None
    bench.take(G.batch(1))
    bench.wait(2)
    assert bench.ack() == {"epoch": 77, "upto": 1, "ranges": []}


def test_14_answers_are_paced(bench: Bench) -> None:
    for _ in range(20):
        bench.take(G.batch(1))
    bench.wait(2)
    assert 6 <= len(bench.said("ack")) <= 8


def test_14_without_a_session_everything_is_said_again_and_paced(start: Callable[..., Bench]) -> None:
    bench = start(session=False)
    for number in range(60):
        bench.take(replace(G, node=f"n{number}").batch(1), prefix=f"edge/n{number}")
    bench.wait(5)
    bench.lose()
    bench.connect()
    bench.wait(0.05)
    assert len(bench.link.published) in {20, 40}
    bench.wait(5)
    assert {topic for topic, _, _ in bench.link.published} == {f"edge/n{number}/ack/hq" for number in range(60)}


def test_14_what_was_said_just_before_a_cut_is_said_again(bench: Bench) -> None:
    bench.take(G.batch(1))
    bench.wait(2)
    bench.lose()
    bench.connect()
    bench.wait(2)
    assert bench.ack() == {"epoch": 77, "upto": 1, "ranges": []}


def test_15_what_is_missing_is_asked_for_ever_less_often(bench: Bench) -> None:
    bench.take(G.batch(1), G.batch(4))
    bench.wait(50)
    assert bench.said("ask") == []
    bench.wait(100)
    assert bench.said("ask") == [{"v": 1, "missing": [{"epoch": 77, "ranges": [[2, 3]]}]}]
    assert not any(retain for topic, _, retain in bench.link.published if "/ask/" in topic)
    bench.wait(24 * 3600)
    assert 24 <= len(bench.said("ask")) <= 34
    count = len(bench.said("ask"))
    bench.take(G.batch(2))
    bench.wait(2 * 3600)
    assert len(bench.said("ask")) > count + 4, "progress makes it hopeful again"
    bench.take(G.batch(3))
    count = len(bench.said("ask"))
    bench.wait(24 * 3600)
    assert len(bench.said("ask")) == count


def test_15_a_gap_is_asked_for_though_live_records_go_on_coming(bench: Bench) -> None:
    bench.take(G.batch(1))
    for seq in range(3, 13):
        bench.take(G.batch(seq))
        bench.wait(30)
    assert bench.said("ask")[0] == {"v": 1, "missing": [{"epoch": 77, "ranges": [[2, 2]]}]}


def test_15_what_is_only_late_is_not_asked_for(bench: Bench) -> None:
    for seq in range(1, 40):
        bench.take(G.status((77, seq)), lane="status")
        bench.wait(20)
        bench.take(G.batch(seq))
        bench.wait(20)
    assert bench.said("ask") == []


def test_15_a_new_gap_is_asked_for_soon_though_an_old_one_stays(bench: Bench) -> None:
    bench.take(G.batch(2))
    bench.wait(12 * 3600)
    count = len(bench.said("ask"))
    bench.take(G.batch(4))
    bench.wait(140)
    assert bench.said("ask")[count] == {"v": 1, "missing": [{"epoch": 77, "ranges": [[1, 1], [3, 3]]}]}


def test_15_a_gateway_that_is_away_is_not_asked(bench: Bench) -> None:
    bench.take(G.status((77, 4)), lane="status")
    bench.take(G.batch(4))
    bench.take(G.status(state="offline"), lane="status")
    bench.wait(7200)
    assert bench.said("ask") == []
    bench.take(G.status((77, 4)), lane="status")
    bench.wait(130)
    assert bench.said("ask") == [{"v": 1, "missing": [{"epoch": 77, "ranges": [[1, 3]]}]}]


def test_15_a_receiver_restored_from_a_backup_asks_and_believes_the_tombstones(start: Callable[..., Bench]) -> None:
    first = start("a.db")
    first.take(*(G.batch(seq) for seq in range(1, 6)))
    backup = first.path.with_name("b.db")
    with closing(open_database(first.path, read_only=True)) as db:
        db.execute("VACUUM INTO ?", (str(backup),))
    first.take(*(G.batch(seq) for seq in range(6, 11)))
    first.wait(2)
    restored = start("b.db", session=False)
    restored.take(G.status((77, 11)), lane="status", retained=True)
    restored.wait(2)
    assert restored.ack() == {"epoch": 77, "upto": 5, "ranges": []}
    restored.take(G.batch(11))
    restored.wait(130)
    assert restored.said("ask") == [{"v": 1, "missing": [{"epoch": 77, "ranges": [[6, 10]]}]}]
    restored.take(G.tombstone(12, 6, 9, why="confirmed before"), G.batch(10))
    restored.wait(130)
    assert restored.ack() == {"epoch": 77, "upto": 12, "ranges": []}
    assert report(restored)["state"] == "complete"
    assert [each["reason"] for each in report(restored)["dropped"]] == ["confirmed before"]
    assert len(restored.said("ask")) == 1


def test_15_accept_lost_closes_what_cannot_be_had_and_nothing_else(bench: Bench) -> None:
    bench.take(G.batch(2))
    bench.take(NEXT.status((77, 2), (78, 3)), lane="status")
    assert look.accept_lost(bench.sink.db, 0) == [], "the gateway still has it"
    bench.take(NEXT.status((78, 3)), lane="status")
    assert report(bench)["state"] == "outbox gone"
    assert look.accept_lost(bench.sink.db, 0) == [("n", 77, 1)]
    assert report(bench)["state"] == "complete"
    assert [each["reason"] for each in report(bench)["dropped"]] == ["accepted as lost"]
    assert report(bench, 78)["state"] == "receiving"
    bench.take(G.batch(1))
    assert len(bench.identities()) == 2 * READINGS
    assert look.accept_lost(bench.sink.db, 0) == []


def test_15_accept_lost_never_closes_the_present_epoch(bench: Bench) -> None:
    bench.take(G.batch(2))
    assert look.accept_lost(bench.sink.db, 0) == [], "it may be the present one"
    bench.take(NEXT.batch(2))
    bench.take(G.status(), lane="status")
    assert look.accept_lost(bench.sink.db, 0) == [("n", 78, 1)], "a node that lists nothing works under the other one"
    assert report(bench)["state"] == "receiving"


def test_16_an_unknown_announcement_is_asked_for_and_nothing_is_guessed_or_lost(bench: Bench) -> None:
    bench.take(G.announced(2), G.announced(3))
    assert bench.said("ask") == [{"v": 1, "missing": [], "teach": True}]
    assert bench.link.acknowledged == [1, 2], "they are stored, so the broker may forget them"
    bench.wait(2)
    assert bench.said("ack") == []
    bench.take(G.announced(4))
    assert len(bench.said("ask")) == 1, "asking is paced"
    bench.take(G.teaching(1))
    bench.wait(2)
    assert bench.ack() == {"epoch": 77, "upto": 4, "ranges": []}
    assert len(bench.identities()) == 4 * READINGS
    assert bench.rows("SELECT count(*) FROM kept") == [(0,)]


def test_16_announcements_and_what_waits_for_them_survive_a_restart(start: Callable[..., Bench]) -> None:
    first = start()
    first.take(G.announced(1))
    first.close()
    second = start()
    second.take(G.status(announcement=G.announcement().to_text()), lane="status")
    assert len(second.identities()) == READINGS
    second.close()
    third = start()
    third.take(G.announced(2))
    assert len(third.identities()) == 2 * READINGS


def test_16_one_gateway_cannot_teach_another(bench: Bench) -> None:
    bench.take(G.teaching(1), prefix="edge/other")
    bench.take(G.announced(2))
    assert len(bench.identities()) == READINGS
    bench.take(G.teaching(3))
    assert len(bench.identities()) == 3 * READINGS


# Ledger and sinks


def test_18_the_broker_is_acknowledged_after_the_commit(bench: Bench) -> None:
    bench.put(G.batch(1))
    bench.receiver.step()
    assert bench.link.acknowledged == []
    assert bench.rows("SELECT count(*) FROM reading") == [(0,)]
    bench.wait(0.01)
    assert bench.link.acknowledged == [1]


def test_18_nothing_is_acknowledged_that_could_not_be_written(bench: Bench) -> None:
    bench.put(G.batch(1))
    bench.receiver.step()
    bench.sink.db.execute("PRAGMA query_only=1")
    broken = bench.link
    bench.wait(0.3)
    assert broken.acknowledged == []
    assert broken.is_closed
    bench.sink.db.execute("PRAGMA query_only=0")
    bench.connect()
    bench.take(G.batch(1))
    assert bench.link.acknowledged == [2]
    assert set(bench.identities().values()) == {1}


def test_18_a_commit_survives_a_power_cut(bench: Bench) -> None:
    full = 2
    assert bench.rows("PRAGMA synchronous") == [(full,)]
    assert bench.rows("PRAGMA journal_mode") == [("wal",)]


def test_18_a_group_is_one_transaction(bench: Bench) -> None:
    for seq in range(1, 300):
        bench.put(G.batch(seq))
    bench.receiver.step()
    assert len(bench.link.acknowledged) == 256
    bench.wait(0.01)
    assert len(bench.link.acknowledged) == 299
    assert len(bench.rows("SELECT DISTINCT received_ns FROM record")) == 2


def test_18_a_steady_stream_is_committed_five_times_a_second(bench: Bench) -> None:
    for seq in range(1, 101):
        bench.put(G.batch(seq))
        bench.receiver.step()
        bench.clock.advance_to(bench.clock.now_ns() + 4_000_000)
    assert len(bench.rows("SELECT DISTINCT received_ns FROM record")) in {1, 2}


def test_18_a_complete_epoch_is_one_row(bench: Bench) -> None:
    body = G.body(9, 20)
    for rows, part in split_batch(body, len(body) * 3 // 4):
        bench.take(G.part(9, rows, part))
    for seq in (5, 1, 3, 2, 4, 8, 7, 6):
        bench.take(G.batch(seq))
    assert bench.rows("SELECT have, gone FROM epoch") == [("[[1,9]]", "[]")]
    assert bench.rows("SELECT count(*) FROM part") == [(0,)]


def test_18_two_receivers_on_one_database_store_each_reading_once(start: Callable[..., Bench]) -> None:
    one, other = start(), start()
    one.take(G.batch(1))
    other.take(G.batch(1), G.batch(2))
    one.take(G.batch(2), G.batch(3))
    assert set(one.identities().values()) == {1}
    assert len(one.identities()) == 3 * READINGS


def test_18_two_receivers_on_one_database_keep_what_waits_apart(start: Callable[..., Bench]) -> None:
    one, other = start(), start()
    one.take(G.announced(1))
    other.take(replace(G, node="m").announced(1), prefix="edge/m")
    assert one.rows("SELECT prefix FROM kept ORDER BY prefix") == [("edge/m",), ("edge/n",)]


def test_order_holds_after_sorting_by_seq_and_row(bench: Bench) -> None:
    bench.take(G.batch(3), G.batch(1), G.batch(2))
    times = [
        stamp for (stamp,) in bench.rows("SELECT boot_ns FROM readings WHERE sensor = 'air' ORDER BY seq, row, id")
    ]
    assert times == sorted(times)


def test_a_copy_of_the_database_file_is_not_needed_for_a_backup(bench: Bench) -> None:
    bench.take(G.batch(1))
    bench.close()
    copy = bench.path.with_name("copy.db")
    shutil.copy(bench.path, copy)
    with closing(open_database(copy, read_only=True)) as db:
        assert look.nodes(db)[0].epochs[0].digest.readings == READINGS
