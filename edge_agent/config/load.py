"""TOML → `Config`, with every problem told at once: file, line, path, what was expected."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

import cattrs
from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

from edge_agent.config import model
from edge_agent.config.lines import line_of
from edge_agent.config.semantics import check_meaning
from edge_agent.drivers.registry import all_drivers
from edge_agent.errors import ConfigError
from edge_agent.quantity import QUANTITIES

if TYPE_CHECKING:
    from pathlib import Path

SECTIONS: Final = ("gateway", "bus", "sensor", "batch", "outbox", "uplink", "replay")
_SectionT = TypeVar("_SectionT")
KeyPath = tuple[str | int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where."""

    path: KeyPath
    text: str


def load_config(path: Path) -> model.Config:
    """Read and check a configuration file.

    Raises:
        ConfigError: with every problem found.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError((f"{path}: no such file; start from config/edge-agent.toml",)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError((f"{path}: cannot be read: {error}",)) from None
    return parse_config(text, str(path))


def parse_config(text: str, name: str = "config") -> model.Config:
    """Check a configuration text; `name` stands before each problem. Raises as `load_config` does."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError((f"{name}: not valid TOML: {error}",)) from None
    reading = _Reading()
    config = reading.config(data)
    problems = reading.problems + [Problem(path, said) for path, said in check_meaning(config)]
    if problems:
        placed = sorted({(line_of(text, problem.path), _shown(problem.path), problem.text) for problem in problems})
        raise ConfigError(tuple(f"{name}:{line}: {where}: {said}" for line, where, said in placed))
    return config


class _Reading:
    """One pass over parsed TOML that gathers problems instead of stopping at the first."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._drivers = all_drivers()
        self._buses: set[str] = set()

    def config(self, data: dict[str, Any]) -> model.Config:
        """Read every section. What could not be read is left out; then there is at least one problem."""
        for name in data.keys() - set(SECTIONS):
            self._say((name,), _unknown(name, SECTIONS))
        buses = {
            name: bus for name, table in self._table(data, "bus").items() if (bus := self._bus(name, table)) is not None
        }
        self._buses = set(self._table(data, "bus"))
        tables = data.get("sensor", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._say(("sensor",), "expected [[sensor]] tables, with two brackets")
            tables = []
        sensors = [self._sensor(index, table) for index, table in enumerate(tables)]
        gateway = self._section(model.Gateway, data.get("gateway", {}), ("gateway",))
        return model.Config(
            gateway=gateway or model.Gateway(id="unknown"),
            buses=buses,
            sensors=tuple(sensor for sensor in sensors if sensor is not None),
            batch=self._section(model.Batch, data.get("batch", {}), ("batch",)) or model.Batch(),
            outbox=self._section(model.Outbox, data.get("outbox", {}), ("outbox",)) or model.Outbox(),
            uplink=self._section(model.Uplink, data.get("uplink", {}), ("uplink",)) or model.Uplink(),
            replay=self._section(model.Replay, data.get("replay", {}), ("replay",)) or model.Replay(),
        )

    def _bus(self, name: str, table: Any) -> model.Bus | None:
        if not re.fullmatch(model.NAME_PATTERN, name):
            self._say(("bus", name), f"a bus name must match {model.NAME_PATTERN}")
        return self._section(model.Bus, table, ("bus", name))

    def _sensor(self, index: int, table: dict[str, Any]) -> model.Sensor | None:
        """Split a sensor's table into common keys, tables per quantity, and the driver's own keys."""
        path: KeyPath = ("sensor", index)
        common = {field.name for field in dataclasses.fields(model.SensorKeys)}
        driver_name = table.get("driver")
        driver = self._drivers.get(driver_name) if isinstance(driver_name, str) else None
        if driver is None:
            if isinstance(driver_name, str):
                self._say((*path, "driver"), _unknown(driver_name, tuple(self._drivers), "driver"))
            known = {name: value for name, value in table.items() if name in common}
            self._section(model.SensorKeys, known, path)  # so that its other mistakes are told as well
            return None
        option_names = {field.name for field in dataclasses.fields(driver.options)}
        measured = [each.quantity for each in driver.quantities]
        tables = {name: value for name, value in table.items() if name in QUANTITIES}
        for name in table.keys() - common - option_names - tables.keys():
            self._say((*path, name), _unknown(name, (*common, *option_names, *measured)))
        for name in tables.keys() - set(measured):
            self._say((*path, name), f"{driver.name} does not measure it; it measures {', '.join(measured)}")
        keys = self._section(model.SensorKeys, {k: v for k, v in table.items() if k in common}, path)
        options = self._section(driver.options, {k: v for k, v in table.items() if k in option_names}, path)
        channels = {
            name: self._section(model.Channel, tables.get(name, {}), (*path, name)) or model.Channel()
            for name in measured
        }
        if keys is None or options is None:
            return None
        if keys.bus not in self._buses:
            self._say((*path, "bus"), _unknown(keys.bus, tuple(self._buses), "bus"))
            return None
        default_address = driver.addresses[0] if driver.addresses else 0
        return model.Sensor(
            id=keys.id,
            driver=driver,
            bus=keys.bus,
            address=default_address if keys.address is None else keys.address,
            period_s=keys.period_s,
            options=options,
            channels=channels,
        )

    def _table(self, data: dict[str, Any], name: str) -> dict[str, Any]:
        table = data.get(name, {})
        if isinstance(table, dict):
            return table
        self._say((name,), f"expected a table [{name}.NAME]")
        return {}

    def _section(self, kind: type[_SectionT], table: Any, path: KeyPath) -> _SectionT | None:
        """One table → one dataclass, or None after telling what is wrong with it."""
        if not isinstance(table, dict):
            self._say(path, "expected a table")
            return None
        if "password" in table:
            self._say(
                (*path, "password"),
                "a password never stands in this file; use password_file or password_credential",
            )
            table = {name: value for name, value in table.items() if name != "password"}
        try:
            return _CONVERTER.structure(table, kind)
        except ClassValidationError as error:
            self._gather(error, kind, path)
            return None

    def _gather(self, error: Exception, kind: Any, path: KeyPath) -> None:
        """Turn one of cattrs' trees of errors into problems."""
        if isinstance(error, ClassValidationError):
            with_notes, without = error.group_exceptions()
            for inner, note in with_notes:
                self._gather(inner, note.type, (*path, note.name))
            for inner in without:
                self._gather(inner, error.cl, path)
        elif isinstance(error, IterableValidationError):
            self._say(path, f"expected {_expected(kind)}")
        elif isinstance(error, ForbiddenExtraKeysError):
            names = tuple(field.name for field in dataclasses.fields(error.cl))
            for name in error.extra_fields:
                self._say((*path, name), _unknown(name, names))
        elif isinstance(error, KeyError):
            self._say(path, "missing")
        else:
            self._say(path, str(error) if isinstance(error, ValueError) else _mismatch(error, kind))

    def _say(self, path: KeyPath, text: str) -> None:
        self.problems.append(Problem(path, text))


