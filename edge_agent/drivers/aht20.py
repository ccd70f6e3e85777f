"""Aosong AHT20 and its relatives AHT21 and AHT25: temperature and humidity, with a checksum.

Source: AHT20 product manual, version 1.1 (sections 5.2 to 5.4, 6). I2C address 0x38. Compatible chips differ in the
initialisation command: each acknowledges one of two, so both are tried.

Limits:
    A supply dip that leaves the calibration in place is not noticed; readings stay right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured, NoOptions
from edge_agent.drivers.checksum import crc8_sensirion
from edge_agent.errors import BadReply, ChecksumMismatch, ChipWasReset, NoAcknowledge, NotReady, WrongChip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import I2CBus

# Commands: section 5.3; the first initialisation command is that of the AHT10.
INITIALISE_AHT10: Final = b"\xe1\x08\x00"
INITIALISE_AHT20: Final = b"\xbe\x08\x00"
MEASURE: Final = b"\xac\x33\x00"
SOFT_RESET: Final = b"\xba"

SOFT_RESET_NS: Final = 20_000_000
INITIALISE_NS: Final = 10_000_000
CONVERSION_NS: Final = 80_000_000

# Status byte: section 5.3, table 9.
BUSY: Final = 0x80
CALIBRATED: Final = 0x08
_MODE: Final = 0x60
"""Zero after a reset, on every kind."""

DATA_BYTES: Final = 6
"""Status, 20 bits of humidity, 20 bits of temperature."""
_NO_CONVERSION: Final = frozenset({0x00000, 0xFFFFF})
"""Counts at an end of the scale: power-up, a defective sensor element, or a line held low or high."""

# Datasheet maths


def temperature_c(raw: int) -> float | None:
    """Temperature in °C (section 6.2); None for counts at an end of the scale."""
    return None if raw in _NO_CONVERSION else raw * 200.0 / 1048576.0 - 50.0


def humidity_pct(raw: int) -> float | None:
    """Relative humidity in %, 0..100 (section 6.1); None for counts at an end of the scale."""
    return None if raw in _NO_CONVERSION else raw * 100.0 / 1048576.0


def decode(data: bytes) -> tuple[float | None, float | None]:
    """Turn status and data, six bytes, into °C and %RH."""
    both = int.from_bytes(data[1:DATA_BYTES])
    return temperature_c(both & 0xFFFFF), humidity_pct(both >> 20)


def check(reply: bytes) -> None:
    """Compare the checksum over status and data with the seventh byte. Raises ChecksumMismatch."""
    expected = crc8_sensirion(reply[:DATA_BYTES])
    if reply[DATA_BYTES] != expected:
        raise ChecksumMismatch(expected=expected, received=reply[DATA_BYTES], raw=reply)


# The chip


class Aht:
    """One AHT20 or a compatible chip.

    Args:
        bus: its adapter.
        address: 0x38, or 0x39 on an AHT10.
        options: none.
    """

    ways_to_initialise: ClassVar[tuple[bytes, ...]] = (INITIALISE_AHT20, INITIALISE_AHT10)
    has_checksum: ClassVar[bool] = True

    def __init__(self, bus: I2CBus, address: int, options: NoOptions) -> None:
        del options
        self._bus = bus
        self._address = address
        self._proved = False
        """Whether a checksum has been right since `probe`."""
        self.quantities: tuple[str, ...] = ("temperature_c", "humidity_pct")

    def probe(self) -> Iterator[int]:
        """Check that it is not an I/O expander, reset, and initialise if necessary."""
        self._proved = False
        if len(set(self._receive(DATA_BYTES + 1))) == 1:
            raise WrongChip(
                f"{self._address:#04x} repeats one byte as an I/O expander PCF8574A does, and is no AHT: "
                "check the address"
            )
        self._send(SOFT_RESET)
        yield SOFT_RESET_NS
        for command in self.ways_to_initialise:
            if self._receive(1)[0] & CALIBRATED:
                return
            try:
                self._send(command)
            except NoAcknowledge:
                continue
            yield INITIALISE_NS
        if not self._receive(1)[0] & CALIBRATED:
            raise BadReply("the chip does not load its calibration: check its supply, or replace it")

    def trigger(self) -> int:
        """Start one conversion. Returns the longest time it takes, ns."""
        self._send(MEASURE)
        return CONVERSION_NS

    def collect(self) -> tuple[float | None, ...]:
        """Read status and data in one burst.

        Raises:
            NotReady: the conversion is still running.
            ChipWasReset: it has lost its calibration.
            ChecksumMismatch: the bytes are damaged.
            WrongChip: there is no checksum, so it is an AHT10.
        """
        reply = self._receive(DATA_BYTES + self.has_checksum)
        if self.has_checksum:
            self._check(reply)
        status = reply[0]
        if status & BUSY:
            raise NotReady("the conversion is still running")
        if not status & CALIBRATED:
            raise ChipWasReset(f"the status reads {status:#04x}: the chip lost its calibration (supply dip?)")
        return decode(reply)

    def _check(self, reply: bytes) -> None:
        try:
            check(reply)
        except ChecksumMismatch as error:
            if not self._proved and error.received == 0xFF:
                raise WrongChip(
                    f'{self._address:#04x} sends no checksum: no AHT20 but an AHT10 or AHT15: set driver = "aht10"'
                ) from error
            raise
        self._proved = True

    def _send(self, command: bytes) -> None:
        self._bus.transfer(self._address, command, 0)

    def _receive(self, count: int) -> bytes:
        return self._bus.transfer(self._address, b"", count)


def kind_of(bus: I2CBus, address: int) -> str | None:
    """Which chip of the family is at the address, by reading only; None if there is none, or it is not initialised."""
    reply = bus.transfer(address, b"", DATA_BYTES + 1)
    if len(set(reply)) == 1 or reply[0] & (_MODE | CALIBRATED) != CALIBRATED:
        return None
    without_checksum = reply[DATA_BYTES] == 0xFF != crc8_sensirion(reply[:DATA_BYTES])
    return "AHT10 or AHT15" if without_checksum else "AHT20, AHT21 or AHT25"


def recognise(bus: I2CBus, address: int) -> str | None:
    """By its status and the byte after its data. Writes nothing, because an I/O expander would switch its outputs."""
    name = kind_of(bus, address)
    return name if name is not None and "AHT20" in name else None


DRIVERS: Final = (
    DriverInfo(
        name="aht20",
        title="Aosong AHT20, AHT21, AHT25",
        source="AHT20 product manual, version 1.1",
        bus=BusKind.I2C,
        addresses=(0x38,),
        quantities=(
            Measured("temperature_c", -40.0, 85.0, resolution=0.01, accuracy=0.3, lsb=0.000191),
            Measured("humidity_pct", 0.0, 100.0, resolution=0.01, accuracy=2.0, lsb=0.0000954),
        ),
        options=NoOptions,
        open=Aht,
        conversion_s=0.08,
        checksum=True,
        # At shorter periods it warms itself (section 5.4, note).
        period_s=2.0,
        shortest_period_s=1.0,
        stuck_after=30,
        recognise=recognise,
        recognise_rank=5,
    ),
)
