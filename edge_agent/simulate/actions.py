"""The actions of a scenario: faults of buses and chips, and changes of the air. All are listed in `ACTIONS`."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.simulate.chips.base import I2CChip, KernelChip, SerialSlave, SerialTalker, W1Chip
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.kernel import SimulatedKernel
from edge_agent.simulate.uart import PtyDevice, SerialFault
from edge_agent.simulate.w1 import SimulatedW1

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.simulate.rig import Rig, SimulatedSensor


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a scenario: an action, its target, its time and its parameters.

    Attributes:
        at_s: time, seconds since the start.
        do: the action, a key of `ACTIONS`.
        sensor, bus: the target; an action needs the one or the other.
        count: number of transfers or replies in a row that a fault hits.
        errno: name of the error code, for `fail`.
        byte, mask: which bits of a reply are inverted, for `corrupt`.
        duration_ms: for `delay` and `stretch`.
        driver: for `plug`, the driver whose chip takes the place; None puts the same chip back.
        fault: name of a `SerialFault`, for `spoil`.
        temperature_c, humidity_pct, pressure_pa: values of the air, for `air`; None leaves the value to the weather.
        repeat_s: period in seconds at which the step is repeated; 0 does not repeat it.
    """

    at_s: float
    do: str
    sensor: str | None = None
    bus: str | None = None
    count: int = 1
    errno: str = "EREMOTEIO"
    byte: int = 0
    mask: int = 1
    duration_ms: float = 0.0
    driver: str | None = None
    fault: str = "SILENCE"
    temperature_c: float | None = None
    humidity_pct: float | None = None
    pressure_pa: float | None = None
    repeat_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Action:
    """One kind of action.

    Attributes:
        target: kind of its target: `sensor` or `bus`.
        meaning: description for the documentation.
        act: carries it out.
    """

    target: str
    meaning: str
    act: Callable[[Rig, str, Step], None]


def _i2c(rig: Rig, bus: str) -> SimulatedI2C:
    found = rig.buses[bus]
    if not isinstance(found, SimulatedI2C):
        raise Impossible(f"{bus!r} is no I2C bus")
    return found


def _line(rig: Rig, bus: str) -> PtyDevice:
    found = rig.buses[bus]
    if not isinstance(found, PtyDevice):
        raise Impossible(f"{bus!r} is no serial bus")
    return found


class Impossible(Exception):
    """The action cannot be applied to its target; the message says why."""


def _unplug(rig: Rig, name: str, _step: Step) -> None:
    sensor = rig.sensor(name)
    bus, chip = rig.buses[sensor.bus], rig.chip(sensor)
    if isinstance(bus, SimulatedI2C):
        rig.segment(sensor).unplug(sensor.address)
    elif isinstance(bus, PtyDevice) and isinstance(chip, SerialSlave | SerialTalker):
        bus.detach(chip)
    elif isinstance(bus, SimulatedKernel) and isinstance(chip, KernelChip):
        bus.unbind(chip)
    elif isinstance(bus, SimulatedW1):
        bus.remove(str(getattr(chip, "name", "")))
    else:
        raise Impossible(f"nothing can be unplugged from {sensor.bus!r}")


def _plug(rig: Rig, name: str, step: Step) -> None:
    sensor = rig.sensor(name)
    bus, chip = rig.buses[sensor.bus], rig.chip(sensor)
    if isinstance(bus, SimulatedI2C):
        other = rig.another_chip(sensor, step.driver) if step.driver is not None else None
        if not isinstance(other, I2CChip | None):
            raise Impossible(f"a {step.driver} is no I2C chip")
        rig.segment(sensor).plug(sensor.address, other)
    elif isinstance(bus, PtyDevice) and isinstance(chip, SerialSlave | SerialTalker):
        bus.detach(chip)
        bus.attach(chip)
    elif isinstance(bus, SimulatedKernel) and isinstance(chip, KernelChip):
        bus.bind(chip)
    elif isinstance(bus, SimulatedW1):
        bus.restore(str(getattr(chip, "name", "")))
    else:
        raise Impossible(f"nothing can be plugged into {sensor.bus!r}")


