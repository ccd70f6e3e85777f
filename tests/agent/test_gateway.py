"""The public way to embed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

import edge_agent
from edge_agent.agent.gateway import Gateway
from edge_agent.config.load import parse_config
from edge_agent.errors import ConfigError, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.reading import ChannelBlock, Event


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """One thermometer that answers, one that does not, and nobody at the broker's port."""
    slave = tmp_path / "w1" / "28-0123456789ab"
    slave.mkdir(parents=True)
    (slave / "w1_slave").write_text("a2 00 4b 46 7f ff 0c 10 74 : crc=74 YES\na2 00 4b 46 7f ff 0c 10 74 t=10125\n")
    path = tmp_path / "edge-agent.toml"
    path.write_text(
        f'[gateway]\nid = "g"\n[bus.w1]\ndevice = "{slave.parent}"\nkind = "sysfs"\n'
        '[[sensor]]\nid = "soil"\ndriver = "ds18b20"\nbus = "w1"\nserial = "28-0123456789ab"\nperiod_s = 1\n'
        '[[sensor]]\nid = "gone"\ndriver = "ds18b20"\nbus = "w1"\nserial = "28-0123456789ac"\nperiod_s = 1\n'
        f'[outbox]\ndirectory = "{tmp_path}/state"\n[uplink]\nurl = "mqtt://127.0.0.1:9"\n'
    )
    return path


def test_reading_measures_every_sensor_once_and_stores_nothing(config: Path) -> None:
    with edge_agent.open(config) as gateway:
        measured = gateway.read()
    assert list(measured) == ["soil"]
    assert dict(zip(measured["soil"].quantities, measured["soil"].values, strict=True)) == {"temperature_c": 10.125}
    assert not (config.parent / "state").exists()


def test_a_path_may_be_text_and_a_configuration_may_be_given_ready_made(config: Path) -> None:
    with edge_agent.open(str(config)) as gateway:
        assert gateway.config.gateway.id == "g"
    with edge_agent.open(parse_config(config.read_text())) as gateway:
        assert list(gateway.read()) == ["soil"]


def test_a_wrong_configuration_is_refused_with_every_mistake(tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text('[gateway]\nid = "G"\n[batch]\nperiod = 1\n')
    with pytest.raises(ConfigError) as refused:
        edge_agent.open(tmp_path / "wrong.toml")
    assert len(refused.value.problems) == 2


def test_a_run_stores_what_it_reads_and_its_snapshot_adds_up(config: Path) -> None:
    with edge_agent.open(config) as gateway:
        with pytest.raises(Unavailable, match="not running"):
            gateway.snapshot()
        report = gateway.run(duration_s=1.5)
        now = gateway.snapshot()
    assert report.readings.sampled >= 1
    tally = now.store.tally
    assert tally.committed == tally.confirmed + tally.tombstoned + tally.pending == report.records.committed >= 1
    sensors = {sensor.id: sensor for sensor in now.sensors()}
    assert (sensors["soil"].state.value, sensors["gone"].state.value) == ("sampling", "absent")
    assert now.pipeline.latest[0].channels[0].value == pytest.approx(10.12, abs=0.01)
    assert now.uplink.state.value in {"offline", "connecting"}
    assert now.clock.running_ns >= 1_000_000_000


def test_a_run_ends_when_it_is_told_to_and_shows_its_taps_everything(config: Path) -> None:
    class UntilFirst:
        """A tap that ends the run at the first reading."""

        prompt = True

        def __init__(self) -> None:
            self.seen: list[tuple[str, str]] = []
            self.events: list[Event] = []
            self.stop = threading.Event()

        def wants(self, _sensor: str, quantity: str) -> bool:
            """Temperatures."""
            return quantity == "temperature_c"

        def saw(self, sensor: str, quantity: str, block: ChannelBlock) -> None:
            """End the run."""
            assert block.values == [10.12]
            self.seen.append((sensor, quantity))
            self.stop.set()

        def heard(self, event: Event) -> None:
            """Keep it."""
            self.events.append(event)

    tap = UntilFirst()
    with Gateway(parse_config(config.read_text()), taps=[tap]) as gateway:
        gateway.run(tap.stop, duration_s=20)
    assert tap.seen == [("soil", "temperature_c")]
    assert [(event.subject, event.state) for event in tap.events] == [("gone", "absent")]
