"""`edge-agent run`: threads, real devices (a pty, a sysfs tree), a real broker, signals."""

from __future__ import annotations

import signal
import sqlite3
from typing import TYPE_CHECKING

import pytest

from edge_agent.bus.base import BusKind
from edge_agent.clock import SystemClock
from edge_agent.simulate.rig import Rig, SimulatedBusSpec, SimulatedSensor
from edge_agent.simulate.uart import PtyDevice
from edge_agent.simulate.w1 import SimulatedW1
from tests.end_to_end.program import edge_agent, report_of

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Mosquitto
    from tests.end_to_end.program import Recorder

CONFIG = """
[gateway]
id = "gw"
[bus.rs485]
device = "{port}"
kind = "serial"
[bus.w1]
device = "{tree}"
kind = "sysfs"
[bus.i2c9]
device = "/dev/i2c-99"
[[sensor]]
id = "outside"
driver = "modbus_rtu"
bus = "rs485"
period_s = 0.2
[[sensor]]
id = "soil"
driver = "ds18b20"
bus = "w1"
period_s = 1
[[sensor]]
id = "air"
driver = "bme280"
bus = "i2c9"
[batch]
period_s = 1
[outbox]
durability_s = 0.5
[uplink]
url = "{url}"
"""


@pytest.fixture
def devices() -> Iterator[tuple[str, str]]:
    """A transmitter on a pty and a thermometer's directory, for another process to read."""
    sensors = [SimulatedSensor("modbus_rtu", "rs485", 1, {"profile": "xy-md02"}), SimulatedSensor("ds18b20", "w1")]
    buses = [SimulatedBusSpec("rs485", BusKind.SERIAL), SimulatedBusSpec("w1", BusKind.SYSFS)]
    with Rig(1, SystemClock(), buses, sensors) as rig:
        port, tree = rig.buses["rs485"], rig.buses["w1"]
        assert isinstance(port, PtyDevice)
        assert isinstance(tree, SimulatedW1)
        (thermometer,) = [name for name in tree.names() if name.startswith("28-")]
        tree.refresh(f"{thermometer}/w1_slave")  # the kernel makes the text at each read; here it stays the same
        (tree.directory / "w1_bus_master1" / "therm_bulk_read").unlink()
        yield str(port.path), str(tree.directory)


@pytest.mark.broker
def test_samples_stores_and_forwards_while_one_bus_is_missing_and_stops_on_sigterm(
    tmp_path: Path,
    mosquitto: Mosquitto,
    devices: tuple[str, str],
    record: Callable[[int], Recorder],
    start_edge_agent: Callable[..., subprocess.Popen[str]],
) -> None:
    port, tree = devices
    config = tmp_path / "edge-agent.toml"
    config.write_text(CONFIG.format(port=port, tree=tree, url=mosquitto.url))
    assert edge_agent("check", "--config", config).code == 0
    recorder = record(mosquitto.port)
    process = start_edge_agent(
        "run", "--config", config, "--state-dir", tmp_path / "state", "--report", tmp_path / "r.json"
    )
    recorder.wait_for(lambda each: len([m for m in each.records() if m.topic == "edge/gw/live"]) >= 3)
    process.send_signal(signal.SIGTERM)
    _out, err = process.communicate(timeout=10)
    assert process.returncode == 0, err

    report = report_of(tmp_path / "r.json")
    assert report["sensors"]["air"]["state"] == "absent"
    assert "dtparam=i2c_arm=on" in report["sensors"]["air"]["cause"]
    assert err.count("dtparam=i2c_arm=on") == 1  # said once
    assert report["sensors"]["outside"]["errors"] == 0
    assert report["records"]["pending"] == 0
    recorder.wait_for(lambda each: len(each.identities()) == report["records"]["committed"])
    rows = [row for message in recorder.records() for row in message.objects()]
    sampled = [row for row in rows if "kind" not in row]
    assert len(sampled) == report["readings"]["sampled"]
    assert {row["sensor"] for row in sampled} == {"outside", "soil"}
    (event,) = [row for row in rows if row.get("kind") == "event"]
    assert (event["subject"], event["state"]) == ("air", "absent")
    statuses = [message.payload for message in recorder.messages if message.topic == "edge/gw/status"]
    assert b'"state":"online"' in statuses[0]
    assert b'"state":"stopped"' in statuses[-1]


def test_kill_minus_nine_costs_at_most_what_was_not_durable_yet(
    tmp_path: Path, devices: tuple[str, str], start_edge_agent: Callable[..., subprocess.Popen[str]]
) -> None:
    port, tree = devices
    config = tmp_path / "edge-agent.toml"
    text = CONFIG.format(port=port, tree=tree, url="mqtt://127.0.0.1:1").replace("period_s = 1\n[outbox]", "[outbox]")
    config.write_text(text)  # batches of a minute: all that is stored are segments
    process = start_edge_agent("run", "--config", config, "--state-dir", tmp_path / "state")
    assert process.stderr is not None
    while "soil is sampling" not in process.stderr.readline():
        pass
    clock = SystemClock()
    started_ns = clock.now_ns()
    never = __import__("threading").Event()
    clock.wait(never, started_ns + 2_500_000_000)
    process.kill()
    process.wait()
    lived_s = (clock.now_ns() - started_ns) / 1e9

    ended = edge_agent("run", "--config", config, "--state-dir", tmp_path / "state", "--duration", 0)
    assert ended.code == 0, ended.err
    database = sqlite3.connect(tmp_path / "state" / "outbox.db")
    rows = database.execute("SELECT kind, readings, first_ns, last_ns FROM record WHERE readings > 0").fetchall()
    database.close()
    span_s = (max(row[3] for row in rows) - min(row[2] for row in rows)) / 1e9
    assert span_s > lived_s - 0.5 - 0.5  # durability, and a period and the commit itself


def test_a_second_agent_on_the_same_outbox_is_refused(
    tmp_path: Path, devices: tuple[str, str], start_edge_agent: Callable[..., subprocess.Popen[str]]
) -> None:
    port, tree = devices
    config = tmp_path / "edge-agent.toml"
    config.write_text(CONFIG.format(port=port, tree=tree, url="mqtt://127.0.0.1:1"))
    process = start_edge_agent("run", "--config", config, "--state-dir", tmp_path / "state")
    assert process.stderr is not None
    process.stderr.readline()
    ended = edge_agent("run", "--config", config, "--state-dir", tmp_path / "state")
    assert ended.code == 69
    assert "another edge-agent is using" in ended.err
