"""Each format, sent by the program through a real broker, read by somebody else, and held against what was committed.

What was committed is known from a second run with the same seed, in our own format: its readings are the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from line_protocol_parser import parse_line

from tests.end_to_end.program import edge_agent, report_of
from tests.wire.formats.senml_reader import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.conftest import Mosquitto
    from tests.end_to_end.program import Captured, Recorder

RIG: Final = (Path(__file__).parents[2] / "config" / "simulate.toml").read_text(encoding="utf-8") + (
    "[sensor.humidity_pct]\nrange = [0, 82.4]\n"  # of the last sensor there: some of its readings are bad
)
DURATION_S: Final = 300
UNITS: Final = {"temperature_c": "Cel", "humidity_pct": "%RH", "pressure_pa": "Pa"}


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
    recorder.wait_for(lambda each: len(each.records()) == records["committed"])
    return report_of(report)


@pytest.mark.broker
@pytest.mark.parametrize(("form", "readings_of"), [("json", of_json), ("influx", of_influx), ("senml", of_senml)])
def test_every_committed_reading_is_in_what_arrives_and_exact(
    form: str,
    readings_of: Callable[[list[Captured]], set[Reading]],
    mosquitto: Mosquitto,
    record: Callable[..., Recorder],
    tmp_path: Path,
) -> None:
    recorder = record(mosquitto.port)
    report = send(form, mosquitto, recorder, tmp_path)
    arrived = readings_of(recorder.records())
    ours = record(mosquitto.port)
    send("batch", mosquitto, ours, tmp_path)
    committed = of_batches(ours.records())
    assert len(committed) == report["readings"]["sampled"]
    assert any(reading.doubt for reading in committed)
    assert arrived == committed
    assert {message.topic for message in recorder.records()} <= {f"edge/greenhouse/{way}" for way in ("live", "event")}
