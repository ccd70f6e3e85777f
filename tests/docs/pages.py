"""The README and the pages of the manual, taken apart for tests."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "edge_agent"
README: Final = ROOT / "README.md"
MANUAL: Final = sorted((PACKAGE / "docs").glob("*.md"))
PAGES: Final = [README, *MANUAL, PACKAGE / "drivers" / "README.md", PACKAGE / "wire" / "FORMAT.md"]

_FENCED: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    language: str
    text: str


def blocks(language: str) -> list[Block]:
    """All blocks of a language, in README and manual."""
    return [
        Block(page.name, found[1], found[2])
        for page in (README, *MANUAL)
        for found in _FENCED.finditer(page.read_text(encoding="utf-8"))
        if found[1] == language
    ]


def links(page: Path) -> list[str]:
    """Targets of the links of a page that are not on the internet."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    return [target for target in _LINK.findall(text) if "://" not in target]


def anchors(page: Path) -> set[str]:
    """The names that forges give to the headings of a page."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in _HEADING.findall(text)}


def command_lines() -> list[tuple[str, ...]]:
    """The arguments of every call of edge-agent in the shell blocks, each once."""
    found: dict[tuple[str, ...], None] = {}
    for block in blocks("sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            words = shlex.shlex(line, posix=True, punctuation_chars=True)
            words.whitespace_split = True
            for command in _split(list(words)):
                if command and Path(command[0]).name == "edge-agent":
                    found[tuple(command[1:])] = None
    return list(found)


def _split(words: list[str]) -> list[list[str]]:
    """Single commands of a line, without `sudo`."""
    commands: list[list[str]] = [[]]
    for word in words:
        if set(word) <= set("&|;"):
            commands.append([])
        elif word != "sudo" or commands[-1]:
            commands[-1].append(word)
    return commands
