"""Weather stations with NMEA 0183: sentences XDR, MDA and MTW, from any talker.

Source: NMEA 0183 version 2.30 (sentences XDR, MDA, MTW; section 5.3 for form and checksum). 4800 baud unless the maker
says otherwise. A poll returns the newest value of each quantity since the last poll. It waits until all have arrived,
except those that were missing in two polls.

Limits:
    Of several transducers of one kind in XDR the first is used (air temperature in most stations); `transducer` selects
    another one by its name.
    With `strict = false` sentences without a checksum and those longer than 82 characters are accepted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured, checked_quantities
from edge_agent.drivers.lines import LineReader
from edge_agent.errors import BadReply, ChecksumMismatch, DriverError, NotReady
from edge_agent.quantity import find_unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from edge_agent.bus.base import SerialPort

LONGEST: Final = 82
"""Characters of a sentence, with `$` and the line end (section 5.3.2)."""
_SENTENCE: Final = re.compile(rb"\$([A-Z]{2}|P)([A-Z]{3}),([\x20-\x23\x25-\x29\x2b-\x7e]*)(?:\*([0-9A-Fa-f]{2}))?\s*")
_NUMBER: Final = re.compile(r"[-+]?[0-9]{1,9}(\.[0-9]{0,9})?")
_KINDS: Final = {"C": "temperature_c", "P": "pressure_pa", "H": "humidity_pct"}
_XDR_UNITS: Final = {
    ("C", "C"): "c",
    ("C", "F"): "f",
    ("C", "K"): "k",
    ("P", "B"): "bar",
    ("P", "P"): "pa",
    ("H", "P"): "pct",
}
"""Type and unit of a transducer → ours."""
_POLLS_WAITED: Final = 2
"""Number of polls without a quantity after which a poll does not wait for it any more."""

Medium = Literal["air", "water"]

# The sentences


def checksum(body: bytes) -> int:
    """Exclusive or of all between `$` and `*` (section 5.2.3)."""
    total = 0
    for byte in body:
        total ^= byte
    return total


def fields_of(line: bytes, *, strict: bool) -> tuple[str, tuple[str, ...]] | None:
    """The kind and the fields of the sentence in a line.

    Args:
        line: without its end. Characters before the last `$` are noise.
        strict: whether a checksum is required and the length is limited.

    Returns:
        E.g. `("XDR", ("C", "19.5", …))`; None if the line has no sentence.

    Raises:
        ChecksumMismatch: the sentence was damaged.
        BadReply: it has no checksum, or is too long.
    """
    start = line.rfind(b"$")
    match = _SENTENCE.fullmatch(line, max(start, 0))
    if match is None:
        return None
    talker, kind, fields, received = match.groups()
    if received is not None and int(received, 16) != (expected := checksum(talker + kind + b"," + fields)):
        raise ChecksumMismatch(expected=expected, received=int(received, 16), raw=line[start:])
    if strict and received is None:
        raise BadReply(f"a sentence without a checksum: {line[start:].decode('ascii')!r}; strict = false believes it")
    if strict and len(line) - start + 2 > LONGEST:
        raise BadReply(f"a sentence of more than {LONGEST} characters; strict = false believes it")
    return kind.decode(), tuple(fields.decode().split(","))


def values_of(
    kind: str, fields: Sequence[str], medium: Medium = "air", transducer: str | None = None
) -> dict[str, float]:
    """Values of the air or the water in a sentence, in canonical units, without empty and invalid fields."""
    match kind:
        case "XDR":
            return _of_transducers(fields, transducer) if medium == "air" or transducer else {}
        case "MDA" if medium == "air":
            return _of_mda(fields)
        case "MDA":
            return _known("temperature_c", fields[6:8], "C", "c")
        case "MTW" if medium == "water":
            return _known("temperature_c", fields[:2], "C", "c")
        case _:
            return {}


def _of_transducers(fields: Sequence[str], name: str | None) -> dict[str, float]:
    """XDR: type, value, unit and name of each transducer."""
    found: dict[str, float] = {}
    for start in range(0, len(fields) - 3, 4):
        kind, value, unit, called = fields[start : start + 4]
        ours = _XDR_UNITS.get((kind, unit))
        if ours is None or (name is not None and kind == "C" and called.strip() != name):
            continue
        quantity = _KINDS[kind]
        if quantity not in found:
            found |= _known(quantity, (value, unit), unit, ours)
    return found


def _of_mda(fields: Sequence[str]) -> dict[str, float]:
    """MDA: pressure in inHg and bar, air and water temperature, relative humidity without a unit."""
    pressure = _known("pressure_pa", fields[2:4], "B", "bar") or _known("pressure_pa", fields[0:2], "I", "inhg")
    humidity = _known("humidity_pct", (*fields[8:9], "P"), "P", "pct")
    return _known("temperature_c", fields[4:6], "C", "c") | pressure | humidity


def _known(quantity: str, value_and_unit: Sequence[str], letter: str, unit: str) -> dict[str, float]:
    """The value in the canonical unit; None if it is not a number, or the letter of the unit is unknown."""
    if len(value_and_unit) != 2 or value_and_unit[1] != letter or not _NUMBER.fullmatch(value_and_unit[0]):
        return {}
    found = find_unit(quantity, unit)
    return {} if found is None else {quantity: found.canonical(Decimal(value_and_unit[0]))}


# The device


_OFFERED: Final = (
    Measured("temperature_c", -60.0, 80.0, resolution=0.1, accuracy=0.5, lsb=0.1),
    Measured("humidity_pct", 0.0, 100.0, resolution=0.1, accuracy=3.0, lsb=0.1),
    Measured("pressure_pa", 60_000.0, 120_000.0, resolution=10.0, accuracy=100.0, lsb=10.0),
)


@dataclass(frozen=True, slots=True)
class NmeaOptions:
    """Which medium, air or water, and which quantities; and whether invalid sentences are refused."""

    quantities: tuple[str, ...] = ("temperature_c", "humidity_pct", "pressure_pa")
    medium: Medium = "air"
    transducer: str | None = None
    strict: bool = True

    def __post_init__(self) -> None:
        """Check the quantities. Raises ValueError."""
        checked_quantities(self.quantities, _OFFERED)


def measures(options: NmeaOptions) -> tuple[Measured, ...]:
    """The configured quantities; for water only the temperature."""
    wanted = ("temperature_c",) if options.medium == "water" else options.quantities
    return checked_quantities(wanted, _OFFERED)


class Nmea0183:
    """One station that sends sentences.

    Args:
        bus: the port.
        address: not used.
        options: medium and quantities.
    """

    def __init__(self, bus: SerialPort, address: int, options: NmeaOptions) -> None:
        del address
        self._reader = LineReader(bus.listen())
        self._options = options
        self._latest: dict[str, float] = {}
        self._waiting: list[bytes] = []
        self._damage: DriverError | None = None
        self.quantities: tuple[str, ...] = tuple(measured.quantity for measured in measures(options))
        self._missed = dict.fromkeys(self.quantities, 0)

    def probe(self) -> Iterator[int]:
        """Open the port. A station cannot be identified."""
        self._waiting += self._reader.take()
        yield from ()

    def trigger(self) -> int:
        """Start nothing: the station measures by itself. Returns 0."""
        for quantity in self.quantities:
            self._missed[quantity] += quantity not in self._latest
        return 0

    def collect(self) -> tuple[float | None, ...]:
        """The newest values since the last measurement.

        Raises:
            NotReady: not all quantities have arrived yet.
            ChecksumMismatch, BadReply: only invalid sentences have arrived.
        """
        lines, self._waiting = self._waiting + self._reader.take(), []
        for line in lines:
            self._receive(line)
        damage, self._damage = self._damage, None
        missing = [name for name in self.quantities if name not in self._latest]
        if not self._latest and damage is not None:
            raise damage
        if not self._latest or any(self._missed[name] <= _POLLS_WAITED for name in missing):
            raise NotReady(
                f"no {', '.join(missing)} has come: if the station does not send it, leave it out of quantities"
                if self._latest
                else "no sentence XDR, MDA or MTW has come: check baud rate (4800?), wiring, and what it sends"
            )
        values = tuple(self._latest.get(name) for name in self.quantities)
        for name in self._latest:
            self._missed[name] = 0
        self._latest.clear()
        return values

    def _receive(self, line: bytes) -> None:
        try:
            sentence = fields_of(line, strict=self._options.strict)
        except DriverError as error:
            self._damage = error
            return
        if sentence is not None:
            found = values_of(*sentence, self._options.medium, self._options.transducer)
            self._latest |= {name: value for name, value in found.items() if name in self.quantities}


DRIVERS: Final = (
    DriverInfo(
        name="nmea0183",
        title="weather stations that speak NMEA 0183 (XDR, MDA, MTW)",
        source="NMEA 0183 version 2.30",
        bus=BusKind.SERIAL,
        addresses=(),
        quantities=_OFFERED,
        options=NmeaOptions,
        open=Nmea0183,
        checksum=True,
        period_s=5.0,
        shortest_period_s=0.1,
        narrow=measures,
    ),
)
