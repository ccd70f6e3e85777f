"""Chips that the kernel drives, through Industrial I/O; what iio and hwmon share is tried here too."""

from __future__ import annotations

import errno
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.clock import SimulatedClock
from edge_agent.drivers.iio import IioOptions, measures, open_iio, processed, scaled
from edge_agent.drivers.kernel import number
from edge_agent.errors import (
    BadReply,
    BusDenied,
    BusError,
    BusGone,
    ChipWasReset,
    DriverError,
    EdgeAgentError,
    NotReady,
    WrongChip,
)
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.iio import IioChip
from edge_agent.simulate.kernel import SimulatedKernel
from edge_agent.simulate.world import Air

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.drivers.kernel import KernelDevice

AIR = Air(21.5, 46.3, 101_435.3, 640.0)
NEAR: Any = (pytest.approx(21.5, abs=0.1), pytest.approx(46.3, abs=0.2), pytest.approx(101_435.3, abs=15))
CO2 = IioOptions(name="scd30", quantities=("temperature_c", "co2_ppm"))


def chip(name: str | None = None, device: str | None = None) -> IioChip:
    options = {"name": name, "device": device}
    return IioChip(Part(SimulatedClock(0), lambda _: AIR, random.Random(3), options=options))


def tree(directory: Path, *chips: IioChip) -> SimulatedKernel:
    bus = SimulatedKernel(directory, "iio")
    for each in chips:
        bus.attach(each)
    return bus


def started(bus: SimulatedKernel, options: IioOptions | None = None) -> KernelDevice:
    device = open_iio(bus, 0, options or IioOptions())
    assert list(device.probe()) == []
    assert device.trigger() == 0
    return device


# Maths of the ABI


@pytest.mark.parametrize(
    ("quantity", "text", "value"),
    [
        ("temperature_c", "21500", 21.5),
        ("temperature_c", "-4250\n", -4.25),
        ("pressure_pa", "101.435281250", 101435.28125),
        ("pressure_pa", "101", 101000.0),
        ("humidity_pct", "46333", 46.333),
        ("humidity_pct", "46333.007812500", 46.3330078125),
        ("humidity_pct", "46.333007812", 46.333007812),
        ("humidity_pct", "100.000000000", 100.0),
        ("humidity_pct", "100000", 100.0),
        ("humidity_pct", "0", 0.0),
        ("co2_ppm", "0.064", 640.0),
    ],
)
def test_processed_values_are_in_the_units_of_the_abi_and_humidity_in_either_of_two(
    quantity: str, text: str, value: float
) -> None:
    assert processed(quantity, text) == value


def test_counts_are_shifted_before_they_are_scaled() -> None:
    # Si7020: 175.72 °C over 14 bits, less 46.85 °C.
    assert scaled("temperature_c", number("6372"), number("-4368"), number("10.725097656")) == pytest.approx(
        21.4931, abs=1e-4
    )
    # BMP280 of a newer kernel: Q24.8 Pa.
    assert scaled("pressure_pa", number("25967431"), number("0"), number("0.000003906")) == pytest.approx(
        101_428.8, abs=0.1
    )


def test_gas_is_percent_by_the_abi_and_ppm_where_a_driver_gives_no_scale() -> None:
    assert scaled("co2_ppm", number("640"), number("0"), number("0.0001")) == 640.0
    assert scaled("co2_ppm", number("1137"), number("0"), None) == 1137.0


@pytest.mark.parametrize("text", ["nan", "inf", "1e5", "0x10", "1_000", "12 34", "٣", "Input/output error", "9" * 40])
def test_a_file_that_holds_no_plain_number_is_refused(text: str) -> None:
    with pytest.raises(BadReply):
        number(text)


def test_an_empty_file_is_not_ready() -> None:
    with pytest.raises(NotReady):
        number("\n")


@given(st.text(max_size=30), st.sampled_from(["temperature_c", "humidity_pct", "pressure_pa", "co2_ppm"]))
def test_any_text_is_a_number_or_an_error_of_ours(text: str, quantity: str) -> None:
    try:
        assert abs(processed(quantity, text)) < 1e25
    except DriverError:
        return


# The device


@pytest.mark.parametrize("name", ["bme280", "anything"])
def test_the_only_device_needs_no_name(tmp_path: Path, name: str) -> None:
    device = started(tree(tmp_path, chip(name)))
    assert device.quantities == ("temperature_c", "humidity_pct", "pressure_pa")
    assert device.collect() == NEAR


def test_a_kernel_of_2016_gives_humidity_in_percent(tmp_path: Path) -> None:
    old = chip()
    old.old_percent = True
    assert started(tree(tmp_path, old)).collect() == NEAR


def test_a_driver_that_gives_counts_is_read_with_offset_and_scale(tmp_path: Path) -> None:
    device = started(tree(tmp_path, chip("si7020")))
    assert device.quantities == ("temperature_c", "humidity_pct")
    assert device.collect() == NEAR[:2]


def test_carbon_dioxide_is_read_where_it_is_wanted(tmp_path: Path) -> None:
    device = started(tree(tmp_path, chip("scd30")), CO2)
    celsius, ppm = device.collect()
    assert celsius == NEAR[0]
    assert ppm == pytest.approx(640, abs=15)
    assert [each.quantity for each in measures(CO2)] == ["temperature_c", "co2_ppm"]


def test_a_device_is_found_by_its_name_among_others(tmp_path: Path) -> None:
    bus = tree(tmp_path, chip("bme280"), chip("si7020", "1-0040"), chip("scd30", "1-0061"))
    assert started(bus, IioOptions(name="si7020")).quantities == ("temperature_c", "humidity_pct")


