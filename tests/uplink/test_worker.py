from __future__ import annotations

import queue
import random
import signal
from typing import TYPE_CHECKING

import pytest

from edge_agent.clock import NS_PER_S, ClockQuality, SimulatedClock, SystemClock
from edge_agent.reading import Lane, Record, RecordKind
from edge_agent.runtime import Threads
from edge_agent.uplink import mqtt
from edge_agent.uplink.command import Rebirth
from edge_agent.uplink.dialect import Notice, Occasion, Publication
from edge_agent.uplink.dialects.own_topics import OwnTopics
from edge_agent.uplink.mqtt import Broker, LinkDown, Puback, Will
from edge_agent.uplink.session import LinkState, Session
from edge_agent.uplink.worker import Heard, Offered, OutboxSide, PublishStatus, Stored, UplinkWorker
from edge_agent.wire.formats.registry import rewriter

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from edge_agent.clock import Clock
    from edge_agent.uplink.command import Command
    from edge_agent.uplink.dialect import Dialect
    from tests.conftest import Mosquitto
    from tests.uplink.conftest import Subscriber

    Subscribe = Callable[[int, str], Subscriber]
    FakeBroker = Callable[[Callable[[socket.socket], object]], int]


def record(rowid: int, kind: RecordKind = RecordKind.BATCH) -> Record:
    return Record(rowid, 77, rowid, kind, 1, 0, ClockQuality.SYNCED, 10, b"\x01body %d" % rowid)


