"""Batches by announcement, sent by the program through a real broker to receivers that come, go and come back."""

from __future__ import annotations

import queue
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.wire.batch import Batch
from edge_agent.wire.codec import Known, decode_message
from tests.end_to_end.program import edge_agent, report_of

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from edge_agent.wire.batch import Message
    from tests.conftest import Mosquitto
    from tests.end_to_end.program import Captured, Recorder

RIG: Final = (Path(__file__).parents[2] / "config" / "simulate.toml").read_text(encoding="utf-8")
MORE: Final = """
[[sensor]]
id = "attic"
driver = "sht4x"
address = 0x45
bus = "i2c1"
"""


class PersistentSubscriber:
    """A client whose session the broker keeps while it is away. It subscribes to records alone, not to the status."""

    def __init__(self, port: int) -> None:
        self.payloads: queue.Queue[bytes] = queue.Queue()
        self._port = port
        self._client: paho.Client | None = None

    def come(self) -> None:
        """Connect, and go on with the session that there is."""
        ready: queue.Queue[bool] = queue.Queue()
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id="receiver", protocol=paho.MQTTv5)
        client.on_connect = lambda client, *_: client.subscribe([("edge/+/live", 1), ("edge/+/backlog", 1)])
        client.on_subscribe = lambda *_: ready.put(True)
        client.on_message = lambda _client, _data, message: self.payloads.put(bytes(message.payload))
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 3600
        client.connect("127.0.0.1", self._port, clean_start=False, properties=properties)
        client.loop_start()
        assert ready.get(timeout=10)
        self._client = client

    def go(self) -> None:
        """Disconnect; the session stays."""
        assert self._client is not None
        self._client.disconnect()
        self._client.loop_stop()

    def messages(self, count: int) -> list[Message]:
        """The next messages, each decoded by what those before it taught, and by nothing else."""
        known = Known()
        messages = []
        for _ in range(count):
            messages.append(decode_message(self.payloads.get(timeout=10), known))
            known.learn(messages[-1])
        return messages


def stands_alone(message: Captured) -> bool:
    """Whether its outer element is an array, not a bin."""
    return message.payload[1] < 0xC0


@pytest.mark.broker
def test_what_waited_for_a_receiver_is_readable_although_the_channels_changed_meanwhile(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    receiver = PersistentSubscriber(mosquitto.port)
    receiver.come()
    receiver.go()
    reports: list[dict[str, Any]] = []
    for name, text in (("few", RIG), ("more", RIG + MORE), ("again", RIG)):
        (tmp_path / name).write_text(text)
        ended = edge_agent(
            *("--simulate", "--speed", "max", "--duration", 600, "--config", tmp_path / name),
            *("--broker", mosquitto.url, "--state-dir", tmp_path / "state", "--report", tmp_path / "report.json"),
        )
        assert ended.code == 0, ended.err
        reports.append(report_of(tmp_path / "report.json"))
    receiver.come()
    messages = receiver.messages(sum(report["records"]["committed"] for report in reports))
    receiver.go()
    assert len({message.envelope.epoch for message in messages}) == 3
    assert sum(message.announcement is not None for message in messages) == 3
    readings = Counter(
        (message.envelope.epoch, group.sensor)
        for message in messages
        if isinstance(message.content, Batch)
        for group in message.content.groups
        for column in group.columns
        for _value in column.values
    )
    assert readings.total() == sum(report["readings"]["sampled"] for report in reports)
    assert {epoch for epoch, sensor in readings if sensor == "attic"} == {reports[1]["epoch"]}


@pytest.mark.broker
def test_whoever_comes_later_reads_at_once_what_the_retained_status_announces(
    mosquitto: Mosquitto,
    record: Callable[..., Recorder],
    start_edge_agent: Callable[..., subprocess.Popen[str]],
) -> None:
    first = record(mosquitto.port)
    start_edge_agent("--simulate", "--speed", 300, "--broker", mosquitto.url)
    first.wait_for(lambda each: len(each.records()) >= 3)
    later = record(mosquitto.port)
    later.wait_for(lambda each: len(each.records()) >= 2)
    assert not any(stands_alone(message) for message in later.records()[:2])
    assert all(message.objects() for message in later.records()[:2])


@pytest.mark.broker
@pytest.mark.parametrize(("names", "alone"), [("announced", [True] + [False] * 4), ("inline", [True] * 5)])
def test_names_are_said_once_or_in_each_message_as_configured(
    names: str, alone: list[bool], mosquitto: Mosquitto, record: Callable[..., Recorder], tmp_path: Path
) -> None:
    recorder = record(mosquitto.port)
    config, report = tmp_path / "config.toml", tmp_path / "report.json"
    config.write_text(f'{RIG}\n[batch]\nnames = "{names}"\n')
    ended = edge_agent(
        *("--simulate", "--speed", "max", "--duration", 300, "--config", config, "--broker", mosquitto.url),
        *("--report", report),
    )
    assert ended.code == 0, ended.err
    recorder.wait_for(lambda each: len(each.records()) == 5)
    assert [stands_alone(message) for message in recorder.records()] == alone
    assert report_of(report)["bytes"]["wire"] == sum(len(message.payload) for message in recorder.records())


@pytest.mark.broker
def test_a_capture_of_everything_is_printed_whole(
    mosquitto: Mosquitto, record: Callable[..., Recorder], tmp_path: Path
) -> None:
    recorder = record(mosquitto.port)
    report = tmp_path / "report.json"
    ended = edge_agent(
        *("--simulate", "--speed", "max", "--duration", 600, "--broker", mosquitto.url, "--report", report)
    )
    assert ended.code == 0, ended.err
    recorder.wait_for(lambda each: each.messages[-1].payload.startswith(b'{"state":"stopped"'))
    capture = tmp_path / "capture"
    lines = [f"{message.topic} {message.payload.hex()}\n" for message in recorder.messages]
    capture.write_text("".join(reversed(lines)))
    printed = edge_agent("decode", capture)
    assert (printed.code, printed.err) == (0, "")
    readings = [line for line in printed.out.splitlines() if not line.startswith('{"kind"')]
    assert len(readings) == report_of(report)["readings"]["sampled"]
