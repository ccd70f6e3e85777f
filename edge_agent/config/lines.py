"""In which line of a TOML text a key stands, for messages: `tomllib` reads the values but not where they were. Pure.

Limits: keys inside inline tables and multi-line arrays are found by the line where their outermost key begins.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

Path = tuple[str | int, ...]

_KEY: Final = r'(?:[A-Za-z0-9_-]+|"[^"\n]*"|\'[^\'\n]*\')'
_DOTTED: Final = rf"\s*({_KEY}(?:\s*\.\s*{_KEY})*)\s*"
_TABLE: Final = re.compile(rf"\[{_DOTTED}\]")
_ARRAY: Final = re.compile(rf"\[\[{_DOTTED}\]\]")
_ASSIGNMENT: Final = re.compile(rf"{_DOTTED}=")
_MULTILINE: Final = re.compile(r'"""|\'\'\'')


def line_of(text: str, path: Path) -> int:
    """The line (from 1) of the key at `path`, or of the closest enclosing table that stands in the text.

    Args:
        text: valid TOML.
        path: e.g. `("sensor", 2, "address")`.
    """
    known = dict(_positions(text))
    while path and path not in known:
        path = path[:-1]
    return known.get(path, 1)


def _positions(text: str) -> Iterator[tuple[Path, int]]:
    """Every table header and assignment with its line."""
    table: Path = ()
    array_lengths: dict[Path, int] = {}
    inside: str | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if inside is not None:  # in a multi-line string: nothing here is a key
            inside = None if line.count(inside) % 2 else inside
            continue
        stripped = line.strip()
        if array := _ARRAY.match(stripped):
            base = _resolve(_split(array[1]), array_lengths)
            array_lengths[base] = array_lengths.get(base, -1) + 1
            table = (*base, array_lengths[base])
            yield table, number
        elif header := _TABLE.match(stripped):
            table = _resolve(_split(header[1]), array_lengths)
            yield table, number
        elif assignment := _ASSIGNMENT.match(stripped):
            yield (*table, *_split(assignment[1])), number
        opening = _MULTILINE.search(stripped)
        if opening and stripped.count(opening[0]) % 2:
            inside = opening[0]


def _split(dotted: str) -> Path:
    return tuple(part.strip("\"'") for part in re.findall(_KEY, dotted))


def _resolve(path: Path, array_lengths: dict[Path, int]) -> Path:
    """Insert the index of the array element that a header below `[[…]]` belongs to."""
    resolved: Path = ()
    for position, part in enumerate(path):
        resolved = (*resolved, part)
        if resolved in array_lengths and position < len(path) - 1:
            resolved = (*resolved, array_lengths[resolved])
    return resolved
