"""A backlog that drains through a slow link while live records come: how long they take."""

from __future__ import annotations

import json
import queue
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.clock import NS_PER_S, Anchor, ClockQuality, SystemClock
from edge_agent.outbox.outbox import Content, Encode, Outbox
from edge_agent.outbox.schema import StoreSettings
from edge_agent.outbox.worker import Commit, Confirm, HandOut, Readmit, Rewind, SetAside, Store, StoreWorker
from edge_agent.reading import RecordKind
from edge_agent.runtime import Threads
from edge_agent.uplink.dialects.own_topics import OwnTopics
from edge_agent.uplink.mqtt import Broker
from edge_agent.uplink.session import Session
from edge_agent.uplink.worker import Offered, OutboxSide, Stored, UplinkWorker
from edge_agent.wire.formats.registry import rewriter

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.uplink.pace import Limits

OVERHEAD_BYTES: Final = 120
"""MQTT and its properties around a payload."""
NAME_BYTES: Final = 8


@dataclass(frozen=True)
class Drained:
    """Result of a run.

    Attributes:
        lags_s: of each live record, from its commit to its arrival behind the broker.
        drained_s: time until the whole backlog had arrived; None if the run ended before.
        arrived: number of records that arrived, repeated ones included.
        distinct: number of different ones.
        eta_s: what the session said in the middle of the run about the time that the backlog took from then on.
    """

    lags_s: list[float]
    drained_s: float | None
    arrived: int
    distinct: int
    eta_s: float | None


class Gateway:
    """Store and uplink with a backlog, connected to `port`; a subscriber at `broker_port` sees what arrives.

    Args:
        directory: of the outbox.
        port: where the uplink connects.
        broker_port: where the subscriber connects.
        backlog: number of records that wait at the start.
        body_bytes: size of each record.
        limits: configured limits.
    """

    def __init__(
        self, directory: Path, port: int, broker_port: int, backlog: int, body_bytes: int, limits: Limits
    ) -> None:
        self.clock = SystemClock()
        self.arrivals: queue.Queue[tuple[int, int]] = queue.Queue()
        self._body_bytes = body_bytes
        self._subscriber = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        ready: queue.Queue[bool] = queue.Queue()
        self._subscriber.on_connect = lambda client, *_: client.subscribe([("edge/n/live", 1), ("edge/n/backlog", 1)])
        self._subscriber.on_subscribe = lambda *_: ready.put(True)
        self._subscriber.on_message = lambda _client, _data, message: self.arrivals.put(
            (int.from_bytes(message.payload[:NAME_BYTES], "big"), self.clock.now_ns())
        )
        self._subscriber.connect("127.0.0.1", broker_port)
        self._subscriber.loop_start()
        assert ready.get(timeout=10)
        self.outbox = Outbox(
            directory,
            StoreSettings(256 << 20, durable=False),
            boot_id="b",
            anchor=Anchor(0, ClockQuality.SYNCED, 0),
            rng=random.Random(1),
            encode=Encode(lambda dropped: dropped.reason.encode(), b"+".join),
        )
        for name in range(backlog):
            self.outbox.add(self.content(name))
        self.outbox.commit()
        self.store = StoreWorker(
            self.outbox,
            self.clock,
            durability_ns=10 * NS_PER_S,
            offer=lambda records: self.uplink.inbox.put(Offered(records)),
            committed=lambda: self.uplink.inbox.put(Stored()),
        )
        put = self.store.inbox.put_always
        self.uplink = UplinkWorker(
            broker=Broker("127.0.0.1", port, None, "edge-agent-n", None, None, 30),
            dialect=OwnTopics(
                "edge/n",
                encode=lambda record: record.body,
                rewrite=rewriter("batch"),
                status=lambda state, _most_bytes: json.dumps({"state": state, "about": "x" * 500}).encode(),
            ),
            versions=(5,),
            session=Session(in_flight_limit=16, ack_timeout_ns=60 * NS_PER_S, rng=random.Random(3), limits=limits),
            outbox=OutboxSide(
                rewind=lambda: put(Rewind()),
                hand_out=lambda limit, backlog: put(HandOut(limit, backlog)),
                confirm=lambda record: put(Confirm(record)),
                set_aside=lambda record: put(SetAside(record)),
                readmit=lambda: put(Readmit()),
            ),
            clock=self.clock,
        )
        self._threads = Threads([self.store, self.uplink], self.clock)

    def content(self, name: int) -> Content:
        """A record that says its name and cannot be compressed."""
        body = name.to_bytes(NAME_BYTES, "big") + random.Random(name).randbytes(self._body_bytes - NAME_BYTES)
        return Content(RecordKind.BATCH, 10, name, name, body)

    def start(self) -> None:
        """Begin to send."""
        self._threads.start()

    def live(self, name: int) -> None:
        """Commit a fresh record."""
        self.store.inbox.put(Store(self.content(name)))
        self.store.inbox.put(Commit())

    def stop(self) -> None:
        """End everything."""
        self._threads.stop(5)
        assert self._threads.failures == 0
        self.uplink.stop()
        self.outbox.close()
        self._subscriber.disconnect()
        self._subscriber.loop_stop()


def drain(gateway: Gateway, backlog: int, *, lives: int, every_s: float, most_s: float) -> Drained:
    """Let a gateway drain while a live record comes every `every_s`; ends when all has arrived, or after `most_s`."""
    clock = gateway.clock
    begin_ns = clock.now_ns()
    committed: dict[int, int] = {}
    arrived: dict[int, int] = {}
    count, eta_s = 0, None
    gateway.start()
    while clock.now_ns() < begin_ns + round(most_s * NS_PER_S) and len(arrived) < backlog + lives:
        due = len(committed)
        if due < lives and clock.now_ns() >= begin_ns + round((due + 1) * every_s * NS_PER_S):
            committed[backlog + due] = clock.now_ns()
            gateway.live(backlog + due)
        rate = gateway.uplink.session.records_per_s
        if eta_s is None and rate is not None and len(arrived) * 2 >= backlog:
            eta_s = (backlog - len(arrived)) / rate
        try:
            name, at_ns = gateway.arrivals.get(timeout=0.02)
        except queue.Empty:
            continue
        arrived.setdefault(name, at_ns)
        count += 1
    lags = [(arrived[name] - committed[name]) / NS_PER_S for name in committed if name in arrived]
    waited = [arrived[name] for name in range(backlog) if name in arrived]
    drained_s = (max(waited) - begin_ns) / NS_PER_S if len(waited) == backlog else None
    return Drained(lags, drained_s, count, len(arrived), eta_s)
