from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.drivers import neighbours
from edge_agent.drivers.neighbours import wrong_chip
from edge_agent.drivers.registers import Registers
from edge_agent.drivers.registry import all_drivers
from tests.drivers.test_identify import driver

if TYPE_CHECKING:
    from tests.drivers.conftest import ScriptedI2C

DECLARED = [
    (name, info.identity.register, identity, chip)
    for name, info in all_drivers().items()
    if info.identity is not None
    for identity, chip in info.identity.chips.items()
]


@pytest.mark.parametrize(("name", "register", "identity", "chip"), DECLARED)
def test_every_declared_identity_is_named_with_its_driver(
    i2c: ScriptedI2C, name: str, register: int, identity: int, chip: str
) -> None:
    address = all_drivers()[name].addresses[0]
    asked = list(neighbours._identity_registers(address))
    for other in asked[: asked.index(register)]:
        i2c.expect(bytes((other,)), b"\x01")
    i2c.expect(bytes((register,)), bytes((identity,)))
    error = wrong_chip(Registers(i2c, address), "BMP999")
    assert str(error) == (f'{address:#04x} is a {chip} (id {identity:#04x}), not a BMP999: set driver = "{name}"')


def test_no_two_drivers_declare_one_identity_at_one_address() -> None:
    addresses = {
        (address, register, identity)
        for name, register, identity, _ in DECLARED
        for address in all_drivers()[name].addresses
    }
    assert len(addresses) == sum(len(all_drivers()[name].addresses) for name, *_ in DECLARED)


def test_the_register_that_tells_most_chips_apart_is_asked_first() -> None:
    # On a BMP388 register 0x0D counts, and would now and then show the identity of a DPS310.
    assert list(neighbours._identity_registers(0x77)) == [0xD0, 0x00, 0x0D]
    assert list(neighbours._identity_registers(0x5C)) == [0x0F]


def test_a_driver_without_an_identity_register_names_no_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "all_drivers", lambda: {"dumb": driver("dumb", None)})
    assert neighbours.named_by(0xD0, 0x60, 0x44, "BMP999") is None