class Outbox:
    """Hands out records, and remembers what became of them. Used from the worker's thread only."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.cursor = 0
        self.confirmed: queue.Queue[Record] = queue.Queue()
        self.aside: set[int] = set()
        self.gone: set[int] = set()
        self.worker: UplinkWorker | None = None

    def side(self) -> OutboxSide:
        """What the uplink sees of it."""
        return OutboxSide(self.rewind, self.hand_out, self.confirm, self.set_aside, self.aside.clear)

    def rewind(self) -> None:
        """Begin at the oldest."""
        self.cursor = 0

    def hand_out(self, limit: int, _backlog: int) -> None:
        """Hand out."""
        assert self.worker is not None
        skipped = self.gone | self.aside
        found = [each for each in self.records if each.rowid > self.cursor and each.rowid not in skipped][:limit]
        self.cursor = max([self.cursor, *(each.rowid for each in found)])
        self.worker.inbox.put(Offered([(Lane.BACKLOG, each) for each in found]))

    def confirm(self, record: Record) -> None:
        """It arrived."""
        assert record.rowid not in self.gone
        self.gone.add(record.rowid)
        self.confirmed.put(record)

    def set_aside(self, record: Record) -> None:
        """Nobody takes it for now."""
        self.aside.add(record.rowid)


def encode(record: Record) -> bytes:
    return record.body


def uplink(
    port: int,
    outbox: Outbox,
    clock: Clock,
    *,
    encode: Callable[[Record], bytes] = encode,
    status: Callable[[str, int], bytes] = lambda state, _most_bytes: state.encode(),
    dialect: Dialect | None = None,
    versions: tuple[int, ...] = (5, 4),
    command: Callable[[Command], object] = lambda _command: None,
) -> UplinkWorker:
    outbox.worker = UplinkWorker(
        broker=Broker("127.0.0.1", port, None, "edge-agent-n", None, None, 30),
        dialect=dialect or OwnTopics("edge/n", encode=encode, rewrite=rewriter("batch"), status=status),
        versions=versions,
        session=Session(in_flight_limit=8, ack_timeout_ns=60 * NS_PER_S, rng=random.Random(3)),
        outbox=outbox.side(),
        clock=clock,
        command=command,
    )
    return outbox.worker


def run_until(worker: UplinkWorker, clock: SimulatedClock, done: Callable[[], bool]) -> None:
    """Step the worker; real time passes while the network has something to say, simulated time otherwise."""
    while True:
        deadline_ns = worker.step()
        if done():
            return
        if worker.session.state in {LinkState.OFFLINE, LinkState.PAUSED} and not worker.session.in_flight:
            assert deadline_ns is not None
            clock.advance_to(deadline_ns)
        else:
            assert worker.inbox.arrival.wait(10)


def simulated() -> SimulatedClock:
    return SimulatedClock(0)


@pytest.mark.broker
def test_everything_arrives_although_the_broker_dies_in_between(mosquitto: Mosquitto, subscribe: Subscribe) -> None:
    subscriber = subscribe(mosquitto.port, "edge/n/backlog")
    outbox = Outbox([record(number) for number in range(1, 51)])
    worker = uplink(mosquitto.port, outbox, SystemClock())
    threads = Threads([worker], SystemClock())
    threads.start()
    first = [outbox.confirmed.get(timeout=10) for _ in range(50)]
    assert mosquitto.process is not None
    mosquitto.process.send_signal(signal.SIGSTOP)  # so that what is sent now is neither acknowledged nor delivered
    outbox.records += [record(number) for number in range(51, 101)]
    worker.inbox.put(Stored())
    mosquitto.restart()
    second = [outbox.confirmed.get(timeout=20) for _ in range(50)]
    threads.stop(5)
    worker.stop()
    assert threads.failures == 0
    assert sorted(each.seq for each in first + second) == list(range(1, 101))
    arrived: set[tuple[int, int, int, str]] = set()
    while {seq for _epoch, seq, _n, _v in arrived} != set(range(1, 101)):
        message = subscriber.next()
        assert subscriber.properties(message)["ContentType"] == "application/vnd.edge-agent.batch;v=1"
        told = dict(subscriber.properties(message)["UserProperty"])
        assert message.payload == b"\x01body %d" % int(told["seq"])
        arrived.add((int(told["epoch"]), int(told["seq"]), int(told["n"]), told["v"]))
    assert arrived == {(77, number, 10, "1") for number in range(1, 101)}


@pytest.mark.broker
def test_status_is_retained_at_birth_at_each_heartbeat_and_at_the_end(
    mosquitto: Mosquitto, subscribe: Subscribe
) -> None:
    subscriber = subscribe(mosquitto.port, "edge/n/status")
    said = iter(("will", "birth", "heartbeat", "end"))
    clock = simulated()
    worker = uplink(
        mosquitto.port, Outbox([]), clock, status=lambda state, _most_bytes: f"{state} {next(said)}".encode()
    )
    worker.inbox.put(PublishStatus())  # before there is a link: nothing
    run_until(worker, clock, lambda: worker.session.state is LinkState.ONLINE)
    worker.inbox.put(PublishStatus())
    worker.step()
    worker.stop()
    worker.stop()
    assert [subscriber.next().payload for _ in range(3)] == [b"online birth", b"online heartbeat", b"stopped end"]
    assert subscribe(mosquitto.port, "edge/n/status").next().retain


@pytest.mark.broker
def test_records_wait_while_nobody_is_subscribed(mosquitto: Mosquitto, subscribe: Subscribe) -> None:
    outbox, clock = Outbox([record(1), record(2, RecordKind.EVENT)]), simulated()
    worker = uplink(mosquitto.port, outbox, clock)
    run_until(worker, clock, lambda: worker.session.state is LinkState.PAUSED)
    assert "nobody is subscribed (0x10)" in worker.session.reason
    assert outbox.gone == set()
    subscriber = subscribe(mosquitto.port, "edge/n/#")
    run_until(worker, clock, lambda: outbox.gone == {1, 2})
    topics = {subscriber.next().topic for _ in range(3)}
    assert topics == {"edge/n/status", "edge/n/backlog", "edge/n/event"}
    worker.stop()


@pytest.mark.broker
def test_records_that_cannot_be_sent_are_set_aside_and_the_others_arrive(
    start_mosquitto: Callable[[str], Mosquitto], subscribe: Subscribe, caplog: pytest.LogCaptureFixture
) -> None:
    broker = start_mosquitto("allow_anonymous true\nmax_packet_size 400")
    subscribe(broker.port, "edge/n/backlog")

    def odd(record: Record) -> bytes:
        if record.rowid % 10 == 1:
            raise ValueError("the body is not what it was")
        return record.body * (100 if record.rowid % 10 == 2 else 1)

    outbox, clock = Outbox([record(number) for number in range(1, 31)]), simulated()
    worker = uplink(broker.port, outbox, clock, encode=odd)
    run_until(worker, clock, lambda: len(outbox.gone | outbox.aside) == 30)
    assert outbox.aside == {1, 2, 11, 12, 21, 22}
    assert outbox.confirmed.qsize() == 24
    said = [each.getMessage() for each in caplog.records if "set aside" in each.getMessage()]
    assert [each.split("reason=")[1] for each in said] == [
        "'it cannot be encoded: the body is not what it was' first_epoch=77 first_seq=1",
        "'larger than the 400 bytes that the broker takes' first_epoch=77 first_seq=2",
    ]
    assert worker.snapshot().aside_reason == "larger than the 400 bytes that the broker takes"
    worker.stop()


@pytest.mark.broker
def test_a_broker_that_takes_larger_packets_than_before_gets_what_was_too_large(
    start_mosquitto: Callable[[str], Mosquitto], subscribe: Subscribe
) -> None:
    broker = start_mosquitto("allow_anonymous true\nmax_packet_size 400")
    subscriber = subscribe(broker.port, "edge/n/backlog")
    outbox, clock = Outbox([record(1)]), simulated()
    worker = uplink(broker.port, outbox, clock, encode=lambda each: each.body * 100)
    run_until(worker, clock, lambda: outbox.aside == {1})
    broker.settings = "allow_anonymous true\nmax_packet_size 4000"
    broker.restart()
    assert subscriber.subscribed.wait(10)
    run_until(worker, clock, lambda: outbox.gone == {1})
    assert worker.snapshot().aside_reason == ""
    worker.stop()


@pytest.mark.broker
def test_what_a_link_given_up_still_has_to_say_is_not_heard(mosquitto: Mosquitto) -> None:
    outbox, clock = Outbox([record(1)]), simulated()
    worker = uplink(mosquitto.port, outbox, clock)
    run_until(worker, clock, lambda: worker.session.in_flight == 1)
    worker.inbox.put(Heard(0, Puback(1, 0)))
    worker.inbox.put(Heard(0, Puback(2, 0)))
    worker.inbox.put(Heard(0, LinkDown("long ago")))
    worker.step()
    assert outbox.gone == set()
    assert worker.session.state in {LinkState.ONLINE, LinkState.PAUSED}
    worker.stop()


def _level(connection: socket.socket) -> int:
    """The protocol level that a CONNECT asks for."""
    packet = connection.recv(4096)
    return packet[packet.index(b"MQTT") + 4]


@pytest.mark.parametrize(
    ("refusal", "attempts"), [(bytes.fromhex("20020001"), [5, 4]), (b"", [5, 5, 5, 4]), (None, [5, 5, 5, 4])]
)
def test_an_old_broker_is_spoken_to_in_the_old_way_and_asked_anew_after_each_connection(
    fake_broker: FakeBroker, monkeypatch: pytest.MonkeyPatch, refusal: bytes | None, attempts: list[int]
) -> None:
    monkeypatch.setattr(mqtt, "CONNACK_LOOPS", 3 if refusal is None else 30)
    levels: list[int] = []

    def serve(connection: socket.socket) -> None:
        levels.append(_level(connection))
        if levels[-1] == 4:
            connection.sendall(bytes.fromhex("20020000"))
        elif refusal is None:
            connection.recv(1)  # ignores the CONNECT until the other end closes
        else:
            connection.sendall(refusal)

    clock = simulated()
    worker = uplink(fake_broker(serve), Outbox([]), clock)
    rounds = 1 if refusal is None else 2
    run_until(worker, clock, lambda: len(levels) > rounds * len(attempts))
    assert levels[: rounds * len(attempts) + 1] == [*(rounds * attempts), 5]
    worker.stop()


def test_one_silent_end_is_no_reason_to_give_up_mqtt_5(fake_broker: FakeBroker) -> None:
    levels: list[int] = []

    def serve(connection: socket.socket) -> None:
        levels.append(_level(connection))
        if len(levels) % 3 == 0:
            connection.sendall(bytes.fromhex("2003000000"))

    clock = simulated()
    worker = uplink(fake_broker(serve), Outbox([]), clock)
    run_until(worker, clock, lambda: len(levels) == 9)
    assert set(levels) == {5}
    worker.stop()


def test_a_link_that_cannot_be_made_is_tried_again() -> None:
    def broken(_state: str, _most_bytes: int) -> bytes:
        raise RuntimeError("can't start new thread")

    clock, outbox = simulated(), Outbox([])
    worker = uplink(1, outbox, clock, status=broken)
    for _ in range(3):
        deadline_ns = worker.step()
        assert worker.session.state is LinkState.OFFLINE
        assert worker.session.reason == "internal error: can't start new thread"
        assert deadline_ns is not None
        assert deadline_ns > clock.now_ns()
        clock.advance_to(deadline_ns)
    worker.stop()


def test_a_change_of_the_link_is_logged_once(fake_broker: FakeBroker, caplog: pytest.LogCaptureFixture) -> None:
    ends = 0

    def serve(connection: socket.socket) -> None:
        nonlocal ends
        connection.recv(4096)
        connection.sendall(bytes.fromhex("2003008900"))
        ends += 1

    clock = simulated()
    worker = uplink(fake_broker(serve), Outbox([]), clock)
    run_until(worker, clock, lambda: ends >= 5 and worker.session.state is LinkState.OFFLINE)
    assert [each.getMessage() for each in caplog.records] == [
        "uplink offline, records wait in the outbox reason='the broker refuses us: server busy'"
    ]


@pytest.mark.broker
@pytest.mark.parametrize("version", [5, 4])
def test_a_rival_with_the_same_client_id_is_told_once_and_left_alone_for_minutes(
    mosquitto: Mosquitto, caplog: pytest.LogCaptureFixture, version: int
) -> None:
    clock = simulated()
    worker = uplink(mosquitto.port, Outbox([]), clock, versions=(version,))
    for _ in range(6):
        run_until(worker, clock, lambda: worker.session.state is LinkState.ONLINE)
        rival = mqtt.Link(
            Broker("127.0.0.1", mosquitto.port, None, "edge-agent-n", None, None, 30),
            Will("edge/n/rival", b""),
            version,
            lambda _event: None,
        )
        rival.open()
        run_until(worker, clock, lambda: worker.session.state is LinkState.OFFLINE)
        rival.close()
    assert "duplicate client id" in worker.snapshot().reason
    assert sum("duplicate client id" in message for message in caplog.messages) <= 2, "once offline, once online"
    assert clock.now_ns() > 120 * NS_PER_S
    worker.stop()


def test_causes_that_take_turns_are_logged_once_each_until_all_is_well(
    fake_broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    worker = uplink(fake_broker(lambda _connection: None), Outbox([]), simulated())
    well, live, backlog = (LinkState.ONLINE, ""), (LinkState.PAUSED, "of live"), (LinkState.PAUSED, "of backlog")
    some, off = (LinkState.ONLINE, "of live"), (LinkState.OFFLINE, "gone")
    for state, reason in (well, live, backlog, live, backlog, some, backlog, off, live, well, well, live, well):
        worker.session.state, worker.session.reason = state, reason
        worker._log_changes()
    said = [
        each.getMessage().split(" records", maxsplit=1)[0].split(" broker", maxsplit=1)[0] for each in caplog.records
    ]
    assert said == [
        *(
            "uplink online",
            "uplink paused,",
            "uplink paused,",
            "uplink online, but reason='of live'",
            "uplink offline,",
        ),
        *("uplink online", "uplink paused,", "uplink online"),
    ]


class Talkative:
    """Says something before every record, takes every message for a command, and counts what was missed."""

    topics = ("edge/n/cmd",)
    ignored = 0

    def __init__(self) -> None:
        self.misses = 0
        self.before = b"before"

    def will(self) -> Will:
        """A plain one."""
        return Will("edge/n/will", b"will", retain=False)

    def notices(self, occasion: Occasion, _most_bytes: int) -> list[Notice]:
        """What the occasion is."""
        return [self._notice(occasion.value.encode())]

    def parts(self, _lane: Lane, _record: Record, _most_bytes: int) -> tuple[Publication, ...]:
        """It divides nothing."""
        return ()

    def publication(self, _lane: Lane, record: Record, *, alone: bool = False) -> Publication:  # noqa: ARG002
        """Its body; record 7 is too large for anybody, and record 9 at first."""
        too_large = record.rowid == 7 or (record.rowid == 9 and not self.misses)
        payload = record.body * (10_000 if too_large else 1)
        return Publication("edge/n/said", payload, "text/plain", (), before=[self._notice(self.before)])

    def answered(self, _record: Record, *, taken: bool) -> None:
        """Count."""
        self.misses += not taken

    def heard(self, topic: str, payload: bytes) -> list[Command]:
        """A rebirth."""
        assert (topic, payload) == ("edge/n/cmd", b"you")
        return [Rebirth()]

    def _notice(self, payload: bytes) -> Notice:
        return Notice("edge/n/said", payload, retain=False)


@pytest.mark.broker
def test_birth_answers_and_what_comes_before_a_record_are_said_in_their_order(
    mosquitto: Mosquitto, subscribe: Subscribe
) -> None:
    subscriber, clock, outbox, dialect = subscribe(mosquitto.port, "edge/n/said"), simulated(), Outbox([]), Talkative()
    commands: list[Command] = []
    worker = uplink(mosquitto.port, outbox, clock, dialect=dialect, command=commands.append)
    run_until(worker, clock, lambda: worker.session.state is LinkState.ONLINE)
    assert subscriber.next().payload == b"birth"  # the broker knows of our subscription by now
    subscriber.client.publish("edge/n/cmd", b"you", qos=1)
    run_until(worker, clock, lambda: bool(commands))
    assert commands == [Rebirth()]
    worker.inbox.put(PublishStatus(Occasion.BIRTH))
    worker.step()
    outbox.records.append(record(1))
    worker.inbox.put(Stored())
    run_until(worker, clock, lambda: outbox.gone == {1})
    worker.stop()
    assert [subscriber.next().payload for _ in range(4)] == [b"birth", b"before", b"\x01body 1", b"farewell"]


@pytest.mark.broker
def test_a_record_that_is_too_large_only_with_what_is_told_beside_it_arrives_without(
    start_mosquitto: Callable[[str], Mosquitto], subscribe: Subscribe
) -> None:
    broker = start_mosquitto("allow_anonymous true\nmax_packet_size 400")
    subscribe(broker.port, "edge/n/said")
    dialect, clock, outbox = Talkative(), simulated(), Outbox([record(9)])
    worker = uplink(broker.port, outbox, clock, dialect=dialect)
    run_until(worker, clock, lambda: outbox.gone == {9})
    assert outbox.aside == set()
    assert dialect.misses == 1
    worker.stop()


@pytest.mark.broker
def test_a_dialect_hears_of_what_did_not_leave_and_of_what_nobody_got(
    start_mosquitto: Callable[[str], Mosquitto], subscribe: Subscribe
) -> None:
    broker = start_mosquitto("allow_anonymous true\nmax_packet_size 400")
    dialect, clock, outbox = Talkative(), simulated(), Outbox([record(7), record(8)])
    worker = uplink(broker.port, outbox, clock, dialect=dialect)
    run_until(worker, clock, lambda: worker.session.state is LinkState.PAUSED)
    assert (outbox.gone, outbox.aside) == (set(), {7})
    assert dialect.misses == 3  # twice of the one that is too large, for it is tried again with less beside it
    subscribe(broker.port, "edge/n/said")
    run_until(worker, clock, lambda: outbox.gone == {8})
    worker.stop()


@pytest.mark.broker
def test_links_that_carry_records_are_no_reason_to_shorten_the_status(
    mosquitto: Mosquitto, subscribe: Subscribe
) -> None:
    subscriber, clock, outbox, limits = subscribe(mosquitto.port, "edge/n/backlog"), simulated(), Outbox([]), set()

    def status(state: str, most_bytes: int) -> bytes:
        limits.add(most_bytes > 1_000_000)
        return state.encode()

    worker = uplink(mosquitto.port, outbox, clock, status=status)
    for number in range(1, 6):
        outbox.records.append(record(number))
        worker.inbox.put(Stored())
        run_until(worker, clock, lambda number=number: number in outbox.gone)  # type: ignore[misc]
        mosquitto.restart()
        assert subscriber.subscribed.wait(10)
    assert limits == {True}
    worker.stop()


@pytest.mark.broker
def test_what_comes_before_a_record_and_is_too_large_is_left_out(
    start_mosquitto: Callable[[str], Mosquitto], subscribe: Subscribe
) -> None:
    broker = start_mosquitto("allow_anonymous true\nmax_packet_size 400")
    subscribe(broker.port, "edge/n/said")
    outbox, clock, dialect = Outbox([record(1)]), simulated(), Talkative()
    dialect.before = bytes(500)
    worker = uplink(broker.port, outbox, clock, dialect=dialect)
    run_until(worker, clock, lambda: outbox.gone == {1})
    assert worker.session.sent == 1
    worker.stop()
