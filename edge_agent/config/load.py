"""TOML → `Config`, with every problem told at once: file, line, path, what was expected."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import tomllib
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

from edge_agent.config import model
from edge_agent.config.lines import line_of
from edge_agent.config.semantics import check_meaning
from edge_agent.config.values import CONVERTER, expected, mismatch
from edge_agent.drivers.registry import all_drivers, find_driver
from edge_agent.errors import ConfigError
from edge_agent.quantity import QUANTITIES
from edge_agent.stages.derive import DERIVED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SECTIONS: Final = ("gateway", "bus", "sensor", "batch", "outbox", "uplink", "alert", "replay")
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
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError((f"{path}: no such file; start from config/edge-agent.toml",)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError((f"{path}: cannot be read: {error}",)) from None
    return parse_config(text, str(path))


def parse_config(text: str, name: str = "config") -> model.Config:
    """Check a configuration text; `name` stands before each problem. Raises as `load_config` does."""
    data = _parse_toml(text, name)
    reading = _Reading()
    config = reading.config(data)
    told = {problem.path for problem in reading.problems}
    # A key that was left out because it is wrong must not be called missing.
    meaning = [Problem(reading.in_file(path), said) for path, said in check_meaning(config)]
    # Nor must what names a sensor that is there, and could not be read.
    meaning = [each for each in meaning if each.path not in told and not reading.is_about_unread(config, each.path)]
    _raise_if_any(reading.problems + meaning, text, name)
    return config


def parse_tables(
    text: str,
    name: str,
    key: str,
    kind: type[_SectionT],
    *,
    check: Callable[[_SectionT], tuple[str, str] | None],
) -> tuple[_SectionT, ...]:
    """Read a file of nothing but `[[key]]` tables, and perhaps a title, as other files than the configuration are.

    Args:
        text: of the file.
        name: of the file, for messages.
        key: of the tables.
        kind: dataclass that each of them becomes.
        check: tells which key of one is wrong and why, or None.

    Raises:
        ConfigError: with every problem.
    """
    data = _parse_toml(text, name)
    reading = _Reading()
    for other in data.keys() - {key, "title"}:
        reading.problems.append(Problem((other,), _unknown(other, (key, "title"))))
    tables = data.get(key, [])
    if not isinstance(tables, list):
        tables = []
        reading.problems.append(Problem((key,), f"expected [[{key}]] tables, with two brackets"))
    read: list[_SectionT] = []
    for index, table in enumerate(tables):
        section = reading.section(kind, table, (key, index))
        if section is None:
            continue
        read.append(section)
        if (wrong := check(section)) is not None:
            reading.problems.append(Problem((key, index, wrong[0]), wrong[1]))
    _raise_if_any(reading.problems, text, name)
    return tuple(read)


def _parse_toml(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, and brackets as deep
        line = re.search(r"\(at line (\d+)", str(error))
        where = f"{name}:{line[1]}" if line else name
        raise ConfigError((f"{where}: not valid TOML: {error}",)) from None


def _raise_if_any(problems: list[Problem], text: str, name: str) -> None:
    if problems:
        placed = sorted({(line_of(text, problem.path), _shown(problem.path), problem.text) for problem in problems})
        raise ConfigError(tuple(f"{name}:{line}: {where}: {said}" for line, where, said in placed))


class _Reading:
    """One pass over parsed TOML that gathers problems instead of stopping at the first."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._buses: set[str] = set()
        self._ids: set[str] = set()
        self._places: dict[str, list[int]] = {}

    def config(self, data: dict[str, Any]) -> model.Config:
        """Read every section. What could not be read is left out; then there is at least one problem."""
        for name in data.keys() - set(SECTIONS):
            self._say((name,), _unknown(name, SECTIONS, "section"))
        buses = {
            name: bus for name, table in self._table(data, "bus").items() if (bus := self._bus(name, table)) is not None
        }
        self._buses = set(self._table(data, "bus"))
        sensors = [self._sensor(index, table) for index, table in enumerate(self._tables(data, "sensor"))]
        self._places["sensor"] = [index for index, sensor in enumerate(sensors) if sensor is not None]
        alerts = [
            self.section(model.Alert, table, ("alert", index))
            for index, table in enumerate(self._tables(data, "alert"))
        ]
        self._places["alert"] = [index for index, alert in enumerate(alerts) if alert is not None]
        gateway = self.section(model.Gateway, data.get("gateway", {}), ("gateway",))
        return model.Config(
            gateway=gateway or model.Gateway(id="unknown"),
            buses=buses,
            sensors=tuple(sensor for sensor in sensors if sensor is not None),
            batch=self.section(model.Batch, data.get("batch", {}), ("batch",)) or model.Batch(),
            outbox=self.section(model.Outbox, data.get("outbox", {}), ("outbox",)) or model.Outbox(),
            uplink=self.section(model.Uplink, data.get("uplink", {}), ("uplink",)) or model.Uplink(),
            alerts=tuple(alert for alert in alerts if alert is not None),
            replay=self.section(model.Replay, data.get("replay", {}), ("replay",)) or model.Replay(),
        )

    def in_file(self, path: KeyPath) -> KeyPath:
        """Where something in the configuration stands in the file, which may have more tables than could be read."""
        match path:
            case ("sensor" | "alert" as kind, int(index), *rest):
                return (kind, self._places[kind][index], *rest)
        return path

    def is_about_unread(self, config: model.Config, path: KeyPath) -> bool:
        """Whether something is said of a rule about a sensor that stands in the file and could not be read."""
        match path:
            case ("alert", int(index), *_):
                unread = self._ids - {sensor.id for sensor in config.sensors}
                whens = {place: alert.when for place, alert in zip(self._places["alert"], config.alerts, strict=True)}
                return re.split(r"[.\s]", whens[index].strip())[0] in unread
        return False

    def _tables(self, data: dict[str, Any], name: str) -> list[dict[str, Any]]:
        tables = data.get(name, [])
        if isinstance(tables, list) and all(isinstance(table, dict) for table in tables):
            return tables
        self._say((name,), f"expected [[{name}]] tables, with two brackets")
        return []

    def _bus(self, name: str, table: Any) -> model.Bus | None:
        if not re.fullmatch(model.NAME.pattern, name):
            self._say(("bus", name), f"expected a name of {model.NAME.meaning}")
        if not isinstance(table, dict):
            self._say(("bus", name), "expected a table [bus.NAME]")
            return None
        return self.section(model.Bus, table, ("bus", name))

    def _sensor(self, index: int, table: dict[str, Any]) -> model.Sensor | None:
        """Split a sensor's table into common keys, tables per quantity, and the driver's own keys."""
        path: KeyPath = ("sensor", index)
        name = table.get("id")
        if isinstance(name, str) and name in self._ids:
            self._say((*path, "id"), f"another sensor is called {name!r} already")
        self._ids.add(name if isinstance(name, str) else "")
        common = {field.name for field in dataclasses.fields(model.SensorKeys)}
        driver_name = table.get("driver")
        driver = find_driver(driver_name) if isinstance(driver_name, str) else None
        if driver is None:
            if isinstance(driver_name, str):
                self._say((*path, "driver"), _unknown(driver_name, tuple(all_drivers()), "driver"))
            known = {name: value for name, value in table.items() if name in common}
            self.section(model.SensorKeys, known, path)  # so that its other mistakes are told as well
            return None
        option_names = {field.name for field in dataclasses.fields(driver.options)}
        options = self.section(driver.options, {k: v for k, v in table.items() if k in option_names}, path)
        offered = driver.quantities if options is None else driver.measures(options)
        measured = [each.quantity for each in offered]
        tables = {name: value for name, value in table.items() if name in QUANTITIES}
        for name in table.keys() - common - option_names - tables.keys():
            self._say((*path, name), _unknown(name, (*common, *option_names, *measured)))
        keys = self.section(model.SensorKeys, {k: v for k, v in table.items() if k in common}, path)
        derived = [] if keys is None else [name for name in keys.derive if name in DERIVED]
        for name in tables.keys() - {*measured, *derived}:
            self._say((*path, name), f"{driver.name} does not measure it; it measures {', '.join(measured)}")
        channels = {
            name: self.section(model.Channel, tables.get(name, {}), (*path, name)) or model.Channel()
            for name in (*measured, *derived)
        }
        if keys is None or options is None:
            return None
        if keys.bus not in self._buses:
            self._say((*path, "bus"), _unknown(keys.bus, tuple(self._buses), "bus"))
            return None
        if "address" in table and keys.address is None:
            return None  # not the usual one instead: another sensor may be there
        if keys.address is not None and not driver.addresses:
            self._say((*path, "address"), f"{driver.name} has no address; leave it out")
            return None
        default_address = driver.addresses[0] if driver.addresses else 0
        return model.Sensor(
            id=keys.id,
            driver=driver,
            bus=keys.bus,
            address=default_address if keys.address is None else keys.address,
            period_s=max(driver.period_s, driver.least_period_s(options)) if keys.period_s is None else keys.period_s,
            options=options,
            channels=channels,
            mux=keys.mux,
            channel=keys.channel,
            derive=keys.derive,
            location=keys.location,
        )

    def _table(self, data: dict[str, Any], name: str) -> dict[str, Any]:
        table = data.get(name, {})
        if isinstance(table, dict):
            return table
        self._say((name,), f"expected a table [{name}.NAME]")
        return {}

    def section(self, kind: type[_SectionT], table: Any, path: KeyPath) -> _SectionT | None:
        """One table → one dataclass, after telling what is wrong with it; None if too much is."""
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
            return CONVERTER.structure(table, kind)
        except ClassValidationError as error:
            told = len(self.problems)
            self._gather(error, kind, path)
            wrong = {problem.path[len(path)] for problem in self.problems[told:] if len(problem.path) > len(path)}
        # Without its wrong keys, so that what else does not fit together is told at once, too.
        try:
            return CONVERTER.structure({name: value for name, value in table.items() if name not in wrong}, kind)
        except ClassValidationError:
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
            self._say(path, f"expected {expected(kind)}")
        elif isinstance(error, ForbiddenExtraKeysError):
            names = tuple(field.name for field in dataclasses.fields(error.cl))
            for name in error.extra_fields:
                self._say((*path, name), _unknown(name, names))
        elif isinstance(error, KeyError):
            self._say(path, f"missing; expected {expected(kind)}")
        else:
            self._say(path, str(error) if isinstance(error, ValueError) else mismatch(error, kind))

    def _say(self, path: KeyPath, text: str) -> None:
        self.problems.append(Problem(path, text))


def _unknown(name: str, known: tuple[str, ...], what: str = "key") -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known)) or 'none'}"
    return f"unknown {what} {name!r}; {hint}"


def _shown(path: KeyPath) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += f".{part}" if re.fullmatch("[A-Za-z0-9_-]+", part) else f".{json.dumps(part)}"
    return text.removeprefix(".")
