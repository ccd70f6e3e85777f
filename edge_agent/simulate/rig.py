"""A rig: simulated buses with the chips of given sensors, in one world. Owns temporary directories and ptys.

Its buses replace the hardware; everything above them is the production code.
"""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from edge_agent.bus.base import BusKind
from edge_agent.errors import Unavailable
from edge_agent.simulate.chips.base import AnyChip, I2CChip, KernelChip, Part, SerialSlave, SerialTalker, W1Chip
from edge_agent.simulate.chips.tca9548a import Tca9548a
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.kernel import SimulatedKernel
from edge_agent.simulate.registry import find_chip
from edge_agent.simulate.uart import PtyDevice
from edge_agent.simulate.w1 import SimulatedW1
from edge_agent.simulate.world import Air, Place, World

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

    from edge_agent.clock import Clock
    from edge_agent.simulate.segment import Segment

SimulatedBus: TypeAlias = SimulatedI2C | SimulatedW1 | SimulatedKernel | PtyDevice


@dataclass(frozen=True, slots=True)
class SimulatedBusSpec:
    """A bus to simulate.

    Attributes:
        name: as in the configuration.
        kind: I2C, serial or sysfs; which sysfs tree it is follows from the chips on it.
        echo: whether a serial line returns what is sent.
        device: as configured, e.g. `/dev/i2c-1`. Messages name it, and not the temporary path.
    """

    name: str
    kind: BusKind
    echo: bool = False
    device: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedSensor:
    """A sensor to simulate.

    Attributes:
        driver: name of the driver that will read it.
        bus: name of its bus.
        address: I2C or Modbus address; 0 where the bus has none.
        options: the driver's options by name, e.g. a profile or a serial number.
        id: as configured, for scenarios.
        mux, channel: address and channel of the TCA9548A before it; `mux` is None without one.
    """

    driver: str
    bus: str
    address: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    mux: int | None = None
    channel: int = 0


