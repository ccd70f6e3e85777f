"""`edge-agent --simulate` as a newcomer runs it."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.clock import SystemClock
from tests.end_to_end.program import edge_agent, report_of

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Mosquitto
    from tests.end_to_end.program import Recorder


def readings(recorder: Recorder) -> list[dict[str, Any]]:
    """Every reading that arrived, in order of arrival."""
    return [row for message in recorder.records() for row in message.objects() if "kind" not in row]


def test_runs_with_nothing_but_itself_and_its_numbers_add_up(tmp_path: Path) -> None:
    ended = edge_agent("--simulate", "--speed", "max", "--duration", 300, "--report", tmp_path / "report.json")
    assert ended.code == 0, ended.err
    assert "embedded broker mqtt://127.0.0.1:" in ended.out
    report = report_of(tmp_path / "report.json")
    assert report["records"]["confirmed"] == report["records"]["committed"] == 5
    assert report["simulated_s"] == 300
    assert {sensor["state"] for sensor in report["sensors"].values()} == {"sampling"}
    assert report["sensors"]["air"]["readings"] == 300
    assert f"{report['readings']['sampled']:,} sampled" in ended.out


@pytest.mark.broker
def test_every_committed_record_arrives_and_decodes(
    tmp_path: Path, mosquitto: Mosquitto, record: Callable[[int], Recorder]
) -> None:
    recorder = record(mosquitto.port)
    ended = edge_agent(
        *("--simulate", "--speed", "max", "--duration", 3600, "--broker", mosquitto.url),
        *("--report", tmp_path / "report.json"),
    )
    assert ended.code == 0, ended.err
    report = report_of(tmp_path / "report.json")
    committed = report["records"]["committed"]
    recorder.wait_for(lambda each: len(each.identities()) == committed)
    assert set(recorder.identities().values()) == {1}
    rows = readings(recorder)
    assert len(rows) == report["readings"]["sampled"]
    assert len({(row["sensor"], row["quantity"], row["t_ns"]) for row in rows}) == len(rows)
    assert {row["t"][:13] for row in rows} == {"2026-01-01T00"}


@pytest.mark.broker
def test_the_same_seed_gives_the_same_bytes_at_any_speed(
    mosquitto: Mosquitto, record: Callable[[int], Recorder]
) -> None:
    runs = []
    for speed, seed in (("max", 7), ("300", 7), ("max", 8)):
        recorder = record(mosquitto.port)
        ended = edge_agent(
            *(
                "--simulate",
                "--speed",
                speed,
                "--duration",
                240,
                "--seed",
                seed,
                "--epoch",
                5,
                "--broker",
                mosquitto.url,
            )
        )
        assert ended.code == 0, ended.err
        recorder.wait_for(lambda each: len(each.records()) == 4)
        runs.append([message.payload for message in recorder.records()])
        recorder.__exit__()
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_two_runs_share_no_identity_unless_they_are_told_to(tmp_path: Path) -> None:
    epochs = []
    for given in ([], [], ["--epoch", 5]):
        report = tmp_path / "report.json"
        ended = edge_agent("--simulate", "--speed", "max", "--duration", 5, "--seed", 7, "--report", report, *given)
        assert ended.code == 0, ended.err
        epochs.append(report_of(report)["epoch"])
    assert len(set(epochs)) == 3
    assert epochs[2] == 5
    assert all(0 < epoch < 1 << 53 for epoch in epochs)
    assert max(epochs) > 1 << 40, "53 bits and not fewer"


def test_an_epoch_is_given_to_one_run_only(tmp_path: Path) -> None:
    command = ("--simulate", "--speed", "max", "--duration", 5, "--epoch", 5, "--state-dir", tmp_path / "state")
    assert edge_agent(*command).code == 0
    again = edge_agent(*command)
    assert again.code == 69
    assert again.err == "this outbox has records of epoch 5 already; give another --epoch, or none\n"
    real = edge_agent("run", "--epoch", 5)
    assert real.code == 2
    assert "--epoch needs --simulate" in real.err


@pytest.mark.broker
def test_killing_the_broker_in_the_middle_loses_nothing(
    tmp_path: Path,
    mosquitto: Mosquitto,
    record: Callable[[int], Recorder],
    start_edge_agent: Callable[..., subprocess.Popen[str]],
) -> None:
    recorder = record(mosquitto.port)
    process = start_edge_agent(
        *("--simulate", "--speed", 600, "--duration", 7200, "--broker", mosquitto.url),
        *("--report", tmp_path / "report.json", "--state-dir", tmp_path / "state"),
    )
    recorder.wait_for(lambda each: len(each.identities()) >= 20)
    mosquitto.kill()
    clock = SystemClock()
    recorder._news.clear()
    clock.wait(recorder._news, clock.now_ns() + 3_000_000_000)  # half a simulated hour without a broker
    mosquitto.start()
    assert process.wait(60) == 0
    report = report_of(tmp_path / "report.json")
    if report["records"]["pending"]:  # the run ended before its link was back: the next one delivers
        ended = edge_agent(
            *("--simulate", "--speed", "max", "--duration", 60, "--broker", mosquitto.url),
            *("--report", tmp_path / "next.json", "--state-dir", tmp_path / "state"),
        )
        assert ended.code == 0, ended.err
        assert report_of(tmp_path / "next.json")["records"]["pending"] == 0
    recorder.wait_for(lambda each: len(each.identities(report["epoch"])) == report["records"]["committed"])
    assert any(message.topic.endswith("/backlog") for message in recorder.records())


def test_ctrl_c_ends_it_in_less_than_two_seconds_with_a_summary(
    tmp_path: Path, start_edge_agent: Callable[..., subprocess.Popen[str]]
) -> None:
    process = start_edge_agent("--simulate", "--speed", 10, "--report", tmp_path / "report.json")
    assert process.stdout is not None
    assert "simulating greenhouse" in process.stdout.readline()
    clock = SystemClock()
    started_ns = clock.now_ns()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert clock.now_ns() - started_ns < 2_000_000_000
    assert process.returncode == 0
    assert "committed =" in out
    assert "Traceback" not in err
    assert report_of(tmp_path / "report.json")["records"]["pending"] == 0


def test_without_a_broker_records_wait_and_the_next_run_delivers_them(tmp_path: Path) -> None:
    common = ("--simulate", "--speed", "max", "--state-dir", tmp_path / "state", "--report", tmp_path / "report.json")
    ended = edge_agent(*common, "--duration", 600, "--broker", "mqtt://127.0.0.1:1")
    assert ended.code == 0
    assert "nothing listens at 127.0.0.1:1" in ended.err
    first = report_of(tmp_path / "report.json")["records"]
    assert (first["committed"], first["pending"], first["confirmed"]) == (10, 10, 0)

    ended = edge_agent(*common, "--duration", 60)
    assert ended.code == 0
    second = report_of(tmp_path / "report.json")["records"]
    assert second["carried_over"] == 10
    assert (second["committed"], second["confirmed"], second["pending"]) == (11, 11, 0)


def test_a_temporary_outbox_with_pending_records_is_kept_and_named() -> None:
    ended = edge_agent("--simulate", "--speed", "max", "--duration", 120, "--broker", "mqtt://127.0.0.1:1")
    assert ended.code == 0
    kept = ended.out.split("--state-dir ")[1].split()[0]
    ended = edge_agent("--simulate", "--speed", "max", "--duration", 0, "--state-dir", kept)
    delivered = re.search(r"(\d+) committed = (\d+) confirmed \+ 0 tombstoned \+ 0 pending", ended.out)
    assert delivered is not None, ended.out
    assert int(delivered[1]) == int(delivered[2]) >= 2


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("--simulate", "--speed", "fast"), 2, "neither max nor a number"),
        (("--simulate", "--broker", "http://x"), 2, "expected mqtt://HOST"),
        (("--simulate", "--start", "yesterday"), 2, "not a time"),
        (("--simulate", "--report", "/nowhere/report.json"), 2, "no directory /nowhere"),
        (("run", "--config", "/nowhere/edge-agent.toml"), 78, "no such file"),
        (("fly",), 2, "No such command"),
    ],
)
def test_misuse_is_told_in_a_sentence(arguments: tuple[str, ...], code: int, sentence: str) -> None:
    ended = edge_agent(*arguments)
    assert ended.code == code
    assert sentence in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.broker
def test_a_bad_day_is_told_as_it_went_and_costs_only_what_was_not_there_to_be_read(
    tmp_path: Path, mosquitto: Mosquitto, record: Callable[[int], Recorder]
) -> None:
    recorder = record(mosquitto.port)
    ended = edge_agent(
        *("--simulate", "--scenario", "bad-day", "--speed", "max", "--duration", 3600, "--broker", mosquitto.url),
        *("--report", tmp_path / "report.json"),
    )
    assert ended.code == 0, ended.err
    report = report_of(tmp_path / "report.json")
    records = report["records"]
    assert records["committed"] == records["confirmed"] + records["tombstoned"] + records["pending"]
    assert {sensor["state"] for sensor in report["sensors"].values()} == {"sampling"}
    recorder.wait_for(lambda each: len(each.identities()) == records["committed"])
    rows = [row for message in recorder.records() for row in message.objects()]
    told = [(row["subject"], row["state"], row.get("errno")) for row in rows if row.get("kind") == "event"]
    air = [(state, number) for subject, state, number in told if subject == "air"]
    assert air[:3] == [("degraded", 121), ("offline", 121), ("sampling", None)]
    assert ("i2c1", "stuck", 110) in told
    assert ("i2c1", "working", None) in told
    assert any(row["cause"].startswith("measures no humidity_pct") for row in rows if row.get("kind") == "event")
    assert any(subject == "outside" and state == "offline" for subject, state, _ in told)
    sampled = [row for row in rows if "kind" not in row]
    assert len(sampled) == report["readings"]["sampled"]
    # Unplugged twice for a minute, and two minutes on a stuck bus; found again at the next attempt of its back-off.
    assert 3600 - 240 - 150 < report["sensors"]["air"]["readings"] < 3600 - 240
    assert 3600 - 120 - 60 < report["sensors"]["canopy"]["readings"] < 3600 - 120
    hot = [row["raw"] for row in sampled if (row["sensor"], row["quantity"]) == ("canopy", "temperature_c")][-300:]
    assert min(hot) > 41
    assert max(hot) < 42


@pytest.mark.broker
def test_two_runs_of_a_scenario_with_one_seed_give_the_same_bytes_and_name_the_configured_devices(
    mosquitto: Mosquitto, record: Callable[[int], Recorder]
) -> None:
    runs = []
    for _ in range(2):
        recorder = record(mosquitto.port)
        ended = edge_agent(
            *("--simulate", "--scenario", "bad-day", "--speed", "max", "--duration", 3600, "--broker", mosquitto.url),
            *("--epoch", 5),
        )
        assert ended.code == 0, ended.err
        committed = re.search(r"(\d+) committed", ended.out)
        assert committed is not None, ended.out
        recorder.wait_for(lambda each, records=int(committed[1]): len(each.records()) == records)  # type: ignore[misc]
        runs.append(recorder.records())
        recorder.__exit__()
    first, second = ([message.payload for message in run] for run in runs)
    assert first == second
    causes = "\n".join(row["cause"] for message in runs[0] for row in message.objects() if row.get("kind") == "event")
    for device in ("/dev/i2c-1", "/sys/bus/w1/devices/28-", "/dev/ttyUSB0"):
        assert device in causes
    assert "/tmp" not in causes