def _power_cycle(rig: Rig, name: str, _step: Step) -> None:
    chip = rig.chip(rig.sensor(name))
    if not isinstance(chip, I2CChip | W1Chip | KernelChip | SerialTalker):
        raise Impossible(f"{name!r} has a supply of its own")
    chip.power_cycle()


def _on_i2c(rig: Rig, name: str) -> tuple[SimulatedI2C, SimulatedSensor]:
    sensor = rig.sensor(name)
    return _i2c(rig, sensor.bus), sensor


def _fail(rig: Rig, name: str, step: Step) -> None:
    bus, sensor = _on_i2c(rig, name)
    bus.fail_next(step.count, getattr(errno, step.errno), address=sensor.address)


def _corrupt(rig: Rig, name: str, step: Step) -> None:
    bus, sensor = _on_i2c(rig, name)
    for _ in range(step.count):
        bus.corrupt_next(step.byte, step.mask, address=sensor.address)


def _stretch(rig: Rig, name: str, step: Step) -> None:
    bus, sensor = _on_i2c(rig, name)
    bus.stretch_next(round(step.duration_ms * 1_000_000), address=sensor.address)


def _delay(rig: Rig, name: str, step: Step) -> None:
    bus, sensor = _on_i2c(rig, name)
    bus.delay(sensor.address, round(step.duration_ms * 1_000_000))


def _claim(rig: Rig, name: str, _step: Step) -> None:
    bus, sensor = _on_i2c(rig, name)
    bus.claim(sensor.address, "bmp280")


def _air(rig: Rig, name: str, step: Step) -> None:
    given = {key: getattr(step, key) for key in ("temperature_c", "humidity_pct", "pressure_pa")}
    rig.force_air(rig.sensor(name), {key: value for key, value in given.items() if value is not None})


def _spoil(rig: Rig, name: str, step: Step) -> None:
    _line(rig, name).fail_next(SerialFault[step.fault], step.count)


def _gone(rig: Rig, name: str, *, gone: bool) -> None:
    bus = rig.buses[name]
    if isinstance(bus, PtyDevice):
        (bus.unplug if gone else bus.plug_in)()
    else:
        _i2c(rig, name).gone = gone


ACTIONS: Final[Mapping[str, Action]] = {
    "unplug": Action("sensor", "takes it away", _unplug),
    "plug": Action("sensor", "puts it back, or another chip (driver); it starts afresh", _plug),
    "power-cycle": Action("sensor", "switches its supply off and on", _power_cycle),
    "air": Action("sensor", "sets the air around it, until the next such step", _air),
    "fail": Action("sensor", "lets its next transfers fail with an errno", _fail),
    "corrupt": Action("sensor", "turns bits over in its next replies", _corrupt),
    "stretch": Action("sensor", "lets it hold the clock line in its next transfer", _stretch),
    "delay": Action("sensor", "slows each of its transfers down", _delay),
    "claim": Action("sensor", "lets a kernel driver own its address", _claim),
    "stick": Action("bus", "lets a chip hold the data line", lambda rig, name, _: _i2c(rig, name).stick_after(0)),
    "free": Action("bus", "lets the data line go", lambda rig, name, _: _i2c(rig, name).recover()),
    "brown-out": Action("bus", "cycles the supply of its chips", lambda rig, name, _: _i2c(rig, name).power_cycle()),
    "remove": Action("bus", "unplugs the adapter", lambda rig, name, _: _gone(rig, name, gone=True)),
    "return": Action("bus", "plugs the adapter in again", lambda rig, name, _: _gone(rig, name, gone=False)),
    "spoil": Action("bus", "spoils its next serial replies", _spoil),
}  # fmt: skip
"""Every action by name."""
