"""Devices that send their readings as lines of text: an Arduino, an ESP32, a data logger.

Source: none; there is no standard format. The newest complete line since the last poll is used. Banners, empty lines,
and the incomplete line after opening are skipped. Texts for a missing value (`nan`, `ERR`, and -127.00 and 85.00 of
Arduino's DS18B20 library) give None. A unit after a value overrides the configured one.

Limits:
    A line has no checksum: a transmission error that gives other digits is not noticed.
    A device that only answers gets `request`; if its answer has no line end, the read takes the whole time-out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from edge_agent.bus.base import BusKind
from edge_agent.drivers.base import DriverInfo, Measured, declared
from edge_agent.drivers.line_formats import (
    Column,
    Parser,
    csv_parser,
    json_parser,
    keyvalue_parser,
    parse_column,
    regex_parser,
)
from edge_agent.drivers.lines import LONGEST, LineReader, NoField, text_of
from edge_agent.errors import BadReply, BusTimeout, NotReady

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_agent.bus.base import SerialPort

_ENDS: Final = re.compile(rb"[\r\n]+")


@dataclass(frozen=True, slots=True)
class AsciiLineOptions:
    """Format of the lines, and the meaning of the values.

    `columns` are `[NAME=]QUANTITY[:UNIT][*SCALE]`: in csv in their order, "" for one to skip; otherwise by name, in
    JSON with dots between the levels; in regex the name of a group in `pattern`. `request` is sent before each
    measurement to devices that only answer.
    """

    format: Literal["csv", "keyvalue", "json", "regex"] = "csv"
    columns: tuple[str, ...] = ("temperature_c", "humidity_pct", "pressure_pa:hPa")
    separator: str = ","
    pattern: str | None = None
    request: str = ""
    timeout_s: float = 1.0

    def __post_init__(self) -> None:
        """Check that the options fit together.

        Raises:
            ValueError: they do not.
        """
        if not 0 < self.timeout_s <= 10:
            raise ValueError(f"timeout_s must be above 0 and at most 10, not {self.timeout_s}")
        if not self.separator:
            raise ValueError('separator must not be empty; " " stands for any white space')
        named = [column for column in self.parsed() if column.quantity]
        quantities = [column.quantity for column in named]
        if not quantities or len(set(quantities)) < len(quantities):
            raise ValueError("columns must name one or more quantities, each once")
        if (self.pattern is not None) != (self.format == "regex"):
            raise ValueError('format = "regex" and pattern go together')
        if self.pattern is not None:
            try:
                groups = re.compile(self.pattern).groupindex
            except re.error as error:
                raise ValueError(f"pattern is not a regular expression: {error}") from error
            if missing := [column.name for column in named if column.name not in groups]:
                raise ValueError(f"pattern has no group (?P<{missing[0]}>…)")

    def parsed(self) -> tuple[Column, ...]:
        """The columns."""
        return tuple(parse_column(text, number) for number, text in enumerate(self.columns, 1))


def parser_for(options: AsciiLineOptions) -> Parser:
    """The parser that the options describe."""
    columns = options.parsed()
    match options.format:
        case "csv":
            return csv_parser(columns, options.separator)
        case "keyvalue":
            return keyvalue_parser(columns)
        case "json":
            return json_parser(columns)
        case "regex":
            return regex_parser(columns, options.pattern or "")


# The device


class AsciiLine:
    """One device that sends lines, or answers a request with one.

    Args:
        bus: the port.
        address: not used.
        options: format of the lines.
    """

    def __init__(self, bus: SerialPort, address: int, options: AsciiLineOptions) -> None:
        del address
        self._bus = bus
        self._parse = parser_for(options)
        self._request = options.request.encode()
        self._timeout_s = options.timeout_s
        self._reader = None if self._request else LineReader(bus.listen())
        self._waiting: list[bytes] = []
        self._refused = ""
        self.quantities: tuple[str, ...] = tuple(measured.quantity for measured in measures(options))

    def probe(self) -> Iterator[int]:
        """Open the port, or send the request once. Such a device has no identity. Raises as `collect`."""
        if self._reader is None:
            self.collect()
        else:
            self._waiting = self._reader.take()
        yield from ()

    def trigger(self) -> int:
        """Start nothing: the device measures by itself. Returns 0."""
        return 0

    def collect(self) -> tuple[float | None, ...]:
        """Read the newest line with values since the last call, or request one.

        Raises:
            NotReady: no such line has arrived yet.
            BusTimeout: no answer. BadReply: an answer without values.
        """
        if self._reader is None:
            return self._ask()
        lines, self._waiting = self._waiting + self._reader.take(), []
        values = self._newest(lines)
        if values is None:
            raise NotReady(
                f"no line fits the format; the last was {self._refused!r}"
                if self._refused
                else "no line has come: check baud rate and wiring, whether the device sends by itself, and dtr"
            )
        return values

    def _ask(self) -> tuple[float | None, ...]:
        received = self._bus.exchange(
            self._request, reply_length=LONGEST, timeout_s=self._timeout_s, complete=_ends_with_a_line
        )
        if not received:
            raise BusTimeout(f"the device does not answer to {self._request!r}: check baud rate and wiring")
        values = self._newest(line.replace(b"\0", b"") for line in _ENDS.split(received))
        if values is None:
            raise BadReply(f"the answer does not fit the format: {self._refused!r}")
        return values

    def _newest(self, lines: Iterable[bytes]) -> tuple[float | None, ...] | None:
        for line in reversed([line for line in lines if line.strip()]):
            text = text_of(line)
            try:
                values = self._parse(text)
            except NoField:
                values = None
            if values is not None:
                self._refused = ""
                return tuple(values[quantity] for quantity in self.quantities)
            self._refused = self._refused or text[:60]
        return None


def _ends_with_a_line(received: bytes) -> bool:
    return received.endswith((b"\r", b"\n")) and bool(received.strip())


_OFFERED: Final = (
    Measured("temperature_c", -90.0, 200.0),
    Measured("humidity_pct", 0.0, 100.0),
    Measured("pressure_pa", 1_000.0, 200_000.0),
    Measured("co2_ppm", 0.0, 40_000.0),
    Measured("illuminance_lx", 0.0, 200_000.0),
)
"""Without accuracy, which depends on the device."""


def measures(options: AsciiLineOptions) -> tuple[Measured, ...]:
    """The quantities of the columns."""
    return tuple(declared(column.quantity, _OFFERED) for column in options.parsed() if column.quantity)


DRIVERS: Final = (
    DriverInfo(
        name="ascii_line",
        title="devices that send readings as lines of text (csv, name=value, JSON, or by a regular expression)",
        source="as their makers like",
        bus=BusKind.SERIAL,
        addresses=(),
        quantities=_OFFERED,
        options=AsciiLineOptions,
        open=AsciiLine,
        shortest_period_s=0.05,
        narrow=measures,
    ),
)
