"""What is odd in the simulated air arrives as events, and in a calm hour there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.program import edge_agent, report_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Mosquitto
    from tests.end_to_end.program import Recorder

ODD = """\
title = "A spike, a wet spell, and a plug pulled for five minutes"
[[step]]
at_s = 1800
do = "air"
sensor = "canopy"
temperature_c = 35.0
[[step]]
at_s = 1801
do = "air"
sensor = "canopy"
[[step]]
at_s = 2400
do = "air"
sensor = "canopy"
humidity_pct = 90.0
[[step]]
at_s = 3000
do = "unplug"
sensor = "air"
[[step]]
at_s = 3300
do = "plug"
sensor = "air"
"""


@pytest.mark.broker
def test_a_spike_a_jump_and_a_gap_arrive_as_events(
    tmp_path: Path, mosquitto: Mosquitto, record: Callable[[int], Recorder]
) -> None:
    (tmp_path / "odd.toml").write_text(ODD, encoding="utf-8")
    recorder = record(mosquitto.port)
    ended = edge_agent(
        *("--simulate", "--speed", "max", "--duration", 3600, "--seed", 3, "--broker", mosquitto.url),
        *("--scenario", tmp_path / "odd.toml", "--report", tmp_path / "report.json"),
    )
    assert ended.code == 0, ended.err
    report = report_of(tmp_path / "report.json")
    recorder.wait_for(lambda each: len(each.identities()) == report["records"]["committed"])
    rows = [row for message in recorder.records() for row in message.objects() if row.get("kind") == "event"]
    told = {(row["subject"], row["state"]) for row in rows if row["event"] == "anomaly"}
    assert {("canopy.temperature_c", "surprise"), ("canopy.humidity_pct", "jump"), ("air.pressure_pa", "gap")} <= told
    assert report["anomalies"]["surprise"] == 1
    assert report["anomalies"]["gap"] == 3


def test_a_calm_hour_is_told_nothing_of(tmp_path: Path) -> None:
    ended = edge_agent("--simulate", "--speed", "max", "--duration", 3600, "--report", tmp_path / "report.json")
    assert ended.code == 0, ended.err
    assert report_of(tmp_path / "report.json")["anomalies"] == {}
