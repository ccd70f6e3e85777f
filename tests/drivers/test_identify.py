from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured, NoOptions
from edge_agent.drivers.identify import Identity, identify, locate_lost
from edge_agent.drivers.registry import all_drivers
from edge_agent.errors import BadReply, BusTimeout, NoAcknowledge, WrongChip

if TYPE_CHECKING:
    from edge_agent.bus.base import I2CBus
    from edge_agent.drivers.base import Recognise
    from tests.drivers.conftest import ScriptedI2C


def driver(name: str, recognise: Recognise | None, *, rank: int = 0) -> DriverInfo:
    return DriverInfo(
        name=name,
        title=name.upper(),
        source="",
        bus=BusKind.I2C,
        addresses=(0x44,),
        quantities=(Measured("temperature_c", -40.0, 85.0),),
        options=NoOptions,
        open=lambda _bus, _address, _options: pytest.fail("nothing is opened"),
        recognise=recognise,
        recognise_rank=rank,
    )


def asks(register: int, wanted: int, title: str) -> Recognise:
    def recognise(bus: I2CBus, address: int) -> str | None:
        return title if bus.transfer(address, bytes((register,)), 1)[0] == wanted else None

    return recognise


def test_the_least_harmful_question_comes_first_and_the_first_answer_is_the_last_question(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x01", b"\x00")
    i2c.expect(b"\x02", b"\x22")
    known = (
        driver("commanding", asks(0x03, 0x33, "C"), rank=2),
        driver("second", asks(0x02, 0x22, "B")),
        driver("first", asks(0x01, 0x11, "A")),
    )
    assert identify(i2c, 0x44, known) == Identity("second", "B")


@pytest.mark.parametrize("refusal", [NoAcknowledge("no"), BadReply("what?")])
def test_a_chip_that_refuses_one_question_is_asked_the_next(i2c: ScriptedI2C, refusal: Exception) -> None:
    i2c.expect(b"\x01", refusal)
    i2c.expect(b"\x02", b"\x22")
    known = (driver("first", asks(0x01, 0x11, "A")), driver("second", asks(0x02, 0x22, "B")))
    assert identify(i2c, 0x44, known) == Identity("second", "B")


def test_a_stuck_bus_is_an_error_and_not_an_unknown_chip(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\x01", BusTimeout("stuck"))
    with pytest.raises(BusTimeout):
        identify(i2c, 0x44, [driver("first", asks(0x01, 0x11, "A"))])


def test_what_is_not_known_comes_with_the_usual_tenants_and_is_not_asked(i2c: ScriptedI2C) -> None:
    found = identify(i2c, 0x44, [driver("dumb", None)])
    assert found == Identity(None, "unknown; usual here: dumb, INA219 power meter?")
    assert identify(i2c, 0x0B, [driver("dumb", None)]).title == "unknown; usual here: nothing"
    assert i2c.addresses == set()


class Air:
    """Addresses on which a BMP280 answers, and nothing else."""

    def __init__(self, *addresses: int) -> None:
        self.addresses = addresses
        self.asked: list[int] = []

    def transfer(self, address: int, write: bytes, read: int) -> bytes:
        """As I2CBus."""
        if address not in self.addresses:
            raise NoAcknowledge("nobody")
        return b"\x58" if write == b"\xd0" else bytes(read)

    def ping(self, address: int) -> bool:
        """As I2CBus."""
        self.asked.append(address)
        return address in self.addresses

    def close(self) -> None:
        """As I2CBus."""


NOBODY: Final = NoAcknowledge("nothing answers at 0x76")


@pytest.mark.parametrize(
    ("there", "taken", "error", "said"),
    [
        ((0x77,), (), NOBODY, "; a BMP280 answers at 0x77"),
        ((0x77,), (0x77,), NOBODY, ""),
        ((), (), NOBODY, ""),
        ((0x76,), (), WrongChip("chip id 0x58"), '; a BMP280 answers there: driver = "bmp280"'),
        ((0x77,), (), BusTimeout("stuck"), ""),
    ],
)
def test_who_was_lost_is_looked_for_where_it_could_be(
    there: tuple[int, ...], taken: tuple[int, ...], error: Exception, said: str
) -> None:
    bus = Air(*there)
    info = all_drivers()["bme280"]
    assert locate_lost(bus, info, 0x76, frozenset(taken), error) == said
    assert 0x76 not in bus.asked
    assert not set(taken) & set(bus.asked)
