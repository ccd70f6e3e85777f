from __future__ import annotations

import re
from dataclasses import fields
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from edge_agent.bus.base import BusKind
from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.errors import BusDenied, BusError, BusGone, BusTimeout, ConfigError, NoAcknowledge
from edge_agent.simulate.actions import ACTIONS, Step
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.rig import Rig, SimulatedBusSpec, SimulatedSensor
from edge_agent.simulate.scenario import ScenarioPlayer, load_scenario, parse_scenario
from edge_agent.simulate.uart import PtyDevice
from edge_agent.simulate.w1 import SimulatedW1

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSES = (
    SimulatedBusSpec("i2c1", BusKind.I2C),
    SimulatedBusSpec("w1", BusKind.SYSFS),
    SimulatedBusSpec("rs485", BusKind.SERIAL),
)
SENSORS = (
    SimulatedSensor("bme280", "i2c1", 0x76, id="air"),
    SimulatedSensor("ds18b20", "w1", options={"serial": "28-0123456789ab"}, id="soil"),
    SimulatedSensor("modbus_rtu", "rs485", 1, {"profile": "xy-md02"}, id="door"),
)


class Stage:
    """A rig on which a scenario is played."""

    def __init__(self, rig: Rig, clock: SimulatedClock) -> None:
        self.rig = rig
        self.clock = clock

    @property
    def i2c(self) -> SimulatedI2C:
        """The I2C bus."""
        bus = self.rig.buses["i2c1"]
        assert isinstance(bus, SimulatedI2C)
        return bus

    def play(self, text: str, seconds: float = 10.0) -> ScenarioPlayer:
        """Play until so much time has passed."""
        player = ScenarioPlayer(parse_scenario(text, "s"), self.rig, self.clock)
        end_ns = self.clock.now_ns() + round(seconds * NS_PER_S)
        while (due_ns := player.step()) is not None and due_ns <= end_ns:
            self.clock.advance_to(due_ns)
        self.clock.advance_to(end_ns)
        return player


@pytest.fixture
def stage() -> Iterator[Stage]:
    clock = SimulatedClock(1_750_000_000_000_000_000)
    with Rig(1, clock, BUSES, SENSORS) as rig:
        yield Stage(rig, clock)


def step(do: str, target: str, more: str = "", at_s: float = 1.0) -> str:
    kind = ACTIONS[do].target
    return f'[[step]]\nat_s = {at_s}\ndo = "{do}"\n{kind} = "{target}"\n{more}\n'


def test_steps_happen_when_it_is_time_and_not_before(stage: Stage) -> None:
    text = step("unplug", "air", at_s=5) + step("plug", "air", at_s=8)
    stage.play(text, 4.9)
    assert stage.i2c.ping(0x76)
    stage.play(text, 6)
    assert not stage.i2c.ping(0x76)
    stage.play(text, 9)
    assert stage.i2c.ping(0x76)


def test_what_is_repeated_goes_on(stage: Stage) -> None:
    assert stage.play(step("fail", "air", "repeat_s = 2"), 10).played == 5


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (step("unplug", "air"), NoAcknowledge),
        (step("fail", "air", 'errno = "EIO"'), BusError),
        (step("stretch", "air", "duration_ms = 40"), BusError),
        (step("claim", "air"), BusDenied),
        (step("stick", "i2c1"), BusTimeout),
        (step("remove", "i2c1"), BusGone),
    ],
)
def test_faults_reach_the_bus(stage: Stage, text: str, error: type[Exception]) -> None:
    stage.play(text)
    with pytest.raises(error):
        stage.i2c.transfer(0x76, b"\xd0", 1)


def test_what_is_freed_or_brought_back_works_again(stage: Stage) -> None:
    stage.play(step("stick", "i2c1") + step("free", "i2c1", at_s=2))
    stage.play(step("remove", "i2c1") + step("return", "i2c1", at_s=2))
    assert stage.i2c.transfer(0x76, b"\xd0", 1) == b"\x60"


def test_another_chip_may_be_plugged_in(stage: Stage) -> None:
    stage.play(step("unplug", "air") + step("plug", "air", 'driver = "bmp280"', at_s=2))
    assert stage.i2c.transfer(0x76, b"\xd0", 1) == b"\x58"


def test_a_supply_that_dips_costs_the_settings(stage: Stage) -> None:
    for text in (step("power-cycle", "air"), step("brown-out", "i2c1")):
        stage.i2c.transfer(0x76, b"\xf4\x24", 0)
        assert stage.i2c.transfer(0x76, b"\xf4", 1) == b"\x24"
        stage.play(text)
        assert stage.i2c.transfer(0x76, b"\xf4", 1) == b"\x00"


