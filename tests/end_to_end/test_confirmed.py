"""The program with `ack = "receiver"`, a real broker, and a receiver of a few lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.wire.codec import Known, decode_message
from tests.end_to_end.program import edge_agent, report_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Mosquitto
    from tests.end_to_end.program import Recorder

RIG: Final = (Path(__file__).parents[2] / "config" / "simulate.toml").read_text(encoding="utf-8")


class Receiver:
    """Confirms every record but those of some seqs, once it has them."""

    def __init__(self, port: int, name: str = "lab", *, lacks: frozenset[int] = frozenset()) -> None:
        self.have: dict[int, set[int]] = {}
        self._name, self._lacks, self._known = name, lacks, Known()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.on_message = lambda _client, _data, message: self._hear(bytes(message.payload))
        self._client.connect("127.0.0.1", port)
        self._client.subscribe([(f"edge/greenhouse/{each}", 1) for each in ("live", "backlog", "event")])
        self._client.loop_start()

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _hear(self, payload: bytes) -> None:
        message = decode_message(payload, self._known)
        self._known.learn(message)
        if message.envelope.seq not in self._lacks:
            self.have.setdefault(message.envelope.epoch, set()).add(message.envelope.seq)
        acks = [
            {"epoch": epoch, "upto": 0, "ranges": [[seq, seq] for seq in sorted(seqs)]}
            for epoch, seqs in self.have.items()
        ]
        said = json.dumps({"v": 1, "acks": acks})
        self._client.publish(f"edge/greenhouse/ack/{self._name}", said, qos=1, retain=True)


@pytest.mark.broker
def test_records_are_kept_until_the_receiver_has_them_and_come_again_at_the_next_start(
    mosquitto: Mosquitto, record: Callable[..., Recorder], tmp_path: Path
) -> None:
    recorder = record(mosquitto.port, "edge/greenhouse/+")
    config, report = tmp_path / "config.toml", tmp_path / "report.json"
    config.write_text(f'{RIG}\n[uplink]\nack = "receiver"\nreceivers = ["lab"]\n')
    arguments = (
        *("--simulate", "--speed", "max", "--config", config, "--broker", mosquitto.url),
        *("--state-dir", tmp_path / "state", "--report", report),
    )
    receiver = Receiver(mosquitto.port, lacks=frozenset({3}))
    other = Receiver(mosquitto.port, "somebody")
    ended = edge_agent(*arguments, "--duration", 300)
    assert ended.code == 0, ended.err
    first = report_of(report)
    records = first["records"]
    assert records["pending"] == 1, "the broker has it, and the receiver has not"
    assert records["confirmed"] == records["committed"] - 1
    receiver.close()
    other.close()

    receiver = Receiver(mosquitto.port)
    ended = edge_agent(*arguments, "--duration", 120)
    assert ended.code == 0, ended.err
    second = report_of(report)
    assert second["records"]["pending"] == 0
    assert receiver.have[first["epoch"]] == {3}
    assert recorder.identities()[first["epoch"], 3] >= 2
    receiver.close()
