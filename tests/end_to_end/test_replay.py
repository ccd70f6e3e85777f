"""`edge-agent replay`: real recordings through the whole path, compared value by value."""

from __future__ import annotations

import csv
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.program import edge_agent, report_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Mosquitto
    from tests.end_to_end.program import Recorder

ASTROPI = {
    "temp_cpu": ("cpu", "temperature_c", 1),
    "temp_h": ("hts221", "temperature_c", 1),
    "temp_p": ("lps25h", "temperature_c", 1),
    "humidity": ("hts221", "humidity_pct", 1),
    "pressure": ("lps25h", "pressure_pa", 100),
}


@pytest.mark.broker
def test_every_value_of_the_astropi_recording_arrives_as_it_stands_in_the_file(
    shared_dir: Path, mosquitto: Mosquitto, record: Callable[[int], Recorder], tmp_path: Path
) -> None:
    file = shared_dir / "data" / "series" / "astropi_sensehat.csv"
    maps = [
        f"--map={column}={sensor}.{quantity}" + (":hpa" if factor == 100 else "")
        for column, (sensor, quantity, factor) in ASTROPI.items()
    ]
    recorder = record(mosquitto.port)
    ended = edge_agent("replay", file, *maps, "--broker", mosquitto.url, "--report", tmp_path / "report.json")
    assert ended.code == 0, ended.err
    records = report_of(tmp_path / "report.json")["records"]
    recorder.wait_for(lambda each: len(each.identities()) == records["committed"])

    arrived: dict[tuple[str, str], list[tuple[int, float, float]]] = {}
    for message in recorder.records():
        for row in message.objects():
            if "kind" not in row:
                arrived.setdefault((row["sensor"], row["quantity"]), []).append((row["t_ns"], row["value"], row["raw"]))
    with file.open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 24_604
    for column, (sensor, quantity, factor) in ASTROPI.items():
        values = [float(Decimal(row[column]) * factor) for row in rows]
        expected = [
            (int(row["timestamp_ms"]) * 1_000_000, value, value) for row, value in zip(rows, values, strict=True)
        ]
        assert arrived[sensor, quantity] == expected


@pytest.mark.broker
def test_broken_rows_are_named_and_the_rest_runs(
    mosquitto: Mosquitto, record: Callable[[int], Recorder], tmp_path: Path
) -> None:
    file = tmp_path / "recording.csv"
    file.write_text(
        "timestamp_ms,t,p\n1700000000000,20.1,1013.2\n1700000010000,warm,1013.1\nnever,20.2,1013.0\n"
        "1700000020000,20.3\n1700000030000,20.4,1012.9\n"
    )
    recorder = record(mosquitto.port)
    ended = edge_agent(
        *("replay", file, "--map", "t=air.temperature_c", "--map", "p=air.pressure_pa:hpa", "--broker", mosquitto.url)
    )
    assert ended.code == 0
    assert f"{file}:3: t is 'warm'" in ended.err
    assert f"{file}:4: timestamp_ms is 'never'" in ended.err
    assert f"{file}:5: 2 cells where the header has 3" in ended.err
    assert "2 rows, 3 left out" in ended.out
    recorder.wait_for(lambda each: len(each.records()) >= 1)
    values = [row["value"] for message in recorder.records() for row in message.objects() if "kind" not in row]
    assert sorted(values) == [20.1, 20.4, 101_290.0, 101_320.0]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--map", "t=air.temperature_c"), 2, "give --broker URL"),
        (("--broker", "mqtt://127.0.0.1:1"), 2, "--map"),
        (("--broker", "mqtt://127.0.0.1:1", "--map", "t=air.warmth"), 2, "not a quantity"),
        (("--broker", "mqtt://127.0.0.1:1", "--map", "x=air.temperature_c"), 1, "there is no column 'x'"),
    ],
)
def test_misuse_is_told_in_a_sentence(tmp_path: Path, arguments: tuple[str, ...], code: int, sentence: str) -> None:
    file = tmp_path / "recording.csv"
    file.write_text("timestamp_ms,t\n1700000000000,20.1\n")
    ended = edge_agent("replay", file, *arguments)
    assert ended.code == code
    assert sentence in ended.err
    assert "Traceback" not in ended.err