def test_bits_are_turned_over_and_transfers_are_slowed_down(stage: Stage) -> None:
    stage.play(step("corrupt", "air", "byte = 0\nmask = 0x81") + step("delay", "air", "duration_ms = 250"))
    began_ns = stage.clock.now_ns()
    assert stage.i2c.transfer(0x76, b"\xd0", 1) == bytes([0x60 ^ 0x81])
    assert stage.clock.now_ns() - began_ns > NS_PER_S // 4


def test_the_air_is_what_the_script_says_and_the_rest_is_weather(stage: Stage) -> None:
    (air, *_) = SENSORS
    before = stage.rig.truth(air, 0)
    stage.play(step("air", "air", "temperature_c = 41.5"))
    assert stage.rig.truth(air, 0) == before._replace(temperature_c=41.5)
    stage.play(step("air", "air"))
    assert stage.rig.truth(air, 0) == before


def test_thermometers_and_serial_devices_come_and_go_too(stage: Stage) -> None:
    w1, line = stage.rig.buses["w1"], stage.rig.buses["rs485"]
    assert isinstance(w1, SimulatedW1)
    assert isinstance(line, PtyDevice)
    stage.play(step("unplug", "soil") + step("unplug", "door"))
    assert "28-0123456789ab" not in w1.names()
    assert not line.slaves
    stage.play(step("plug", "soil") + step("plug", "door"))
    assert "28-0123456789ab" in w1.names()
    assert len(line.slaves) == 1
    stage.play(step("spoil", "rs485", 'fault = "TRUNCATED"') + step("remove", "rs485", at_s=2))
    stage.play(step("return", "rs485"))


def test_what_cannot_happen_is_said_and_the_play_goes_on(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    player = stage.play(step("fail", "soil") + step("power-cycle", "door", at_s=2) + step("spoil", "w1", at_s=3))
    assert player.played == 3
    assert caplog.text.count("is not possible") == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[step]]\nat_s = 1\ndo = "explode"\n', "s:3: step[1].do: unknown action 'explode'; known: air,"),
        ('[[step]]\nat_s = 1\ndo = "unplug"\nbus = "i2c1"\n', "step[1].sensor: missing; 'unplug' happens to a sensor"),
        ('[[step]]\ndo = "stick"\nbus = "i2c1"\n', "step[1].at_s: missing"),
        (step("stick", "i2c1", at_s=-1), "s:2: step[1].at_s: expected at least 0"),
        (step("fail", "air", 'errno = "EVIL"'), "unknown errno 'EVIL'"),
        (step("spoil", "rs485", 'fault = "RUST"'), "s:5: step[1].fault: known: SILENCE"),
        (step("stick", "i2c1", "cout = 3"), "unknown key 'cout'; did you mean 'count'?"),
        ("step = 3\n", "expected [[step]] tables"),
        ("[[stop]]\n", "unknown key 'stop'; did you mean 'step'?"),
        ("[[step\n", "not valid TOML"),
    ],
)
def test_a_script_with_a_mistake_is_refused_with_line_and_reason(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_scenario(text, "s")
    assert said in str(caught.value)


def test_whom_the_rig_does_not_have_nothing_can_happen_to(stage: Stage) -> None:
    with pytest.raises(ConfigError, match="there is no sensor 'attic'; there are: air, soil, door"):
        stage.play(step("unplug", "attic"))


def test_scenarios_that_come_with_the_program_are_sound_and_found_by_name() -> None:
    names = [each.name.removesuffix(".toml") for each in files("edge_agent.simulate").joinpath("scenarios").iterdir()]
    assert {"bad-day", "unplugged"} <= set(names)
    for name in names:
        assert load_scenario(name).steps
    with pytest.raises(ConfigError, match="there is no scenario 'good-day'; give a file, or one of: bad-day"):
        load_scenario("good-day")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_scenario("./nowhere.toml")


def test_the_manual_tells_of_every_action_and_of_no_other() -> None:
    manual = files("edge_agent").joinpath("docs", "simulation.md").read_text(encoding="utf-8")
    manual = manual[manual.index("## Scenarios") :]
    told = re.findall(r"^\| `([a-z-]+)` \| (sensor|bus) \|", manual, re.MULTILINE)
    assert dict(told) == {name: action.target for name, action in ACTIONS.items()}
    keys = {
        key for row in re.findall(r"\| ([^|]*) \|$", manual, re.MULTILINE) for key in re.findall(r"`([a-z_]+)", row)
    }
    assert keys == {field.name for field in fields(Step)} - {"at_s", "do", "sensor", "bus", "repeat_s"}