def _unknown(name: str, known: tuple[str, ...], what: str = "key") -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known)) or 'none'}"
    return f"unknown {what} {name!r}; {hint}"


_SHOWN_TYPES: Final = {
    int: "a whole number",
    float: "a finite number",
    str: "text in quotes",
    bool: "true or false",
}


def _expected(kind: Any) -> str:
    if kind in _SHOWN_TYPES:
        return _SHOWN_TYPES[kind]
    if get_origin(kind) is Annotated:
        return _expected(get_args(kind)[0])
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if inner[-1] is ...:
            return f"a list of {_expected(inner[0])}"
        return f"[{', '.join(_expected(part) for part in inner)}]"
    choices = [choice for choice in get_args(kind) if choice is not type(None)]
    return " or ".join(repr(choice) if isinstance(choice, str | int) else _expected(choice) for choice in choices)


def _mismatch(error: Exception, kind: Any) -> str:
    found = f", found {error.args[0]!r}" if isinstance(error, _WrongType) else ""
    return f"expected {_expected(kind)}{found}"


def _shown(path: KeyPath) -> str:
    text = ""
    for part in path:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


class _WrongType(TypeError):
    """A value of another type than the key's; its argument is the value."""


def _exactly(value: Any, kind: type) -> Any:
    """Accept a value of just this type; numbers may be written without a point, and must be finite."""
    if kind is float and type(value) in {int, float} and math.isfinite(value):
        return float(value)
    if type(value) is kind and kind is not float:
        return value
    raise _WrongType(value)


class _BeyondLimits(ValueError):
    """A value of the right type that its limits exclude; its text says what was expected."""


def _within(value: Any, kind: Any) -> Any:
    """Structure `Annotated[type, Limits(…) or Matches(…)]`."""
    inner, limit = get_args(kind)
    value = _CONVERTER.structure(value, inner)
    match limit:
        case model.Matches(pattern) if not re.fullmatch(pattern, value):
            raise _BeyondLimits(f"expected text that matches {pattern}, found {value!r}")
        case model.Limits(above=above) if above is not None and not value > above:
            raise _BeyondLimits(f"expected more than {above}, found {value!r}")
        case model.Limits(at_least=least) if least is not None and value < least:
            raise _BeyondLimits(f"expected at least {least}, found {value!r}")
        case model.Limits(at_most=most) if most is not None and value > most:
            raise _BeyondLimits(f"expected at most {most}, found {value!r}")
    return value


def _choice(value: Any, kind: Any) -> Any:
    """Structure `Literal[…]`."""
    if any(value == choice and type(value) is type(choice) for choice in get_args(kind)):
        return value
    raise _WrongType(value)


def _optional(value: Any, kind: Any) -> Any:
    """Structure `X | None`: TOML has no null, so what stands there is an X."""
    return _CONVERTER.structure(value, get_args(kind)[0])


def _sequence(value: Any, kind: Any) -> Any:
    """Structure `tuple[…]` from a list of just the right length."""
    if not isinstance(value, list):
        raise _WrongType(value)
    inner = get_args(kind)
    kinds = [inner[0]] * len(value) if inner[-1] is ... else inner
    if len(kinds) != len(value):
        raise _WrongType(value)
    return tuple(_CONVERTER.structure(part, each) for part, each in zip(value, kinds, strict=True))


def _origin(kind: Any) -> Any:
    return get_origin(kind)


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (int, float, str, bool):
        converter.register_structure_hook(kind, _exactly)
    converter.register_structure_hook_func(lambda kind: type(None) in get_args(kind), _optional)
    converter.register_structure_hook_func(lambda kind: _origin(kind) is Literal, _choice)
    converter.register_structure_hook_func(lambda kind: _origin(kind) is Annotated, _within)
    converter.register_structure_hook_func(lambda kind: _origin(kind) is tuple, _sequence)
    return converter


_CONVERTER: Final = _make_converter()
