"""How politely chips are read, and what a sensor that hangs costs the others. All on the simulated bus and its clock.

Run: `python tests/bench/bench_bus.py` from the root of the project. Prints Markdown.

1. Transactions and bytes per poll of every I2C driver, and up to its first reading, beside drivers of other people
   that read the same simulated chip.
2. From the first trigger to the last reading of a cycle, for 1, 4 and 16 sensors on one bus, at 100 kHz.
3. How late readings are while a sensor hangs: on its own bus, and on another.
"""

from __future__ import annotations

import logging
import random
import statistics
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import adafruit_ahtx0
import adafruit_bme680
import adafruit_bmp3xx
import adafruit_htu21d
import adafruit_lps2x
import adafruit_mcp9808
import adafruit_scd4x
import adafruit_sht4x
import adafruit_sht31d
import adafruit_shtc3
import adafruit_si7021
import adafruit_tmp117
import bme280
from adafruit_bme280.basic import Adafruit_BME280_I2C
from adafruit_bmp280 import Adafruit_BMP280_I2C
from adafruit_dps310.basic import DPS310

from edge_agent.agent.build import sampled_buses
from edge_agent.bus.base import BusKind
from edge_agent.clock import NS_PER_S, SimulatedClock
from edge_agent.config.load import parse_config
from edge_agent.drivers.registry import all_drivers
from edge_agent.errors import NotReady
from edge_agent.reading import Measurement
from edge_agent.runtime import Pace, run_simulated
from edge_agent.sampling.worker import BusWorker
from edge_agent.simulate.circuitpython_facade import CircuitPythonFacade
from edge_agent.simulate.i2c import SimulatedI2C
from edge_agent.simulate.rig import Rig, SimulatedBusSpec, SimulatedSensor
from edge_agent.simulate.smbus_facade import SmbusFacade
from tests.simulate.peers import sleeping_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from edge_agent.drivers.base import DriverInfo
    from edge_agent.reading import Event

START_NS: Final = 1_750_000_000_000_000_000
POLLS: Final = 5


@dataclass
class Cost:
    """Transactions and bytes: up to the first reading, and per reading after it."""

    first: int
    per_poll: float
    bytes_per_poll: float

    def __str__(self) -> str:
        return f"{self.first} | {self.per_poll:g} | {self.bytes_per_poll:g}"


# What other people's drivers do. Each makes a function that reads every quantity once.


def _adafruit(kind: Callable[..., Any], *quantities: str) -> Callable[[SimulatedI2C, SimulatedClock, int], Any]:
    def make(bus: SimulatedI2C, clock: SimulatedClock, address: int) -> Callable[[], object]:
        chip = kind(CircuitPythonFacade(bus, clock), address)
        return lambda: [getattr(chip, name) for name in quantities]

    return make


def _rpi_bme280(bus: SimulatedI2C, _clock: SimulatedClock, address: int) -> Callable[[], object]:
    shaped = SmbusFacade(bus)
    calibration = bme280.load_calibration_params(shaped, address)
    return lambda: bme280.sample(shaped, address, calibration)


