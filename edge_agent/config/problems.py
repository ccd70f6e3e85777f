"""What is wrong with a file, and where it stands there. Pure."""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.config.lines import line_of

if TYPE_CHECKING:
    from collections.abc import Iterable

KeyPath = tuple[str | int, ...]
"""Keys and indices from 0 that lead to a value, e.g. `("sensor", 2, "address")`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One sentence about one key.

    Attributes:
        path: where the key stands.
        text: what is wrong, or worth knowing.
    """

    path: KeyPath
    text: str


def sentences(problems: Iterable[Problem], text: str, name: str) -> tuple[str, ...]:
    """Write problems as `FILE:LINE: sensor[3].address: …`, in file order, each once.

    Args:
        problems: what was found.
        text: the file's content, valid TOML.
        name: of the file.
    """
    placed = sorted({(line_of(text, problem.path), shown(problem.path), problem.text) for problem in problems})
    return tuple(f"{name}:{line}: {where}: {sentence}" for line, where, sentence in placed)


def shown(path: KeyPath) -> str:
    """A path for people, with indices from 1: `sensor[3].address`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += f".{part}" if re.fullmatch("[A-Za-z0-9_-]+", part) else f".{json.dumps(part)}"
    return text.removeprefix(".")


def unknown(name: str, known: tuple[str, ...], what: str = "key") -> str:
    """The sentence about a name that is not known: with the nearest known one, or with all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known)) or 'none'}"
    return f"unknown {what} {name!r}; {hint}"
