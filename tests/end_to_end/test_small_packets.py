"""A broker that takes small packets only, and a gateway with so many sensors that its status is larger than that."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import pytest

from edge_agent.wire.batch import Batch, StatusText
from edge_agent.wire.codec import Known
from tests.end_to_end.program import edge_agent, report_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Mosquitto
    from tests.end_to_end.program import Recorder

LIMIT_BYTES: Final = 4096
SENSORS: Final = "".join(
    f"""
[[sensor]]
id = "sensor-{number:02}"
driver = "sht4x"
bus = "i2c1"
mux = {0x70 + number // 8}
mux_channel = {number % 8}
period_s = 10
location = "bed {number}"
[sensor.temperature_c]
certificate = "DKD-2026-{number:05}"
calibrated_on = "2026-01-15"
"""
    for number in range(20)
)
CONFIG: Final = f'[gateway]\nid = "greenhouse"\n[bus.i2c1]\ndevice = "/dev/i2c-1"\n{SENSORS}'


@pytest.mark.broker
@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_everything_arrives_although_the_status_is_larger_than_the_broker_takes(
    start_mosquitto: Callable[[str], Mosquitto], record: Callable[..., Recorder], tmp_path: Path, protocol: str
) -> None:
    broker = start_mosquitto(f"allow_anonymous true\nmax_packet_size {LIMIT_BYTES}")
    recorder = record(broker.port)
    config, report = tmp_path / "config.toml", tmp_path / "report.json"
    config.write_text(f'{CONFIG}\n[uplink]\nprotocol = "{protocol}"\n')
    ended = edge_agent(
        *("--simulate", "--speed", "max", "--duration", 1320, "--config", config, "--broker", broker.url),
        *("--report", report),
    )
    assert ended.code == 0, ended.err
    records = report_of(report)["records"]
    assert records["committed"] == records["confirmed"] >= 22
    recorder.wait_for(lambda each: len(each.identities()) == records["committed"])
    statuses = [json.loads(each.payload) for each in recorder.messages if each.topic.endswith("/status")]
    births = [each for each in statuses if each["state"] == "online"]
    assert all(each["shortened"] for each in births)
    assert all(len(each.payload) < LIMIT_BYTES for each in recorder.messages)
    known = Known()
    known.learn(StatusText(births[-1]))
    assert len(known.announcements) == 1, "what batches refer to is still announced"


@pytest.mark.broker
def test_batches_that_are_too_large_are_sent_in_parts_and_later_ones_become_shorter(
    start_mosquitto: Callable[[str], Mosquitto], record: Callable[..., Recorder], tmp_path: Path
) -> None:
    broker = start_mosquitto("allow_anonymous true\nmax_packet_size 1500")
    recorder = record(broker.port)
    config, report = tmp_path / "config.toml", tmp_path / "report.json"
    config.write_text(CONFIG.replace("period_s = 10", "period_s = 1"))
    ended = edge_agent(
        *("--simulate", "--speed", "max", "--duration", 900, "--config", config, "--broker", broker.url),
        *("--report", report),
    )
    assert ended.code == 0, ended.err
    assert 1 <= ended.err.count("sealed earlier") <= 4
    told = report_of(report)
    records = told["records"]
    assert records["set_aside"] == records["pending"] == 0
    assert records["confirmed"] == records["committed"] > 20
    recorder.wait_for(lambda each: len(each.identities()) == records["committed"])
    parts = [message for each in recorder.records() if (message := each.message()).rows is not None]
    divided = {message.envelope.seq for message in parts}
    assert 1 <= len(divided) <= 4
    cells = 0
    for each in recorder.records():
        content = each.message().content
        if isinstance(content, Batch):
            cells += sum(column.cells_sent() for group in content.groups for column in group.columns)
    assert cells == told["readings"]["sampled"], "every reading once"