def test_two_of_one_name_are_told_apart_by_where_they_are(tmp_path: Path) -> None:
    first, second = chip(device="1-0076"), chip(device="1-0077")
    bus = tree(tmp_path, first, second)
    with pytest.raises(WrongChip, match=r"set device to .* bme280 \(1-0076\), bme280 \(1-0077\)"):
        started(bus, IioOptions(name="bme280"))
    second.power_cycle()  # its next reading fails
    started(bus, IioOptions(device="1-0076")).collect()
    with pytest.raises(NotReady):
        started(bus, IioOptions(name="bme280", device="i2c-1/1-0077")).collect()


def test_several_without_a_name_are_told(tmp_path: Path) -> None:
    with pytest.raises(WrongChip, match=r"set name to one of bme280 \(1-0077\), si7020 \(1-0040\)"):
        started(tree(tmp_path, chip(), chip("si7020", "1-0040")))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (IioOptions(name="dht11"), r"no dht11 that measures .*; the kernel drives bme280 \(1-0077\): is its overlay"),
        (IioOptions(device="1-0076"), "no device at 1-0076"),
        (IioOptions(device="077"), "no device at 077"),
        (IioOptions(quantities=("co2_ppm",)), "measures co2_ppm; the kernel drives bme280"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(tmp_path: Path, options: IioOptions, sentence: str) -> None:
    with pytest.raises(BadReply, match=sentence):
        started(tree(tmp_path, chip()), options)


def test_an_empty_tree_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadReply, match="the kernel drives nothing"):
        started(tree(tmp_path))


@pytest.mark.parametrize("number_", [errno.EIO, errno.EAGAIN, errno.ETIMEDOUT, errno.EREMOTEIO, 0])
def test_a_chip_without_a_conversion_is_not_ready_and_comes_back(tmp_path: Path, number_: int) -> None:
    bus = tree(tmp_path, chip())
    device = started(bus)
    bus.fail_next("iio:device0/in_pressure_input", number_)
    with pytest.raises(NotReady):
        device.collect()
    assert device.collect() == NEAR


@pytest.mark.parametrize(
    ("number_", "kind"), [(errno.EBUSY, BusDenied), (errno.ENODEV, BusGone), (errno.EINVAL, BusError)]
)
def test_other_failures_of_the_kernel_are_what_they_are(tmp_path: Path, number_: int, kind: type[Exception]) -> None:
    bus = tree(tmp_path, chip())
    device = started(bus)
    bus.fail_next("iio:device0/in_temp_input", number_)
    with pytest.raises(BusError) as caught:
        device.collect()
    assert type(caught.value) is kind
    assert caught.value.errno == number_


def test_a_device_that_was_unbound_is_gone_and_is_found_again_under_another_number(tmp_path: Path) -> None:
    other, ours = chip("si7020", "1-0040"), chip()
    bus = tree(tmp_path, ours, other)
    device = started(bus, IioOptions(name="bme280"))
    bus.unbind(ours)
    with pytest.raises(BusGone):
        device.collect()
    with pytest.raises(BadReply, match="no bme280"):
        list(device.probe())
    bus.unbind(other)
    bus.bind(other)
    bus.bind(ours)
    assert bus.entry(ours) == "iio:device1"
    list(device.probe())
    assert device.collect() == NEAR


def test_another_device_under_the_old_number_is_never_read_in_its_place(tmp_path: Path) -> None:
    ours, twin = chip(device="1-0076"), chip(device="1-0077")
    bus = tree(tmp_path, ours, twin)
    device = started(bus, IioOptions(device="1-0076"))
    bus.renumber()
    with pytest.raises(ChipWasReset, match="iio:device0 is another one now"):
        device.collect()
    list(device.probe())
    assert device.collect() == NEAR


def test_a_device_that_vanishes_while_all_are_looked_through_is_passed_over(tmp_path: Path) -> None:
    bus = tree(tmp_path, chip(), chip("si7020", "1-0040"))
    bus.fail_next("iio:device1/name", errno.ENODEV, 2)
    assert started(bus).collect() == NEAR


def test_what_has_not_been_probed_gives_nothing(tmp_path: Path) -> None:
    with pytest.raises(BadReply, match="probed"):
        open_iio(tree(tmp_path, chip()), 0, IioOptions()).collect()


@pytest.mark.parametrize("quantities", [(), ("wind",), ("temperature_c", "illuminance_lx")])
def test_quantities_that_it_cannot_read_are_refused_with_the_configuration(quantities: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="quantities must"):
        IioOptions(quantities=quantities)


@given(st.binary(max_size=40))
def test_any_content_of_a_file_gives_a_measurement_or_an_error_of_ours(content: bytes) -> None:
    class Files:
        """As Sysfs: one device, whose file holds anything."""

        def read(self, path: str) -> str:
            """As Sysfs."""
            return "x\n" if path.endswith("name") else content.decode("ascii", "replace")

        def write(self, path: str, text: str) -> None:
            """As Sysfs."""

        def names(self, path: str = "") -> list[str]:
            """As Sysfs."""
            return ["in_temp_input"] if path else ["iio:device0"]

        def resolve(self, path: str) -> str:
            """As Sysfs."""
            return f"/sys/devices/i2c-1/1-0077/{path}"

        def close(self) -> None:
            """As Sysfs."""

    device = open_iio(Files(), 0, IioOptions())
    list(device.probe())
    try:
        assert len(device.collect()) == 1
    except EdgeAgentError:
        return
