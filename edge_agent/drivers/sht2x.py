"""Sensirion SHT20, SHT21 and SHT25, and the common part of compatible chips: temperature and humidity.

Source: Datasheet SHT21, version 4 (sections 5.3 to 5.9, 6). I2C address 0x40, shared with HDC1080 and INA219.
Temperature and humidity are separate conversions: a poll makes both, one after the other. Commands without hold: a busy
chip does not acknowledge. Those with hold stretch the clock for 85 ms; the adapter of a Pi gives up after 35 ms.

Limits:
    SHT2x, HTU21D and Si70xx have the same commands, and this driver reads them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured, NoOptions
from edge_agent.drivers.checksum import crc8_sht2x
from edge_agent.errors import BadReply, ChecksumMismatch, NoAcknowledge, NotReady, WrongChip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import I2CBus

# Commands: sections 5.4, 5.5, 5.6; the last is that of the electronic identification code.
MEASURE_TEMPERATURE: Final = b"\xf3"
MEASURE_HUMIDITY: Final = b"\xf5"
SOFT_RESET: Final = b"\xfe"
READ_USER: Final = b"\xe7"
WRITE_USER: Final = b"\xe6"
READ_ID: Final = b"\xfc\xc9"

SOFT_RESET_NS: Final = 15_000_000

# User register: section 5.6, table 8.
CHANGEABLE: Final = 0b1000_0101
"""Resolution (bits 7 and 0; 00 is the finest) and heater (bit 2), which a soft reset leaves on."""
_FIXED: Final = 0b0011_1010
"""Bits that neither a setting nor the supply changes; they identify the family."""
_FIXED_SHT2X: Final = 0b0011_1010
_FIXED_HTU21D: Final = 0b0000_0010

SI70XX: Final = {0x0D: "Si7013", 0x14: "Si7020", 0x15: "Si7021"}
"""First byte of the identification (Si7021-A20 datasheet, section 5.5)."""
_HDC1080_ID: Final = b"\xff"

STATUS_BITS: Final = 0b11
HUMIDITY_BIT: Final = 0b10
"""Section 5.4: the last two bits of a result are status bits; bit 1 tells what was measured."""
NO_CONVERSION: Final = frozenset({0x0000, 0xFFFC})
"""Results at an end of the scale; zeros pass the checksum."""

# Datasheet maths


def checked_raw(reply: bytes, *, humidity: bool) -> int | None:
    """The 16 bits of a result with its status bits cleared; None for a word at an end of the scale.

    Args:
        reply: two bytes and their checksum.
        humidity: whether the result is of the humidity and not of the temperature.

    Raises:
        ChecksumMismatch: the bytes were damaged.
        BadReply: not three bytes, or a result of the other quantity.
    """
    if len(reply) != 3:
        raise BadReply(f"{len(reply)} bytes where 3 were expected: {reply.hex()}")
    expected = crc8_sht2x(reply[:2])
    if reply[2] != expected:
        raise ChecksumMismatch(expected=expected, received=reply[2], raw=reply)
    word = int.from_bytes(reply[:2])
    raw = word & ~STATUS_BITS
    if raw in NO_CONVERSION:
        return None
    if bool(word & HUMIDITY_BIT) is not humidity:
        asked, given = ("humidity", "temperature") if humidity else ("temperature", "humidity")
        raise BadReply(f"a {given} came where the {asked} was asked for: does another program read the chip?")
    return raw


def temperature_c(raw: int | None) -> float | None:
    """Temperature in °C (section 6.2)."""
    return None if raw is None else -46.85 + 175.72 * raw / 65536.0


def humidity_pct(raw: int | None) -> float | None:
    """Relative humidity in %, limited to 0..100 (section 6.1); the formula gives -6 to 119 %."""
    return None if raw is None else min(100.0, max(0.0, -6.0 + 125.0 * raw / 65536.0))


def decode(temperature: bytes, humidity: bytes) -> tuple[float | None, float | None]:
    """Turn the three bytes of each result into °C and %RH. Raises as `checked_raw` does."""
    return (
        temperature_c(checked_raw(temperature, humidity=False)),
        humidity_pct(checked_raw(humidity, humidity=True)),
    )


# The chip


class Sht2x:
    """One SHT20, SHT21 or SHT25.

    Args:
        bus: its adapter.
        address: 0x40.
        options: none.
    """

    humidity_ns: ClassVar[int] = 29_000_000
    temperature_ns: ClassVar[int] = 85_000_000
    """Longest conversions at 12 and 14 bits (table 7)."""

    def __init__(self, bus: I2CBus, address: int, options: NoOptions) -> None:
        del options
        self._bus = bus
        self._address = address
        self._humidity: tuple[float | None] | None = None
        """The humidity of this poll once it has been read; the value itself may be None."""
        self.quantities: tuple[str, ...] = ("temperature_c", "humidity_pct")

    def probe(self) -> Iterator[int]:
        """Reset, identify by the user register, and set the finest resolution with the heater off."""
        self._send(SOFT_RESET)
        yield SOFT_RESET_NS
        user = self._ask(READ_USER, 1)[0]
        if family(user) is None:
            raise WrongChip(_describe_other(self._bus, self._address, user))
        if user & CHANGEABLE:
            self._send(WRITE_USER + bytes((user & ~CHANGEABLE,)))

    def trigger(self) -> int:
        """Start the conversion of the humidity. Returns the longest time it takes, ns."""
        self._humidity = None
        self._send(MEASURE_HUMIDITY)
        return self.humidity_ns

    def collect(self) -> tuple[float | None, ...]:
        """Read the humidity and start the conversion of the temperature; then read that.

        Raises:
            NotReady: the temperature has just been started; or no acknowledge, which is how the chip says that it is
                busy.
            ChecksumMismatch, BadReply: the bytes are damaged, or not what was asked for.
        """
        reply = self._result()
        if self._humidity is None:
            humidity = humidity_pct(checked_raw(reply, humidity=True))
            self._send(MEASURE_TEMPERATURE)
            self._humidity = (humidity,)
            raise NotReady("the humidity is there, the temperature is being converted", wait_ns=self.temperature_ns)
        return temperature_c(checked_raw(reply, humidity=False)), *self._humidity

    def _result(self) -> bytes:
        try:
            return self._bus.transfer(self._address, b"", 3)
        except NoAcknowledge as error:
            raise NotReady("the chip does not acknowledge: still converting, or it lost power") from error

    def _send(self, command: bytes) -> None:
        self._bus.transfer(self._address, command, 0)

    def _ask(self, command: bytes, count: int) -> bytes:
        return self._bus.transfer(self._address, command, count)


def family(user: int) -> str | None:
    """Family by the user register: "sht2x" (also Si70xx) or "htu21d"; None for another chip."""
    if user in {0x00, 0xFF}:
        return None
    return {_FIXED_SHT2X: "sht2x", _FIXED_HTU21D: "htu21d"}.get(user & _FIXED)


def identity(bus: I2CBus, address: int) -> int | None:
    """First byte of the electronic identification; None where a compatible chip has none."""
    try:
        return bus.transfer(address, READ_ID, 6)[0]
    except NoAcknowledge:
        return None


def driver_for(bus: I2CBus, address: int) -> str | None:
    """The best of the drivers sht2x, htu21d and si7021 for the chip at the address; None for another chip."""
    name = family(bus.transfer(address, READ_USER, 1)[0])
    return "si7021" if name == "sht2x" and identity(bus, address) in SI70XX else name


def _describe_other(bus: I2CBus, address: int, user: int) -> str:
    """A sentence that names the chip and the driver for it."""
    try:
        device = int.from_bytes(bus.transfer(address, _HDC1080_ID, 2))
    except NoAcknowledge:
        device = 0
    if device in {0x1000, 0x1050}:
        return f'{address:#04x} is an HDC1080 or HDC1000 (id {device:#06x}), not an SHT2x: set driver = "hdc1080"'
    return f"{address:#04x} reads {user:#04x} as its user register and is no SHT2x, HTU21D or Si7021: an INA219?"


def recognise(bus: I2CBus, address: int) -> str | None:
    """By its user register; None for HTU21D and Si70xx, which have drivers of their own."""
    return "SHT20, SHT21 or SHT25" if driver_for(bus, address) == "sht2x" else None


DRIVERS: Final = (
    DriverInfo(
        name="sht2x",
        title="Sensirion SHT20, SHT21, SHT25",
        source="Datasheet SHT21, version 4",
        bus=BusKind.I2C,
        addresses=(0x40,),
        quantities=(
            Measured("temperature_c", -40.0, 125.0, resolution=0.01, accuracy=0.3, lsb=0.0107),
            Measured("humidity_pct", 0.0, 100.0, resolution=0.01, accuracy=2.0, lsb=0.0305),
        ),
        options=NoOptions,
        open=Sht2x,
        conversion_s=0.029,
        checksum=True,
        # It warms itself if it converts for more than 10 % of the time (section 2.4).
        period_s=2.0,
        shortest_period_s=0.25,
        stuck_after=30,
        recognise=recognise,
        recognise_rank=4,
    ),
)
