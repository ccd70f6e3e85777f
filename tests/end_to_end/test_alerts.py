"""Rules as a person meets them: what arrives, in which order, and what a restart makes of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.end_to_end.program import edge_agent, report_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Mosquitto
    from tests.end_to_end.program import Recorder

CONFIG = """
[gateway]
id = "gw"
[bus.i2c1]
device = "/dev/i2c-1"
[[sensor]]
id = "air"
driver = "bme280"
bus = "i2c1"
[[sensor]]
id = "canopy"
driver = "sht3x"
bus = "i2c1"
[[alert]]
name = "too hot"
when = "air.temperature_c > 40"
for_s = 60
clear = 38
severity = "critical"
message = "{value:.1f}{unit} in the north house"
[[alert]]
when = "canopy offline"
for_s = 30
"""
HOT_FROM_120_S = """
[[step]]
at_s = 120
do = "air"
sensor = "air"
temperature_c = 45.0
[[step]]
at_s = 100
do = "unplug"
sensor = "canopy"
[[step]]
at_s = 200
do = "plug"
sensor = "canopy"
"""
DEAD = "mqtt://127.0.0.1:1"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Simulates ten minutes on one state, with or without what goes wrong, and returns the report."""
    config, scenario = tmp_path / "edge-agent.toml", tmp_path / "hot.toml"
    config.write_text(CONFIG)
    scenario.write_text(HOT_FROM_120_S)

    def simulate(broker: str, start: str, *more: object) -> dict[str, Any]:
        ended = edge_agent(
            *("--simulate", "--config", config, "--speed", "max", "--duration", 600, "--broker", broker),
            *("--start", start, "--state-dir", tmp_path / "state", "--report", tmp_path / "r.json", *more),
        )
        assert ended.code == 0, ended.err
        return report_of(tmp_path / "r.json")

    simulate.hot = ("--scenario", scenario)  # type: ignore[attr-defined]
    return simulate


def alerts(recorder: Recorder) -> list[dict[str, Any]]:
    rows = [row for message in recorder.records() for row in message.objects()]
    return [row for row in rows if row.get("event") == "alert"]


@pytest.mark.broker
def test_rules_fire_once_leave_before_everything_else_and_end_in_a_later_run(
    mosquitto: Mosquitto, record: Callable[[int], Recorder], run: Any
) -> None:
    # Nobody takes anything: ten minutes wait in the outbox.
    report = run(DEAD, "2026-01-01T00:00:00Z", *run.hot)
    assert report["alerts"] == 2
    assert report["records"]["pending"] == report["records"]["committed"] >= 10

    recorder = record(mosquitto.port)
    report = run(mosquitto.url, "2026-01-01T00:10:00Z")
    assert (report["alerts"], report["records"]["pending"]) == (0, 0)
    recorder.wait_for(lambda each: len(each.identities()) == report["records"]["committed"])
    births = [json.loads(each.payload) for each in recorder.messages if each.topic.endswith("/status")]
    assert births[0]["alerts"] == ["too hot"], "who looks at the status sees what is firing"
    assert [birth["alerts"] for birth in births if birth["state"] == "online"][-1] == []
    told = alerts(recorder)
    assert [(row["subject"], row["state"], row["severity"]) for row in told] == [
        ("canopy offline", "firing", "warning"),
        ("too hot", "firing", "critical"),
        ("canopy offline", "resolved", "warning"),
        ("too hot", "resolved", "critical"),  # of the second run, whose air is cool
    ]
    assert told[1]["cause"].startswith("4")
    assert told[1]["cause"].endswith(" °C in the north house")
    assert told[2]["cause"] == "canopy is sampling: canopy offline"
    # The rule asks for a minute above 40: two minutes and one after the start.
    assert told[1]["t"] > "2026-01-01T00:03:00"
    assert told[1]["t"] < "2026-01-01T00:03:10"
    kinds = [message.topic.rsplit("/", 1)[1] for message in recorder.records()]
    assert kinds[:3] == ["event", "event", "event"]
    assert [row["subject"] for message in recorder.records()[:3] for row in message.objects()] == [
        row["subject"] for row in told[:3]
    ]
