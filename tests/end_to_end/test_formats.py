"""Each format, sent by the program through a real broker, read by somebody else, and held against what was committed.

What was committed is known from a second run with the same seed, in our own format: its readings are the same.
"""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from line_protocol_parser import parse_line

from edge_agent.clock import NS_PER_S, SystemClock
from tests.end_to_end.program import edge_agent, report_of
from tests.uplink.dialects.sparkplug_host import Host
from tests.wire.formats.senml_reader import read

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable

    from tests.conftest import Mosquitto
    from tests.end_to_end.program import Captured, Recorder

RIG: Final = (Path(__file__).parents[2] / "config" / "simulate.toml").read_text(encoding="utf-8") + (
    "[sensor.humidity_pct]\nrange = [0, 82.4]\n"  # of the last sensor there: some of its readings are bad
)
DURATION_S: Final = 300
UNITS: Final = {"temperature_c": "Cel", "humidity_pct": "%RH", "pressure_pa": "Pa"}


SESSION: Final = ("NBIRTH", "NDATA", "NDEATH")
START_NS: Final = 1_767_225_600 * NS_PER_S
"""When simulated time begins."""
END_NS: Final = START_NS + 7200 * NS_PER_S


class Reading(NamedTuple):
    """One reading, however it was written."""

    sensor: str
    quantity: str
    t_ns: int
    value: float | None
    raw: float | None
    doubt: str


def of_objects(rows: Iterable[dict[str, Any]]) -> set[Reading]:
    """From objects with the keys that `edge-agent decode` prints."""
    return {
        Reading(
            row["sensor"],
            row["quantity"],
            row["t_ns"],
            row["value"],
            row["raw"],
            " ".join([row["quality"], *row["flags"]]) if row["flags"] else "",
        )
        for row in rows
    }


def of_batches(messages: list[Captured]) -> set[Reading]:
    return of_objects(row for message in messages for row in message.objects() if "kind" not in row)


def of_json(messages: list[Captured]) -> set[Reading]:
    documents = [json.loads(message.payload) for message in messages]
    return of_objects(row for document in documents for row in document.get("readings", ()))


def of_influx(messages: list[Captured]) -> set[Reading]:
    points = [parse_line(line) for message in messages for line in message.payload.decode().splitlines()]
    found = set()
    for point in points:
        if point["measurement"] in {"event", "features", "tombstone"}:
            continue
        fields = point["fields"]
        for quantity in {name.removesuffix("_raw").removesuffix("_flags") for name in fields}:
            flags = fields.get(f"{quantity}_flags")
            doubt = f"{point['tags']['quality']} {flags}" if flags else ""
            value, raw = fields.get(quantity), fields.get(f"{quantity}_raw")
            found.add(Reading(point["measurement"], quantity, point["time"], value, raw, doubt))
    return found


def of_senml(messages: list[Captured]) -> set[Reading]:
    cells: dict[tuple[str, str, int], dict[str, Any]] = {}
    for message in messages:
        for record in read(message.payload):
            match record.name.split("/"):
                case ["edge", "greenhouse", ("air" | "canopy" | "soil" | "outside") as sensor, quantity, *part]:
                    assert record.unit in {UNITS[quantity], None}
                    cells.setdefault((sensor, quantity, record.t_ns), {})["".join(part)] = record.value
    return {
        Reading(*place, cell.get(""), cell.get("raw"), cell.get("quality", ""))
        for place, cell in cells.items()
        if cell.keys() & {"", "raw", "quality"}
    }


def of_sparkplug(messages: list[Captured]) -> set[Reading]:
    host = Host("edge-agent", "greenhouse")
    for message in messages:
        host.hear(message.topic, message.payload)
    assert host.lapses == 0
    return of_host(host)


def of_host(host: Host) -> set[Reading]:
    """What a host has got as data; the stamps of this rig are whole milliseconds."""
    cells: dict[tuple[str, str, int], dict[str, Any]] = {}
    for value in host.data:
        match value.name.split("/"):
            case [sensor, quantity]:
                cell = cells.setdefault((sensor, quantity, value.t_ms * 1_000_000), {})
                cell.update(value=value.value, doubt=dict(value.properties).get("status", ""))
            case [sensor, quantity, "raw"]:
                cells.setdefault((sensor, quantity, value.t_ms * 1_000_000), {})["raw"] = value.value
    return {Reading(*place, cell["value"], cell.get("raw"), cell["doubt"]) for place, cell in cells.items()}


def before(end_ns: int, readings: set[Reading]) -> set[Reading]:
    return {reading for reading in readings if reading.t_ns < end_ns}


def send(form: str, broker: Mosquitto, recorder: Recorder, tmp_path: Path) -> dict[str, Any]:
    """Run the program in this format, until everything has arrived; returns its report."""
    config = tmp_path / f"{form}.toml"
    config.write_text(f'{RIG}\n[uplink]\nformat = "{form}"\n')
    report = tmp_path / f"{form}.json"
    ended = edge_agent(
        *("--simulate", "--scenario", "bad-day", "--speed", "max", "--duration", DURATION_S, "--config", config),
        *("--broker", broker.url, "--report", report),
    )
    assert ended.code == 0, ended.err
    records = report_of(report)["records"]
    assert records["confirmed"] == records["committed"] > 5
    recorder.wait_for(lambda each: len(records_in(each.records())) == records["committed"])
    return report_of(report)


