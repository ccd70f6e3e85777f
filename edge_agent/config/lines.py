"""Finds the line of a key in a TOML text, for messages; `tomllib` does not tell it. Pure.

Limits: keys inside inline tables and arrays are found by the line where their outermost key begins, and so are
quoted keys with escapes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

Path = tuple[str | int, ...]

_KEY: Final = r'(?:[A-Za-z0-9_-]+|"[^"\n]*"|\'[^\'\n]*\')'
_DOTTED: Final = rf"[ \t]*({_KEY}(?:[ \t]*\.[ \t]*{_KEY})*)[ \t]*"
_TABLE: Final = re.compile(rf"\[{_DOTTED}\]")
_ARRAY: Final = re.compile(rf"\[\[{_DOTTED}\]\]")
_ASSIGNMENT: Final = re.compile(rf"{_DOTTED}=")
_BLANK: Final = re.compile(r"(?:\s|#[^\n]*)+")
_TOKEN: Final = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|' + r"'''.*?'{3,5}" + r'|"(?:\\.|[^"\\])*"' + r"|'[^']*'|#[^\n]*|.", re.DOTALL
)
"""A string or comment, in which brackets and line ends mean nothing; else one character."""


def line_of(text: str, path: Path) -> int:
    """The line of a key, or of the closest enclosing table that is in the text; the first line is 1.

    Args:
        text: valid TOML.
        path: e.g. `("sensor", 2, "address")`.
    """
    known = dict(_positions(text))
    while path and path not in known:
        path = path[:-1]
    return text.count("\n", 0, known.get(path, 0)) + 1


def _positions(text: str) -> Iterator[tuple[Path, int]]:
    """Yield path and offset of every table header and assignment."""
    table: Path = ()
    array_lengths: dict[Path, int] = {}
    at = 0
    while at < len(text):
        if blank := _BLANK.match(text, at):
            at = blank.end()
        elif array := _ARRAY.match(text, at):
            base = _resolve(_split(array[1]), array_lengths)
            array_lengths[base] = array_lengths.get(base, -1) + 1
            table = (*base, array_lengths[base])
            if not array_lengths[base]:
                yield base, at
            yield table, at
            at = array.end()
        elif header := _TABLE.match(text, at):
            table = _resolve(_split(header[1]), array_lengths)
            yield table, at
            at = header.end()
        elif assignment := _ASSIGNMENT.match(text, at):
            yield (*table, *_split(assignment[1])), at
            at = _end_of_value(text, assignment.end())
        else:
            at = _end_of_value(text, at + 1)


def _end_of_value(text: str, at: int) -> int:
    """Offset after a value: the next end of a line that is not inside brackets or a string."""
    depth = 0
    for token in _TOKEN.finditer(text, at):
        depth += (token[0] in {"[", "{"}) - (token[0] in {"]", "}"})
        if token[0] == "\n" and depth <= 0:
            return token.end()
    return len(text)


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
