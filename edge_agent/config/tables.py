"""One table of parsed TOML → one frozen object, and everything that is wrong with the table."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

from edge_agent.config import model
from edge_agent.config.problems import Problem, unknown
from edge_agent.config.values import CONVERTER, expected, mismatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.config.problems import KeyPath

SectionT = TypeVar("SectionT")

ALIASES: Final[Mapping[type, Mapping[str, str]]] = {
    model.SensorKeys: {"channel": "mux_channel"},
}
"""Keys that were renamed, by section: old name → new name. The old one is accepted for ever."""


def keys_of(kind: type[Any]) -> set[str]:
    """The keys of a section, by their present names."""
    return {field.name for field in dataclasses.fields(kind)}


def former_keys_of(kind: type[Any]) -> set[str]:
    """The former names that a section also accepts."""
    return set(ALIASES.get(kind, {}))


class Tables:
    """Reads the tables of one file, and gathers problems instead of stopping at the first.

    Attributes:
        problems: what is wrong, in no particular order. Paths are those of the present names of keys.
        renamed: keys that stand in the file under a former name: present path → path in the file.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.renamed: dict[KeyPath, KeyPath] = {}

    def say(self, path: KeyPath, text: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(path, text))

    def as_written(self, path: KeyPath) -> KeyPath:
        """The path under which a key stands in the file."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.renamed:
                return self.renamed[path[:length]] + path[length:]
        return path

    def notes(self) -> list[Problem]:
        """What is not wrong and worth knowing: keys under a former name."""
        return [Problem(old, f"is now called {new[-1]}") for new, old in self.renamed.items()]

    def section(self, kind: type[SectionT], table: Any, path: KeyPath) -> SectionT | None:
        """Read one table.

        Args:
            kind: dataclass to make of it.
            table: the parsed table; anything else is a problem.
            path: where the table stands.

        Returns:
            The object; keys with a problem have their defaults in it. None if it cannot be made without them.
        """
        if not isinstance(table, dict):
            self.say(path, "expected a table")
            return None
        table = self._without_password(self._with_present_names(kind, table, path), path)
        try:
            return CONVERTER.structure(table, kind)
        except ClassValidationError as error:
            known = len(self.problems)
            self._gather(error, kind, path)
            wrong = {problem.path[len(path)] for problem in self.problems[known:] if len(problem.path) > len(path)}
        # Once more without the wrong keys, so that what else does not fit together is found at once too.
        try:
            return CONVERTER.structure({name: value for name, value in table.items() if name not in wrong}, kind)
        except ClassValidationError:
            return None

    def _with_present_names(self, kind: type[Any], table: dict[str, Any], path: KeyPath) -> dict[str, Any]:
        """The table with its former keys renamed."""
        for old, new in ALIASES.get(kind, {}).items():
            if old not in table:
                continue
            if new in table:
                self.say((*path, old), f"is the former name of {new}, which is given too; leave {old} out")
                table = {name: value for name, value in table.items() if name != old}
            else:
                self.renamed[*path, new] = (*path, old)
                table = {new if name == old else name: value for name, value in table.items()}
        return table

    def _without_password(self, table: dict[str, Any], path: KeyPath) -> dict[str, Any]:
        if "password" not in table:
            return table
        text = "a password never stands in this file; use password_file or password_credential"
        self.say((*path, "password"), text)
        return {name: value for name, value in table.items() if name != "password"}

    def _gather(self, error: Exception, kind: Any, path: KeyPath) -> None:
        """Turn one of cattrs' trees of errors into problems."""
        if isinstance(error, ClassValidationError):
            with_notes, without = error.group_exceptions()
            for inner, note in with_notes:
                self._gather(inner, note.type, (*path, note.name))
            for inner in without:
                self._gather(inner, error.cl, path)
        elif isinstance(error, IterableValidationError):
            self.say(path, f"expected {expected(kind)}")
        elif isinstance(error, ForbiddenExtraKeysError):
            names = tuple(field.name for field in dataclasses.fields(error.cl))
            for name in error.extra_fields:
                self.say((*path, name), unknown(name, names))
        elif isinstance(error, KeyError):
            self.say(path, f"missing; expected {expected(kind)}")
        else:
            self.say(path, str(error) if isinstance(error, ValueError) else mismatch(error, kind))
