"""The composition: what only shows when the parts are put together."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from edge_agent.agent.agent import Agent
from edge_agent.agent.channels import channel_settings
from edge_agent.agent.device import Device, DevicePart
from edge_agent.cli.run import end_with
from edge_agent.clock import NS_PER_S, Anchor, ClockQuality, SimulatedClock
from edge_agent.config.load import parse_config
from edge_agent.errors import Unavailable
from edge_agent.outbox.outbox import Content
from edge_agent.outbox.worker import Store
from edge_agent.pipeline.settings import ChannelSettings
from edge_agent.reading import Event, EventKind, Measurement, RecordKind
from edge_agent.runtime import Pace
from edge_agent.stages.filters.auto import AutoSettings
from edge_agent.stages.filters.kalman import KalmanSettings
from edge_agent.stages.filters.median import MedianSettings
from edge_agent.stages.validate import Limits
from edge_agent.uplink.dialect import Occasion
from edge_agent.uplink.terms import LARGEST_PACKET_BYTES
from edge_agent.wire.batch import Batch, StatusText
from edge_agent.wire.codec import Known, decode_message
from edge_agent.wire.encode import encode_event

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = '[gateway]\nid = "g"\nsite = "s"\n[uplink]\nurl = "mqtt://127.0.0.1:1"\n'
SOMETHING = Event(EventKind.ALERT, 1, "frost", "firing", "it is cold")
START_NS = 1_700_000_000 * NS_PER_S


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(START_NS)


@pytest.fixture
def agent(tmp_path: Path, clock: SimulatedClock) -> Agent:
    channels = {"air": [ChannelSettings("temperature_c", Limits(-40, 85))]}
    return Agent(parse_config(CONFIG), channels, clock=clock, rng=random.Random(1), directory=tmp_path)


def run_until(agent: Agent, clock: SimulatedClock, end_ns: int) -> None:
    pace = Pace(speed=None, wake=threading.Event())
    agent.run_simulated(clock, pace, end_ns=end_ns, stop=threading.Event())


def test_a_format_whose_library_is_missing_leaves_no_outbox_open(
    tmp_path: Path, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "edge_agent.uplink.dialects.sparkplug_node", None)
    config = parse_config(CONFIG + 'format = "sparkplug-b"\n')
    with pytest.raises(Unavailable, match=r"pip install 'edge-agent-gateway\[sparkplug\]'"):
        Agent(config, {}, clock=clock, rng=random.Random(1), directory=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_stored_readings_are_restated_when_the_clock_becomes_known(agent: Agent, clock: SimulatedClock) -> None:
    wrong = Anchor(clock.anchor().offset_ns - 3600 * NS_PER_S, ClockQuality.NONE, 16 * NS_PER_S)
    clock.set_anchor(wrong)
    run_until(agent, clock, 12 * NS_PER_S)
    agent.pipeline.deliver(Measurement("air", 12 * NS_PER_S, ("temperature_c",), (21.5,)))
    run_until(agent, clock, 80 * NS_PER_S)  # sealed and stored with the wrong time
    right = Anchor(START_NS - 10 * NS_PER_S, ClockQuality.SYNCED, 0)
    clock.set_anchor(right)
    run_until(agent, clock, 100 * NS_PER_S)

    agent.outbox.rewind()
    records = [record for _lane, record in agent.outbox.hand_out(10)]
    batch = next(record for record in records if record.kind is RecordKind.BATCH)
    assert (batch.offset_ns, batch.time_quality) == (right.offset_ns, ClockQuality.SYNCED)
    message = decode_message(agent._messages.record(batch))
    assert isinstance(message.content, Batch)
    assert message.content.groups[0].times_ns[0] + message.envelope.offset_ns == START_NS + 2 * NS_PER_S
    events = [
        decode_message(agent._messages.record(record)).content for record in records if record.kind is RecordKind.EVENT
    ]
    told = [event.state for event in events if isinstance(event, Event) and event.kind is EventKind.TIME_FIX]
    assert told[-1] == "synced"
    agent.drain(0)


def test_an_outbox_that_had_to_be_set_aside_is_told_upstream(tmp_path: Path, clock: SimulatedClock) -> None:
    (tmp_path / "outbox.db").write_bytes(b"this is no database" * 100)
    agent = Agent(parse_config(CONFIG), {}, clock=clock, rng=random.Random(1), directory=tmp_path)
    run_until(agent, clock, 30 * NS_PER_S)
    agent.outbox.rewind()
    records = [record for _lane, record in agent.outbox.hand_out(10)]
    events = [decode_message(agent._messages.record(record)).content for record in records]
    told = [(event.kind, event.subject, event.state) for event in events if isinstance(event, Event)]
    assert told == [
        (EventKind.OUTBOX_RESET, "outbox", "reset"),
        (EventKind.OUTBOX_STATE, "outbox", "salvaged"),
    ]
    assert isinstance(events[0], Event)
    assert "damaged-1.db" in events[0].cause
    agent.drain(0)


def test_a_gateway_without_a_disk_says_so_and_ends_with_numbers(
    tmp_path: Path, clock: SimulatedClock, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").touch()
    agent = Agent(parse_config(CONFIG), {}, clock=clock, rng=random.Random(1), directory=tmp_path / "state")
    agent.store.inbox.put(Store(Content(RecordKind.EVENT, 0, 1, 2, encode_event(SOMETHING))))
    run_until(agent, clock, 30 * NS_PER_S)
    status = json.loads(agent._status("online", 1 << 20))
    assert status["volatile"]["epoch"] == status["epoch"] == status["epochs"][-1]["epoch"]
    assert (status["volatile"]["upto"], status["epochs"][-1]["upto"]) == (2, 0), "the event, and that of the outbox"
    assert "File exists" in status["volatile"]["because"]
    agent.drain(0)
    outbox = agent.report().outbox
    assert (outbox.state, outbox.lost_records, outbox.lost_readings) == ("volatile", 2, 0)
    assert [record.levelname for record in caplog.records if "lost" in record.message] == ["ERROR"]
    with pytest.raises(Unavailable, match="2 records with 0 readings were in memory only and are lost"):
        end_with(agent.report())


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("", True),
        ('[batch]\nnames = "announced"', True),
        ('[batch]\nnames = "inline"', False),
        ('format = "json"', False),
    ],
)
def test_the_birth_announces_the_channels_unless_messages_name_them(
    tmp_path: Path, clock: SimulatedClock, keys: str, told: bool
) -> None:
    channels = {"air": [ChannelSettings("temperature_c", Limits(-40, 85))]}
    agent = Agent(parse_config(CONFIG + keys), channels, clock=clock, rng=random.Random(1), directory=tmp_path)
    known = Known()
    for occasion in (Occasion.BIRTH, Occasion.HEARTBEAT, Occasion.FAREWELL):
        (status,) = agent.uplink._dialect.notices(occasion, LARGEST_PACKET_BYTES)
        known.learn(StatusText(json.loads(status.payload)))
    assert [(each.node, each.epoch, each.sensors) for each in known.announcements.values()] == [
        ("g", agent.outbox.epoch, (("air", ("temperature_c",)),))
    ] * told
    agent.drain(0)


def test_the_report_adds_up_while_running_and_after(agent: Agent, clock: SimulatedClock) -> None:
    for second in range(11, 200):
        run_until(agent, clock, second * NS_PER_S)
        agent.pipeline.deliver(Measurement("air", second * NS_PER_S, ("temperature_c",), (20 + second / 100,)))
        records = agent.report().records
        assert records.committed == records.confirmed + records.tombstoned + records.pending
    agent.drain(0)
    report = agent.report()
    assert report.readings.sampled == report.readings.good == 189
    assert report.records.committed == report.records.pending == 4


def test_settings_come_from_the_configuration_then_the_chip_then_the_quantity() -> None:
    config = parse_config(
        '[gateway]\nid = "g"\n[bus.rs485]\ndevice = "/dev/ttyUSB0"\n[[sensor]]\nid = "out"\ndriver = "modbus_rtu"\n'
        'bus = "rs485"\n[sensor.temperature_c]\nfilter = "none"\nrange = [-5, 40]\ndeadband = 0.2\n'
    )
    temperature, humidity = channel_settings(config)["out"]
    assert temperature.filter is None
    assert temperature.limits.configured == (-5.0, 40.0)
    assert temperature.reduce.max_error == 0.2
    assert temperature.resolution == temperature.raw_resolution == 0.1
    assert humidity.filter is not None
    assert humidity.filter.sigma == 0.1
    assert (humidity.resolution, humidity.raw_resolution) == (0.01, 0.1)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("", AutoSettings(0.1, 0.1)),
        ("sigma = 0.3", AutoSettings(0.3, 0.1)),
        ('filter = "kalman"\ndrift_per_s = 0.5', KalmanSettings(0.1, 0.5)),
        ('filter = "median"\nmedian_of = 5', MedianSettings(0.1, 5)),
        ('filter = "none"', None),
    ],
)
def test_each_channel_gets_the_filter_that_it_names(keys: str, expected: object) -> None:
    config = parse_config(
        '[gateway]\nid = "g"\n[bus.rs485]\ndevice = "/dev/ttyUSB0"\n[[sensor]]\nid = "out"\ndriver = "modbus_rtu"\n'
        f'bus = "rs485"\n[sensor.humidity_pct]\n{keys}\n'
    )
    assert channel_settings(config)["out"][1].filter == expected


def test_importing_the_package_loads_no_library() -> None:
    code = "import sys; before = set(sys.modules); import edge_agent; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.split(".")[0] not in sys.stdlib_module_names}
    assert loaded == {"edge_agent", "edge_agent.version"}


def test_what_fails_while_stopping_does_not_keep_the_last_readings_from_being_stored(
    agent: Agent, clock: SimulatedClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable() -> Anchor:
        raise PermissionError("the clock cannot be read")

    run_until(agent, clock, 11 * NS_PER_S)
    agent.pipeline.deliver(Measurement("air", 11 * NS_PER_S, ("temperature_c",), (21.5,)))
    with monkeypatch.context() as broken:
        broken.setattr(clock, "anchor", unreadable)
        broken.setattr(agent.pipeline, "_save", unreadable)
        agent.drain(0)
    again = Agent(parse_config(CONFIG), {}, clock=clock, rng=random.Random(1), directory=tmp_path)
    assert again.report().records.carried_over == 1
    again.drain(0)


# Wear


def measured(agent: Agent, clock: SimulatedClock, minutes: int) -> None:
    rng = random.Random(3)
    for _ in range(60 * minutes):
        now_ns = clock.now_ns()
        agent.pipeline.deliver(Measurement("air", now_ns, ("temperature_c",), (20 + rng.random(),)))
        run_until(agent, clock, now_ns + NS_PER_S)


def test_a_budget_lengthens_the_interval_and_is_said_once(
    tmp_path: Path, clock: SimulatedClock, caplog: pytest.LogCaptureFixture
) -> None:
    config = parse_config(CONFIG + "[outbox]\nmax_mib_per_day = 3\n")
    channels = {"air": [ChannelSettings("temperature_c", Limits(-40, 85))]}
    agent = Agent(config, channels, clock=clock, rng=random.Random(1), directory=tmp_path)
    measured(agent, clock, 31)
    wear = agent.report(seed=1).wear
    assert wear.durability_s == 60
    assert wear.because
    assert wear.device_mib_per_day is None
    assert wear.outbox_mib_per_day is not None
    assert wear.outbox_mib_per_day > 3
    assert caplog.text.count("open rows are secured every 60 s") == 1
    status = json.loads(agent._status("online", 1 << 16))["wear"]
    assert (status["durability_s"], status["because"]) == (60, wear.because)
    secured = agent.outbox.written().segments
    measured(agent, clock, 10)
    assert agent.outbox.written().segments - secured <= 10, "the batch comes first"
    agent.drain(0)


def test_sectors_of_the_device_are_counted(tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    device = tmp_path / "devices" / "mmcblk0p2"
    links = tmp_path / "dev" / "block"
    device.mkdir(parents=True)
    links.mkdir(parents=True)
    (links / f"{os.major(number)}:{os.minor(number)}").symlink_to(device)
    (device / "stat").write_text("1 2 3 4 5 6 1000 8 9 10 11\n")
    counted = Device(tmp_path, tmp_path)
    (device / "stat").write_text("1 2 3 4 5 6 1010 8 9 10 11\n")
    assert counted.part() == DevicePart("mmcblk0p2", 10 * 512)
    (device / "stat").unlink()
    assert counted.part() == DevicePart()
    assert Device(tmp_path, tmp_path / "devices").part() == DevicePart("", None)