def records_in(messages: list[Captured]) -> list[Captured]:
    """Without births and deaths."""
    return [each for each in messages if not {"NBIRTH", "NDEATH", "status"} & set(each.topic.split("/"))]


@pytest.mark.broker
@pytest.mark.parametrize(
    ("form", "readings_of", "topics"),
    [
        ("json", of_json, {"edge/greenhouse/live", "edge/greenhouse/event", "edge/greenhouse/status"}),
        ("influx", of_influx, {"edge/greenhouse/live", "edge/greenhouse/event", "edge/greenhouse/status"}),
        ("senml", of_senml, {"edge/greenhouse/live", "edge/greenhouse/event", "edge/greenhouse/status"}),
        ("sparkplug-b", of_sparkplug, {f"spBv1.0/edge-agent/{kind}/greenhouse" for kind in SESSION}),
    ],
)
def test_every_committed_reading_is_in_what_arrives_and_exact(
    form: str,
    readings_of: Callable[[list[Captured]], set[Reading]],
    topics: set[str],
    mosquitto: Mosquitto,
    record: Callable[..., Recorder],
    tmp_path: Path,
) -> None:
    theirs, ours = record(mosquitto.port, "#"), record(mosquitto.port)
    report = send(form, mosquitto, theirs, tmp_path)
    theirs.__exit__()
    ours.messages.clear()
    send("batch", mosquitto, ours, tmp_path)
    assert {message.topic for message in theirs.messages} == topics
    committed = of_batches(ours.records())
    assert len(committed) == report["readings"]["sampled"]
    assert any(reading.doubt for reading in committed)
    status = [message for message in theirs.messages if message.topic.endswith("/status")]
    assert readings_of([message for message in theirs.messages if message not in status]) == committed


@pytest.mark.broker
def test_a_sparkplug_host_misses_nothing_although_the_broker_dies_in_between(
    mosquitto: Mosquitto,
    record: Callable[..., Recorder],
    start_edge_agent: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    recorder = record(mosquitto.port, "spBv1.0/#")
    config, report_path = tmp_path / "sparkplug.toml", tmp_path / "report.json"
    config.write_text(f'{RIG}\n[uplink]\nformat = "sparkplug-b"\n')
    start = ("--simulate", "--config", config, "--broker", mosquitto.url, "--state-dir", tmp_path / "state")
    process = start_edge_agent(*start, "--speed", 600, "--duration", 7200, "--report", report_path)
    recorder.wait_for(lambda each: len(records_in(each.messages)) >= 20)
    mosquitto.kill()
    recorder.wait_until_lost()
    clock = SystemClock()
    clock.wait(threading.Event(), clock.now_ns() + 3_000_000_000)  # half a simulated hour without a broker
    # A birth has QoS 0: a host that comes back after it has to ask for it. This one is there before the gateway.
    process.send_signal(signal.SIGSTOP)
    mosquitto.start()
    recorder.wait_until_back()
    process.send_signal(signal.SIGCONT)
    assert process.wait(60) == 0
    report = report_of(report_path)
    if report["records"]["pending"]:  # the run ended before its link was back: the next one delivers
        again = edge_agent(*start, "--speed", "max", "--duration", 60, "--report", tmp_path / "next.json")
        assert again.code == 0, again.err
        assert report_of(tmp_path / "next.json")["records"]["pending"] == 0

    def heard(each: Recorder) -> Host:
        host = Host("edge-agent", "greenhouse")
        for message in each.messages:
            host.hear(message.topic, message.payload)
        return host

    readings = report["readings"]["sampled"]
    recorder.wait_for(lambda each: len(before(END_NS, of_host(heard(each)))) == readings)
    host = heard(recorder)
    assert len(host.births) >= 2
    assert host.lapses == 0
    late = {value.t_ms for value in host.data if value.historical}
    assert late
    assert not all(value.historical for value in host.data)


@pytest.mark.broker
def test_a_gateway_killed_is_dead_to_the_host_and_comes_back_with_its_backlog_as_history(
    mosquitto: Mosquitto,
    record: Callable[..., Recorder],
    start_edge_agent: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    recorder = record(mosquitto.port, "spBv1.0/#")
    config = tmp_path / "sparkplug.toml"
    config.write_text(f'{RIG}\n[uplink]\nformat = "sparkplug-b"\n')
    start = ("--simulate", "--config", config, "--broker", mosquitto.url, "--state-dir", tmp_path / "state")
    process = start_edge_agent(*start, "--speed", 300)
    recorder.wait_for(lambda each: len(records_in(each.messages)) >= 3)
    process.kill()
    recorder.wait_for(lambda each: "NDEATH" in each.messages[-1].topic)
    ended = edge_agent(*start, "--speed", "max", "--duration", 60)
    assert ended.code == 0, ended.err
    recorder.wait_for(lambda each: "NDEATH" in each.messages[-1].topic and len(each.messages) > 8)
    host = Host("edge-agent", "greenhouse")
    for message in recorder.messages:
        host.hear(message.topic, message.payload)
    assert host.kinds.count("NBIRTH") == 2
    assert not host.online
    assert host.lapses == 0
