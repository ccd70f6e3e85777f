"""A microcontroller that sends its readings as text each second, or on request.

Source: none; the options define the text. For `regex` it writes `name=value`, which the pattern has to match.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from edge_agent.simulate.chips.talker import Talker
from edge_agent.simulate.chips.units import in_unit, present

if TYPE_CHECKING:
    from edge_agent.simulate.chips.base import Makers, Part

INTERVAL_NS: Final = 1_000_000_000
GREETING: Final = b"\x00\x00\r\nweather, node, v1.0\r\n"
"""Zero bytes as at power-on, and a banner with as many commas as the lines after it."""
_COLUMN: Final = re.compile(r"(?:([^=*]+)=)?([a-z0-9_]+)(?::([^*]+))?(?:\*(.+))?")
_SIGMAS: Final = {"temperature_c": 0.02, "humidity_pct": 0.1, "pressure_pa": 2.0, "co2_ppm": 3.0}


class Writer:
    """Formats the air of one moment as a line of text."""

    def __init__(self, part: Part) -> None:
        self._air, self._random = part.air, part.random
        self._format: str = part.options.get("format", "csv")
        self._columns = tuple(part.options.get("columns", ("temperature_c", "humidity_pct", "pressure_pa:hPa")))
        self._separator: str = part.options.get("separator", ",")

    def line(self, boot_ns: int) -> bytes:
        """The line, with its end."""
        fields = [self._field(column, boot_ns) for column in self._columns]
        match self._format:
            case "csv":
                text = self._separator.join(value for _, value in fields)
            case "json":
                text = json.dumps(_nested(dict(fields)))
            case _:
                text = " ".join(f"{name}={value}" for name, value in fields)
        return f"{text}\r\n".encode()

    def _field(self, column: str, boot_ns: int) -> tuple[str, str]:
        match = _COLUMN.fullmatch(column)
        if match is None:
            return "", "x"
        name, quantity, unit, scale = match.groups()
        value = present(self._air(boot_ns), quantity) + self._random.gauss(0.0, _SIGMAS.get(quantity, 0.0))
        return name or quantity, f"{in_unit(value, unit or '') / float(scale or 1):.2f}"


def _nested(fields: dict[str, str]) -> dict[str, Any]:
    """A nested JSON object: `a.b` becomes `b` inside `a`."""
    document: dict[str, Any] = {}
    for name, value in fields.items():
        *outer, last = name.split(".")
        place = document
        for key in outer:
            place = place.setdefault(key, {})
        place[last] = float(value)
    return document


class Answerer:
    """A device that answers a request with one line, without a line end as some do."""

    def __init__(self, part: Part) -> None:
        self._clock, self._writer = part.clock, Writer(part)
        self._word: bytes = part.options["request"].encode()

    def frame_length(self, received: bytes) -> int | None:
        """Length of the request word, once as many bytes have come."""
        return len(self._word) if len(received) >= len(self._word) else None

    def respond(self, frame: bytes) -> bytes | None:
        """One line for the request word; None for other requests."""
        return self._writer.line(self._clock.now_ns()).rstrip() if frame == self._word else None

    def power_cycle(self) -> None:
        """Has no volatile state."""


def make_device(part: Part) -> Talker | Answerer:
    """A device that answers requests if the options define one, otherwise one that sends by itself."""
    if part.options.get("request"):
        return Answerer(part)
    return Talker(part.clock, INTERVAL_NS, GREETING, Writer(part).line)


CHIPS: Final[Makers] = {"ascii_line": make_device}