def _scd4x(bus: SimulatedI2C, clock: SimulatedClock, _address: int) -> Callable[[], object]:
    chip = adafruit_scd4x.SCD4X(CircuitPythonFacade(bus, clock))
    chip.start_periodic_measurement()

    def read() -> object:
        while not chip.data_ready:
            clock.advance_to(clock.now_ns() + NS_PER_S // 5)
        return chip.CO2, chip.temperature, chip.relative_humidity

    return read


def _fixed_address(kind: Callable[..., Any], *quantities: str) -> Callable[[SimulatedI2C, SimulatedClock, int], Any]:
    return _adafruit(lambda i2c, _address: kind(i2c), *quantities)


_T, _RH, _P = "temperature", "relative_humidity", "pressure"
PEERS: Final[Mapping[str, Mapping[str, Callable[[SimulatedI2C, SimulatedClock, int], Any]]]] = {
    "bme280": {
        "RPi.bme280": _rpi_bme280,
        "adafruit_bme280": _adafruit(Adafruit_BME280_I2C, _T, _RH, _P),
    },
    "bmp280": {"adafruit_bmp280": _adafruit(Adafruit_BMP280_I2C, _T, _P)},
    "bme680": {"adafruit_bme680": _adafruit(adafruit_bme680.Adafruit_BME680_I2C, _T, _RH, _P)},
    "bmp388": {"adafruit_bmp3xx": _adafruit(adafruit_bmp3xx.BMP3XX_I2C, _T, _P)},
    "dps310": {"adafruit_dps310": _adafruit(DPS310, _T, _P)},
    "lps22hb": {"adafruit_lps2x": _adafruit(adafruit_lps2x.LPS22, _T, _P)},
    "sht3x": {"adafruit_sht31d": _adafruit(adafruit_sht31d.SHT31D, _T, _RH)},
    "sht4x": {"adafruit_sht4x": _adafruit(adafruit_sht4x.SHT4x, "measurements")},
    "shtc3": {"adafruit_shtc3": _fixed_address(adafruit_shtc3.SHTC3, "measurements")},
    "htu21d": {"adafruit_htu21d": _adafruit(adafruit_htu21d.HTU21D, _T, _RH)},
    "si7021": {"adafruit_si7021": _adafruit(adafruit_si7021.SI7021, _T, _RH)},
    "aht20": {"adafruit_ahtx0": _adafruit(adafruit_ahtx0.AHTx0, _T, _RH)},
    "tmp117": {"adafruit_tmp117": _adafruit(adafruit_tmp117.TMP117, _T)},
    "mcp9808": {"adafruit_mcp9808": _adafruit(adafruit_mcp9808.MCP9808, _T)},
    "scd4x": {"adafruit_scd4x": _scd4x},
}


@contextmanager
def _alone(info: DriverInfo) -> Iterator[tuple[SimulatedI2C, SimulatedClock, int]]:
    """A bus with one chip, for one user."""
    clock = SimulatedClock(START_NS)
    sensor = SimulatedSensor(info.name, "i2c1", info.addresses[0])
    with Rig(1, clock, [SimulatedBusSpec("i2c1", BusKind.I2C)], [sensor]) as rig:
        bus = rig.buses["i2c1"]
        assert isinstance(bus, SimulatedI2C)
        yield bus, clock, sensor.address


def ours(info: DriverInfo) -> Cost:
    """What our driver costs."""
    with _alone(info) as (bus, clock, address):
        driver = info.open(bus, address, info.options())

        def poll() -> None:
            clock.advance_to(clock.now_ns() + driver.trigger())
            while True:
                try:
                    driver.collect()
                except NotReady as early:
                    clock.advance_to(clock.now_ns() + (early.wait_ns or NS_PER_S // 50))
                else:
                    return

        for wait_ns in driver.probe():
            clock.advance_to(clock.now_ns() + wait_ns)
        if not info.conversion_s:  # it runs by itself: come when it is ready, as the worker does
            clock.advance_to(clock.now_ns() + round(info.period_s * NS_PER_S))
        return _cost(bus, clock, poll, info.period_s)


def theirs(info: DriverInfo, make: Callable[[SimulatedI2C, SimulatedClock, int], Any]) -> Cost:
    """What another driver of the same chip costs."""
    with _alone(info) as (bus, clock, address), sleeping_on(clock):
        return _cost(bus, clock, make(bus, clock, address), info.period_s)


def _cost(bus: SimulatedI2C, clock: SimulatedClock, poll: Callable[[], object], period_s: float) -> Cost:
    poll()
    first = bus.transfers
    moved = bus.bytes_moved
    for _ in range(POLLS):
        clock.advance_to(clock.now_ns() + round(period_s * NS_PER_S))
        poll()
    return Cost(first, (bus.transfers - first) / POLLS, (bus.bytes_moved - moved) / POLLS)


def politeness() -> None:
    """Table 1."""
    print("| chip | driver | transactions to the first reading | per poll | bytes per poll |\n|---|---|---|---|---|")
    for name, info in all_drivers().items():
        if info.bus is not BusKind.I2C:
            continue
        print(f"| {name} | **ours** | {ours(info)} |")
        for peer, make in PEERS.get(name, {}).items():
            print(f"| {name} | {peer} | {theirs(info, make)} |")


# Cycles


def _site(count: int, oversampling: int) -> str:
    text = '[gateway]\nid = "bench"\n'
    for bus in (1, 3):
        text += f'[bus.i2c{bus}]\ndevice = "/dev/i2c-{bus}"\n'
        for number in range(count):
            text += (
                f'[[sensor]]\nid = "b{bus}-{number}"\ndriver = "bme280"\nbus = "i2c{bus}"\n'
                f"address = {0x77 if number == count - 1 else 0x76 + number // 8}\n"
                f"mux = 0x70\nmux_channel = {number % 8}\n"
                + "".join(f"{each}_oversampling = {oversampling}\n" for each in ("temperature", "humidity", "pressure"))
            )
    return text


def _run(
    count: int, oversampling: int, seconds: float, disturb: Callable[[SimulatedI2C], None]
) -> dict[str, list[int]]:
    """Run two buses, the first one disturbed from the middle on. Returns by bus how late each reading was, in ns."""
    clock = SimulatedClock(START_NS)
    config = parse_config(_site(count, oversampling))
    sensors = [
        SimulatedSensor(
            each.driver.name, each.bus, each.address, id=each.id, mux=each.mux, channel=each.mux_channel or 0
        )
        for each in config.sensors
    ]
    late: dict[str, list[int]] = {"b1": [], "b3": []}

    def deliver(item: Measurement | Event) -> bool:
        if isinstance(item, Measurement):
            late[item.sensor[:2]].append(clock.now_ns() - item.boot_ns // NS_PER_S * NS_PER_S)
        return True

    specs = [SimulatedBusSpec(name, BusKind.I2C) for name in config.buses]
    with Rig(1, clock, specs, sensors) as rig:
        workers = [
            BusWorker(bus, clock=clock, rng=random.Random(1), deliver=deliver)
            for bus in sampled_buses(config, rig.buses)  # type: ignore[arg-type]
        ]
        stop = threading.Event()
        for part in range(2):
            end_ns = clock.now_ns() + round(seconds / 2 * NS_PER_S)
            run_simulated(workers, clock, Pace(None, stop), end_ns=end_ns, stop=stop)
            for each in late.values():
                each.clear() if part == 0 else None
            if part == 0:
                first = rig.buses["i2c1"]
                assert isinstance(first, SimulatedI2C)
                disturb(first)
    return late


def cycles() -> None:
    """Table 2."""
    print("\n| BME280 on one bus, behind a multiplexer | x1: ms per cycle | x16: ms per cycle |\n|---|---|---|")
    for count in (1, 4, 16):
        worst = [max(_run(count, oversampling, 20, lambda _: None)["b1"]) / 1e6 for oversampling in (1, 16)]
        print(f"| {count} | {worst[0]:.1f} | {worst[1]:.1f} |")
    print("\nOne conversion alone: 9.3 ms at x1, 112.8 ms at x16; one after the other, 16 at x16 would take 1805 ms.")


def hangs() -> None:
    """Table 3."""
    print(
        "\n| 4 sensors on each of two buses | own bus: readings, median and worst ms late | other bus |\n|---|---|---|"
    )
    cases: dict[str, Callable[[SimulatedI2C], None]] = {
        "all well": lambda _: None,
        "one sensor unplugged": lambda bus: _first_segment(bus).unplug(0x76),
        "one sensor holds the clock for 30 ms in each transfer": lambda bus: bus.delay(0x77, 30_000_000),
        "the bus stuck (each try 1 s)": lambda bus: bus.stick_after(0),
    }
    for name, disturb in cases.items():
        late = _run(4, 1, 60, disturb)
        print(f"| {name} | {_lateness(late['b1'])} | {_lateness(late['b3'])} |")


def _first_segment(bus: SimulatedI2C) -> Any:
    (mux,) = bus.chips_at(0x70)
    return mux.segments[0]  # type: ignore[attr-defined]


def _lateness(late_ns: list[int]) -> str:
    if not late_ns:
        return "0"
    return f"{len(late_ns)}, {statistics.median(late_ns) / 1e6:.1f} and {max(late_ns) / 1e6:.1f}"


if __name__ == "__main__":
    logging.getLogger("edge_agent").addHandler(logging.NullHandler())
    politeness()
    cycles()
    hangs()