class Rig:
    """Simulated buses by name.

    Attributes:
        world: the weather that all sensors share.
        buses: by name: an `I2CBus`, a `Sysfs`, or for a serial bus the device whose `path` the port opens.

    Args:
        seed: of all random numbers.
        clock: simulated time.
        buses: to simulate.
        sensors: on them.
        world: the weather; one of its own by default.
        bit_hz: clock rate of the I2C buses, 100 000 in standard mode.

    Raises:
        Unavailable: a driver has no chip model; a sensor names an unknown bus or one of the wrong kind; or chips of
            several subsystems are on one sysfs bus.
    """

    def __init__(
        self,
        seed: int,
        clock: Clock,
        buses: Iterable[SimulatedBusSpec],
        sensors: Iterable[SimulatedSensor],
        *,
        world: World | None = None,
        bit_hz: int = 100_000,
    ) -> None:
        # The weather follows true time: it does not jump when the gateway's wall clock is stepped.
        self._offset_ns = clock.anchor().offset_ns
        self._clock = clock
        self._seed = seed
        self._bit_hz = bit_hz
        self.world = world or World(seed, self._offset_ns + clock.now_ns())
        self._chips: dict[SimulatedSensor, AnyChip] = {}
        self._places: dict[SimulatedSensor, Place] = {}
        self._segments: dict[SimulatedSensor, Segment] = {}
        self._forced: dict[SimulatedSensor, dict[str, float]] = {}
        specs = tuple(buses)
        kinds = {bus.name: bus.kind for bus in specs}
        for sensor in sensors:
            self._chips[sensor] = self._make(sensor, kinds)
        self._directory = tempfile.TemporaryDirectory(prefix="edge-agent-rig-", ignore_cleanup_errors=True)
        self.buses: Mapping[str, SimulatedBus] = {bus.name: self._wire(bus) for bus in specs}

    def chip(self, sensor: SimulatedSensor) -> AnyChip:
        """The chip model of a sensor, for fault injection."""
        return self._chips[sensor]

    @property
    def sensor_ids(self) -> tuple[str, ...]:
        """Ids of the sensors that have an id."""
        return tuple(sensor.id for sensor in self._chips if sensor.id)

    def sensor(self, name: str) -> SimulatedSensor:
        """The sensor of that id. Raises KeyError if there is none."""
        for sensor in self._chips:
            if sensor.id == name:
                return sensor
        raise KeyError(name)

    def force_air(self, sensor: SimulatedSensor, values: Mapping[str, float]) -> None:
        """Fix some quantities of the air around a sensor. The weather determines the others."""
        self._forced[sensor] = dict(values)

    def segment(self, sensor: SimulatedSensor) -> Segment:
        """The segment of the I2C bus that a sensor is on."""
        return self._segments[sensor]

    def truth(self, sensor: SimulatedSensor, boot_ns: int) -> Air:
        """The true air around a sensor at a time in ns since boot."""
        air = self._places[sensor].air(boot_ns + self._offset_ns)
        forced = self._forced.get(sensor)
        return air._replace(**forced) if forced else air

    def close(self) -> None:
        """Close the ptys and remove the directories. Closing twice is harmless."""
        for bus in self.buses.values():
            bus.close()
        self._directory.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def another_chip(self, sensor: SimulatedSensor, driver: str) -> AnyChip:
        """A chip of another kind to replace that of a sensor. Raises Unavailable if there is no model."""
        return find_chip(driver)(self._part(sensor, random.Random(f"{self._seed}/{sensor.id}/{driver}")))

    def _make(self, sensor: SimulatedSensor, kinds: Mapping[str, BusKind]) -> AnyChip:
        make = find_chip(sensor.driver)
        draw = random.Random(f"{self._seed}/{sensor.bus}/{sensor.address}/{sensor.options.get('serial')}")
        self._places[sensor] = Place(
            self.world,
            temperature_offset_c=draw.uniform(-0.6, 0.6),
            lag_s=draw.uniform(0.0, 180.0),
            height_m=draw.uniform(-0.5, 2.0),
        )
        chip = make(self._part(sensor, draw))
        if kinds.get(sensor.bus) is not _kind_of(chip):
            kind = _kind_of(chip).value
            raise Unavailable(f'the simulated {sensor.driver} needs a bus of kind "{kind}", and "{sensor.bus}" is none')
        return chip

    def _part(self, sensor: SimulatedSensor, draw: random.Random) -> Part:
        return Part(
            clock=self._clock,
            air=lambda boot_ns: self.truth(sensor, boot_ns),
            random=draw,
            address=sensor.address,
            options=sensor.options,
        )

    def _wire(self, spec: SimulatedBusSpec) -> SimulatedBus:
        here = [(sensor, chip) for sensor, chip in self._chips.items() if sensor.bus == spec.name]
        root = Path(self._directory.name)
        match spec.kind:
            case BusKind.I2C:
                i2c = SimulatedI2C(self._clock, name=spec.device or spec.name, bit_hz=self._bit_hz)
                for sensor, chip in here:
                    if isinstance(chip, I2CChip):
                        self._segments[sensor] = segment = _segment(i2c, sensor)
                        segment.attach(sensor.address, chip)
                return i2c
            case BusKind.SYSFS:
                (root / spec.name).mkdir()
                return self._wire_tree(spec, root / spec.name, [chip for _, chip in here])
            case BusKind.SERIAL:
                devices = [chip for _, chip in here if isinstance(chip, SerialSlave | SerialTalker)]
                return PtyDevice(devices, link=root / f"{spec.name}-port", echo=spec.echo)

    def _wire_tree(self, spec: SimulatedBusSpec, directory: Path, chips: Sequence[AnyChip]) -> SimulatedBus:
        """The sysfs tree for the chips; that of 1-Wire if there are none."""
        subsystems = {chip.subsystem if isinstance(chip, KernelChip) else "w1" for chip in chips}
        if len(subsystems) > 1:
            kinds = " and ".join(sorted(subsystems))
            raise Unavailable(f'"{spec.name}" is one tree of the kernel and cannot hold {kinds}')
        kernel_chips = [chip for chip in chips if isinstance(chip, KernelChip)]
        if kernel_chips:
            kernel = SimulatedKernel(directory, kernel_chips[0].subsystem, spec.device)
            for kernel_chip in kernel_chips:
                kernel.attach(kernel_chip)
            return kernel
        w1 = SimulatedW1(directory, self._clock, spec.device)
        for chip in chips:
            if isinstance(chip, W1Chip):
                w1.attach(chip)
        return w1


def _segment(bus: SimulatedI2C, sensor: SimulatedSensor) -> Segment:
    """The segment for a sensor. Adds the multiplexer before it if it is not there yet."""
    if sensor.mux is None:
        return bus
    there = [chip for chip in bus.chips_at(sensor.mux) if isinstance(chip, Tca9548a)]
    mux = there[0] if there else Tca9548a()
    if not there:
        bus.attach(sensor.mux, mux)
    return mux.segments[sensor.channel]


def _kind_of(chip: AnyChip) -> BusKind:
    if isinstance(chip, SerialSlave | SerialTalker):
        return BusKind.SERIAL
    return BusKind.SYSFS if isinstance(chip, W1Chip | KernelChip) else BusKind.I2C
