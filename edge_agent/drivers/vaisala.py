"""Vaisala transmitters with text commands: PTB330, PTU300, HMT330, HMP155, PTB220 and compatible ones.

Sources: PTU300 User's Guide M210796EN (serial line operation, table 29, FORM and SEND); PTB330 User's Guide M210855EN;
HMP155 User's Guide M210912EN. The request is `SEND` for address 0, otherwise e.g. `SEND 5`, as mode POLL needs it.
Factory settings of PTU300 and HMP155 are 4800 7E1, of PTB330 9600 7E1: `bytesize = 7`, `parity = "E"`.

Limits:
    Each value must be followed by its unit, as in the default FORM, because the device may be set to other units.
    A reply has no checksum unless FORM adds one: a transmission error that gives other digits is not noticed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured, checked_quantities
from edge_agent.errors import BadReply, BusTimeout
from edge_agent.quantity import find_unit, known_units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.bus.base import SerialPort

LONGEST_REPLY: Final = 256
_ENDS: Final = re.compile(rb"[\r\n]+")
_VALUE: Final = re.compile(
    r"(?P<label>[A-Za-z][A-Za-z0-9]{0,11})?\s*=?\s*(?P<value>[-+]?[0-9]{1,6}(?:\.[0-9]{0,6})?|\*{1,12})"
    r"\s*(?P<unit>%RH|[%'°A-Za-z][A-Za-z/]{0,8})?(?![^\s>])"
)
_LABELS: Final = {
    "p": "pressure_pa",
    "pressure": "pressure_pa",
    "t": "temperature_c",
    "ta": "temperature_c",
    "temp": "temperature_c",
    "rh": "humidity_pct",
}
_UNLABELLED: Final = {"hpa": "pressure_pa", "mbar": "pressure_pa", "%rh": "humidity_pct"}
"""Quantity of a value without a label, by its unit: old barometers send only `1013.25 hPa`."""
_NO_UNIT: Final = "set FORM so that each value is followed by its unit (U), or restore it with FORM /"

# The reply


def request_for(address: int) -> bytes:
    """The command that makes the device send one message."""
    return b"SEND\r" if address == 0 else f"SEND {address}\r".encode()


def parse(line: str) -> dict[str, float | None]:
    """The values in a line of a reply, in canonical units; None for asterisks, which mean a missing value.

    Raises:
        BadReply: a value has no unit, or an unknown one.
    """
    found: dict[str, float | None] = {}
    for quantity, text, unit in _readings(line):
        if quantity in found:
            continue
        if text.startswith("*"):
            found[quantity] = None
            continue
        known = find_unit(quantity, unit) if unit else None
        if known is None:
            units = ", ".join(known_units(quantity))
            raise BadReply(f"{quantity} {text} {unit} has no unit that is known ({units}); {_NO_UNIT}")
        found[quantity] = known.canonical(Decimal(text))
    return found


def _readings(line: str) -> Iterator[tuple[str, str, str]]:
    """Quantity, number or asterisks, and unit of each value in a line."""
    for match in _VALUE.finditer(line):
        label, unit = (match["label"] or "").lower(), match["unit"] or ""
        quantity = _LABELS.get(label) if label else _UNLABELLED.get(unit.lower())
        if quantity is not None:
            yield quantity, match["value"], unit


def find_values(received: bytes) -> dict[str, float | None]:
    """The values in the received bytes, after an echo of the command and a prompt, up to a line end.

    Raises:
        BadReply: there are none, or the line is not complete; or as `parse`.
    """
    *lines, rest = _ENDS.split(received)
    for line in reversed(lines):
        if values := parse(_text(line)):
            return values
    if any(_readings(_text(rest))):
        raise BadReply(f"the reply broke off: {received[-60:]!r}")
    raise BadReply(f"the reply holds no value: {received[:60]!r}; check bytesize and parity (7E1?), and SMODE")


def is_complete(received: bytes) -> bool:
    """Whether a complete line with values has arrived."""
    return any(any(_readings(_text(line))) for line in _ENDS.split(received)[:-1])


def _text(line: bytes) -> str:
    return line.decode("latin-1").lstrip("> \0")


# The device


_OFFERED: Final = (
    Measured("pressure_pa", 50_000.0, 110_000.0, resolution=1.0, accuracy=20.0, lsb=10.0),
    Measured("temperature_c", -80.0, 180.0, resolution=0.01, accuracy=0.3, lsb=0.1),
    Measured("humidity_pct", 0.0, 100.0, resolution=0.01, accuracy=1.5, lsb=0.1),
)


@dataclass(frozen=True, slots=True)
class VaisalaOptions:
    """Which quantities of the device, and the time-out of a reply."""

    quantities: tuple[str, ...] = ("pressure_pa", "temperature_c", "humidity_pct")
    timeout_s: float = 1.0

    def __post_init__(self) -> None:
        """Check quantities and time-out. Raises ValueError."""
        checked_quantities(self.quantities, _OFFERED)
        if not 0 < self.timeout_s <= 10:
            raise ValueError(f"timeout_s must be above 0 and at most 10, not {self.timeout_s}")


def measures(options: VaisalaOptions) -> tuple[Measured, ...]:
    """The quantities that are configured."""
    return checked_quantities(options.quantities, _OFFERED)


class Vaisala:
    """One transmitter.

    Args:
        bus: the line; in mode POLL it may be shared.
        address: 0, or in mode POLL that of the device.
        options: quantities and time-out.
    """

    def __init__(self, bus: SerialPort, address: int, options: VaisalaOptions) -> None:
        self._bus = bus
        self._request = request_for(address)
        self._timeout_s = options.timeout_s
        self._wanted = tuple(measured.quantity for measured in measures(options))
        self.quantities: tuple[str, ...] = self._wanted

    def probe(self) -> Iterator[int]:
        """Read once, to find the quantities that it sends. Raises as `collect`.

        Raises:
            BadReply: it sends none of the configured quantities.
        """
        values = self._ask()
        if not any(name in values for name in self._wanted):
            raise BadReply(f"it sends {', '.join(values)}, and none of {', '.join(self._wanted)}")
        self.quantities = tuple(name for name in self._wanted if name in values)
        yield from ()

    def trigger(self) -> int:
        """Start nothing: the transmitter measures all the time. Returns 0."""
        return 0

    def collect(self) -> tuple[float | None, ...]:
        """Request one message.

        Raises:
            BusTimeout: no reply. BadReply: as `find_values`.
        """
        values = self._ask()
        return tuple(values.get(name) for name in self.quantities)

    def _ask(self) -> dict[str, float | None]:
        received = self._bus.exchange(
            self._request, reply_length=LONGEST_REPLY, timeout_s=self._timeout_s, complete=is_complete
        )
        if not received:
            raise BusTimeout("the transmitter is silent: check baud rate, 7E1, wiring, and its address in mode POLL")
        return find_values(received)


DRIVERS: Final = (
    DriverInfo(
        name="vaisala",
        title="Vaisala transmitters with a text interface: PTB330, PTU300, HMT330, HMP155",
        source="User's Guides M210796EN, M210855EN, M210912EN",
        bus=BusKind.SERIAL,
        addresses=tuple(range(256)),
        quantities=_OFFERED,
        options=VaisalaOptions,
        open=Vaisala,
        shortest_period_s=0.2,
        narrow=measures,
    ),
)
