"""Every message of the node goes to a host that is not ours; it asserts the rules of the specification by itself."""

from __future__ import annotations

import json
import sys

import pytest
from esio_spb_builder.core.sparkplug_b_pb2 import Payload

from edge_agent.agent.dialect import dialect_of
from edge_agent.clock import ClockQuality
from edge_agent.config.load import parse_config
from edge_agent.errors import Unavailable
from edge_agent.reading import Lane, Record, RecordKind
from edge_agent.uplink.command import Rebirth
from edge_agent.uplink.dialect import Notice, Occasion
from edge_agent.uplink.dialects.sparkplug_node import SparkplugNode
from edge_agent.uplink.packet import publish_bytes
from edge_agent.uplink.terms import LARGEST_PACKET_BYTES
from edge_agent.wire.batch import Batch, Column, Group
from edge_agent.wire.encode import encode_batch, encode_message
from edge_agent.wire.formats.sparkplug_b import FEATURES
from edge_agent.wire.rows import objects
from tests.uplink.dialects.sparkplug_host import Host, Value
from tests.wire.samples import ENVELOPE, MESSAGES, encoded

NOW_MS = 1_767_225_700_000


class Gateway:
    """A node and the host that hears it."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS
        self.node = SparkplugNode(
            group="growers",
            node="node-1",
            channels=[("air", "temperature_c"), ("air", "soil_pct"), ("roof", "pressure_pa")],
            about={"Site": "farm-7", "Location": ""},
            encode=lambda record: record.body,
            wall_ns=lambda: self.now_ms * 1_000_000,
        )
        self.host = Host("growers", "node-1")

    def connect(self) -> None:
        """As the uplink does."""
        self.will = self.node.will()
        self.say(*self.node.notices(Occasion.BIRTH, LARGEST_PACKET_BYTES))

    def say(self, *notices: Notice) -> None:
        """Let the host hear them."""
        for each in notices:
            assert not each.retain
            self.host.hear(each.topic, each.payload)

    def send(self, message: bytes, lane: Lane = Lane.LIVE) -> list[Value]:
        """Publish a record; returns what the host made of it."""
        said = self.node.publication(lane, Record(1, 3, 42, RecordKind.BATCH, 2, 0, ClockQuality.SYNCED, 4, message))
        self.say(*said.before)
        known = len(self.host.data)
        self.host.hear(said.topic, said.payload)
        assert self.host.lapses == 0
        return self.host.data[known:]


@pytest.fixture
def gateway() -> Gateway:
    gateway = Gateway()
    gateway.connect()
    return gateway


def batch(sensor: str, quantity: str, *values: float) -> bytes:
    column = Column(quantity, values, None, (0,) * len(values), None)
    stamps = tuple(10_000_000_000 + row * 1_000_000_000 for row in range(len(values)))
    return encode_message(RecordKind.BATCH, ENVELOPE, encode_batch(Batch((Group(sensor, stamps, (column,)),))))


def test_a_birth_names_every_metric_with_unit_and_type_and_null_for_what_nobody_knows_yet(
    gateway: Gateway,
) -> None:
    (birth,) = gateway.host.births
    assert birth["Properties/Site"].value == "farm-7"
    temperature = birth["air/temperature_c"]
    assert (temperature.value, temperature.properties) == (None, (("engUnit", "°C"),))
    assert {"air/temperature_c/raw", "roof/pressure_pa/mean", "clock", "event", "tombstone"} <= birth.keys()
    assert len(birth) == 5 + 3 + 3 * (2 + len(FEATURES))


def test_a_batch_is_one_message_of_values_with_their_own_times(gateway: Gateway) -> None:
    first_ms = 1_767_225_600_000
    clock, *values = gateway.send(encoded("v2-small"))
    assert (clock.name, clock.value) == ("clock", "synced")
    assert [(value.name, value.t_ms - first_ms, value.value) for value in values] == [
        ("air/temperature_c", 0, 21.5),
        ("air/temperature_c", 1000, 21.51),
        ("air/temperature_c", 2000, 21.51),
        ("air/temperature_c", 3001, 21.49),
    ]
    assert not any(value.historical or value.properties for value in values)


def test_what_is_not_good_says_so_and_what_has_no_value_is_null(gateway: Gateway) -> None:
    values = gateway.send(encoded("v2-full"))
    odd = [(value.value, dict(value.properties)) for value in values if value.properties]
    assert odd == [
        (None, {"Quality": 0, "status": "bad no_value"}),
        (21.625, {"Quality": 192, "status": "estimated too_fast outlier"}),
    ]
    told = {value.name: value.value for value in values}
    assert told["air/temperature_c/count"] == 2
    assert told["air/temperature_c/slope_per_s"] == 0.0625
    assert [value.value for value in values if value.name == "air/temperature_c/raw"] == [21.7, 85.0]


@pytest.mark.parametrize("kind", ["event", "tombstone"])
def test_events_and_tombstones_are_told_whole(gateway: Gateway, kind: str) -> None:
    _clock, told = gateway.send(encoded(f"v2-{kind}"))
    assert told.name == kind
    assert isinstance(told.value, str)
    assert [json.loads(told.value)] == list(objects(MESSAGES[f"v2-{kind}"][1]))


def test_the_backlog_is_historical_and_no_news(gateway: Gateway) -> None:
    gateway.send(batch("air", "temperature_c", 1.0, 2.0))
    assert all(value.historical for value in gateway.send(batch("air", "temperature_c", 7.0), Lane.BACKLOG))
    gateway.connect()
    assert gateway.host.births[-1]["air/temperature_c"].value == 2.0


def test_numbers_go_round_after_255(gateway: Gateway) -> None:
    for _ in range(600):
        gateway.send(encoded("v2-small"))
    assert gateway.host.seq == 600 % 256


def test_after_a_message_that_nobody_heard_the_node_is_born_again(gateway: Gateway) -> None:
    record = Record(1, 3, 42, RecordKind.BATCH, 2, 0, ClockQuality.SYNCED, 4, encoded("v2-small"))
    gateway.node.publication(Lane.LIVE, record)
    gateway.node.answered(record, taken=False)
    gateway.send(encoded("v2-small"))
    gateway.send(encoded("v2-small"))
    assert gateway.host.kinds == ["NBIRTH", "NBIRTH", "NDATA", "NDATA"]
    assert gateway.host.bd_seq == 0


def test_every_connection_has_the_next_death_number_and_its_birth_the_same(gateway: Gateway) -> None:
    for number in range(1, 300):
        gateway.connect()
        assert gateway.host.bd_seq == number % 256
        assert Payload.FromString(gateway.will.payload).metrics[0].long_value == number % 256
    assert (gateway.will.topic, gateway.will.retain) == ("spBv1.0/growers/NDEATH/node-1", False)
    gateway.host.hear(gateway.will.topic, gateway.will.payload)
    assert not gateway.host.online


def test_a_goodbye_is_a_death_and_a_heartbeat_nothing(gateway: Gateway) -> None:
    assert gateway.node.notices(Occasion.HEARTBEAT, LARGEST_PACKET_BYTES) == ()
    gateway.say(*gateway.node.notices(Occasion.FAREWELL, LARGEST_PACKET_BYTES))
    assert not gateway.host.online


def test_a_host_that_asks_gets_the_birth_again_with_the_same_death_number(gateway: Gateway) -> None:
    assert gateway.node.topics == ("spBv1.0/growers/NCMD/node-1",)
    gateway.connect()
    gateway.send(encoded("v2-small"))
    command = Payload(timestamp=NOW_MS)
    command.metrics.add(name="Node Control/Rebirth", timestamp=NOW_MS, datatype=11, boolean_value=True)
    assert gateway.node.heard("spBv1.0/growers/NCMD/node-1", command.SerializeToString()) == (Rebirth(),)
    gateway.say(*gateway.node.notices(Occasion.BIRTH, LARGEST_PACKET_BYTES))
    assert (gateway.host.seq, gateway.host.bd_seq, len(gateway.host.births)) == (0, 1, 3)
    assert gateway.host.births[-1]["air/temperature_c"].value == 21.49
    gateway.send(encoded("v2-small"))


@pytest.mark.parametrize("value", [False, None])
def test_other_commands_are_ignored_and_so_is_noise(gateway: Gateway, value: bool | None) -> None:
    command = Payload(timestamp=NOW_MS)
    name = "Node Control/Rebirth" if value is False else "Node Control/Reboot"
    command.metrics.add(name=name, timestamp=NOW_MS, datatype=11, boolean_value=value is None)
    assert gateway.node.heard("spBv1.0/growers/NCMD/node-1", command.SerializeToString()) == ()
    assert gateway.node.heard("spBv1.0/growers/NCMD/node-1", b"\xff\xff not a payload") == ()


def test_a_metric_that_nobody_announced_is_born_before_its_data(gateway: Gateway) -> None:
    _clock, told = gateway.send(batch("cellar", "humidity_pct", 61.5))
    assert (told.name, told.value) == ("cellar/humidity_pct", 61.5)
    assert gateway.host.kinds == ["NBIRTH", "NBIRTH", "NDATA"]
    gateway.send(batch("cellar", "humidity_pct", 61.5))
    assert gateway.host.kinds[-2:] == ["NDATA", "NDATA"]


def test_identity_travels_beside_it(gateway: Gateway) -> None:
    record = Record(1, 3, 42, RecordKind.BATCH, 2, 0, ClockQuality.SYNCED, 4, encoded("v2-small"))
    said = gateway.node.publication(Lane.LIVE, record)
    assert tuple(said.user_properties) == (("epoch", "3"), ("seq", "42"), ("n", "4"), ("v", "spBv1.0"))


def test_without_its_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if "sparkplug" in name and name.startswith("edge_agent")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    config = parse_config('[gateway]\nid = "g"\n[uplink]\nformat = "sparkplug-b"\n')
    with pytest.raises(Unavailable, match=r"pip install 'edge-agent-gateway\[sparkplug\]'"):
        dialect_of(
            config,
            encode=lambda record: record.body,
            status=lambda state, _most_bytes: state.encode(),
            wall_ns=lambda: 0,
        )


def test_a_birth_that_is_too_large_leaves_out_the_features_and_says_so(gateway: Gateway) -> None:
    (full,) = gateway.node.notices(Occasion.BIRTH, LARGEST_PACKET_BYTES)
    (brief,) = gateway.node.notices(Occasion.BIRTH, publish_bytes(full.topic, full.payload) - 1)
    assert len(brief.payload) < len(full.payload) / 2
    gateway.say(brief)
    told = gateway.host.births[-1]
    assert told["Properties/Shortened"].value is True
    assert "air/temperature_c" in told
    assert not any(name.endswith(tuple(f"/{feature}" for feature in FEATURES)) for name in told)
    assert gateway.node.publication(Lane.LIVE, _record(encoded("v2-small"))).before == (), "it is born nevertheless"


def test_a_birth_of_exactly_the_limit_is_not_shortened(gateway: Gateway) -> None:
    (full,) = gateway.node.notices(Occasion.BIRTH, LARGEST_PACKET_BYTES)
    (same,) = gateway.node.notices(Occasion.BIRTH, publish_bytes(full.topic, full.payload))
    assert same == full


def _record(message: bytes) -> Record:
    return Record(1, 3, 42, RecordKind.BATCH, 2, 0, ClockQuality.SYNCED, 4, message)
