"""Formats of the text lines that devices send, and their description in the configuration. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias, cast

from edge_agent.drivers.lines import NUMBER, value_of
from edge_agent.quantity import QUANTITIES, Unit, find_unit, known_units

_COLUMN: Final = re.compile(
    r"((?P<name>[^=*]{1,40})=)?(?P<quantity>[a-z0-9_]+)(:(?P<unit>[^*]+))?(\*(?P<scale>[0-9.eE+-]+))?"
)

Parser: TypeAlias = Callable[[str], dict[str, float | None] | None]
"""Parses the values of a line, by quantity; None if the line does not have the format.

Raises NoField if the line has the format but a value is not a number.
"""


@dataclass(frozen=True, slots=True)
class Column:
    """One value of a line.

    Attributes:
        name: the device's name of it; a number counts columns from 1.
        quantity: that it holds; empty to skip it.
        unit: of the number, unless a unit follows the number.
        scale: factor for the number.
    """

    name: str
    quantity: str
    unit: Unit
    scale: Decimal

    def value(self, text: str) -> float | None:
        """Parse the text of the value. Raises NoField."""
        return value_of(text, self.quantity, unit=self.unit, scale=self.scale)


def parse_column(text: str, number: int) -> Column:
    """Parse `[NAME=]QUANTITY[:UNIT][*SCALE]`; an empty text is a column to skip.

    Raises:
        ValueError: the text has another form.
    """
    if not text:
        return Column(str(number), "", Unit(Decimal(1)), Decimal(1))
    match = _COLUMN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not [NAME=]QUANTITY[:UNIT][*SCALE], e.g. P=pressure_pa:hPa")
    quantity, unit_name = match["quantity"], match["unit"] or ""
    if quantity not in QUANTITIES:
        raise ValueError(f"{quantity!r} in {text!r} is not a quantity; known: {', '.join(QUANTITIES)}")
    unit = find_unit(quantity, unit_name)
    if unit is None:
        raise ValueError(f"{unit_name!r} is not a unit of {quantity}; known: {', '.join(known_units(quantity))}")
    try:
        scale = float(match["scale"] or 1)
    except ValueError:
        scale = math.nan
    if not scale or not math.isfinite(scale):
        raise ValueError(f"the scale in {text!r} is not a number other than 0")
    return Column((match["name"] or quantity).strip(), quantity, unit, Decimal(str(scale)))


def csv_parser(columns: tuple[Column, ...], separator: str) -> Parser:
    """A parser for values in a fixed order. Returns None for a line with another number of values."""

    def parse(text: str) -> dict[str, float | None] | None:
        fields = text.split() if separator == " " else text.strip().split(separator)
        if len(fields) == len(columns) + 1 and not fields[-1].strip():
            del fields[-1]
        if len(fields) != len(columns):
            return None
        return {
            column.quantity: column.value(field)
            for column, field in zip(columns, fields, strict=True)
            if column.quantity
        }

    return parse


def keyvalue_parser(columns: tuple[Column, ...]) -> Parser:
    """A parser for `T=23.4 H=45.6`, in any order. Returns None for a line without any of the names."""
    patterns = {column: _pattern_of(column.name) for column in columns if column.quantity}

    def parse(text: str) -> dict[str, float | None] | None:
        found = {column: match for column, pattern in patterns.items() if (match := pattern.search(text))}
        if not found:
            return None
        return {
            column.quantity: column.value(_with_unit(column.quantity, found[column])) if column in found else None
            for column in patterns
        }

    return parse


def _pattern_of(name: str) -> re.Pattern[str]:
    """Matches a name, `=` or `:`, a number with an attached unit or a word, and the word after it."""
    word = r"[^\s,;|]"
    return re.compile(
        rf"(?<![^\s,;|]){re.escape(name)}\s*[=:]\s*({NUMBER}[^\s0-9,;|]{{0,8}}|{word}{{1,12}})(?!{word})"
        rf"(?:\s([^\s0-9,;|=:]{{1,8}})(?!{word}))?"
    )


def _with_unit(quantity: str, match: re.Match[str]) -> str:
    """The number, followed by the next word if that is a unit."""
    after = match[2] or ""
    return match[1] + after if after and find_unit(quantity, after) else match[1]


def json_parser(columns: tuple[Column, ...]) -> Parser:
    """A parser for a JSON object. Returns None for a line that is not one, or has none of the names."""

    def parse(text: str) -> dict[str, float | None] | None:
        try:
            document = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError):
            return None
        found = {column: _at(document, column.name) for column in columns if column.quantity}
        if all(value is None for value in found.values()):
            return None
        return {column.quantity: None if value is None else column.value(value) for column, value in found.items()}

    return parse


def _at(document: object, name: str) -> str | None:
    """The value at `a.b.c` as text; None if there is none, and "nan" for null."""
    for key in name.split("."):
        if not isinstance(document, dict) or key not in document:
            return None
        document = cast("dict[str, object]", document)[key]
    return "nan" if document is None else str(document)


def regex_parser(columns: tuple[Column, ...], pattern: str) -> Parser:
    """A parser by regular expression. Returns None for a line without a match."""
    compiled = re.compile(pattern)

    def parse(text: str) -> dict[str, float | None] | None:
        match = compiled.search(text)
        if match is None:
            return None
        return {
            column.quantity: None if (field := match[column.name]) is None else column.value(field)
            for column in columns
            if column.quantity
        }

    return parse
