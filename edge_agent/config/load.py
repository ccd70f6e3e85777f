"""TOML → `Config`, with every problem at once: file, line, path, what was expected."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Final

from edge_agent.config import model
from edge_agent.config.problems import Problem, sentences, unknown
from edge_agent.config.semantics import check_meaning
from edge_agent.config.sensors import SensorTables
from edge_agent.config.tables import SectionT, Tables
from edge_agent.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.config.problems import KeyPath

SECTIONS: Final = ("gateway", "bus", "sensor", "batch", "outbox", "uplink", "alert", "replay")


def load_config(path: Path) -> model.Config:
    """Read and check a configuration file.

    Raises:
        ConfigError: with every problem found.
    """
    return load_config_with_notes(path)[0]


def load_config_with_notes(path: Path) -> tuple[model.Config, tuple[str, ...]]:
    """Read and check a configuration file, and tell what in it is not wrong and worth knowing.

    Returns:
        The configuration, and a sentence with file and line for each key under a former name.

    Raises:
        ConfigError: with every problem found.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError((f"{path}: no such file; `edge-agent docs configuration` shows how to write one",)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError((f"{path}: cannot be read: {error}",)) from None
    return _read(text, str(path))


def parse_config(text: str, name: str = "config") -> model.Config:
    """Check a configuration text; `name` stands before each problem. Raises as `load_config` does."""
    return _read(text, name)[0]


def parse_tables(
    text: str,
    name: str,
    key: str,
    kind: type[SectionT],
    *,
    check: Callable[[SectionT], tuple[str, str] | None],
) -> tuple[SectionT, ...]:
    """Read a file that is not a configuration and has `[[key]]` tables only, and perhaps a title.

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
    tables = Tables()
    for other in data.keys() - {key, "title"}:
        tables.say((other,), unknown(other, (key, "title")))
    read: list[SectionT] = []
    for index, table in enumerate(_array(tables, data, key)):
        section = tables.section(kind, table, (key, index))
        if section is None:
            continue
        read.append(section)
        if (wrong := check(section)) is not None:
            tables.say((key, index, wrong[0]), wrong[1])
    _raise_if_any(tables.problems, text, name)
    return tuple(read)


def _read(text: str, name: str) -> tuple[model.Config, tuple[str, ...]]:
    """The configuration, and notes about it."""
    file = _File(_parse_toml(text, name))
    config, tables = file.config, file.tables
    wrong = {problem.path for problem in tables.problems}
    meaning = [Problem(file.path_in_file(path), sentence) for path, sentence in check_meaning(config)]
    # A key that was left out because it is wrong must not be called missing;
    # nor must a rule be called wrong about a sensor that stands in the file and could not be read.
    meaning = [
        problem for problem in meaning if problem.path not in wrong and not file.is_about_unread_sensor(problem.path)
    ]
    problems = [Problem(tables.as_written(problem.path), problem.text) for problem in tables.problems + meaning]
    _raise_if_any(problems, text, name)
    return config, sentences(tables.notes(), text, name)


def _parse_toml(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits, and brackets as deep
        line = re.search(r"\(at line (\d+)", str(error))
        where = f"{name}:{line[1]}" if line else name
        raise ConfigError((f"{where}: not valid TOML: {error}",)) from None


def _raise_if_any(problems: list[Problem], text: str, name: str) -> None:
    if problems:
        raise ConfigError(sentences(problems, text, name))


def _array(tables: Tables, data: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The `[[name]]` tables; none, and a problem, if something else stands there."""
    array = data.get(name, [])
    if isinstance(array, list) and all(isinstance(table, dict) for table in array):
        return array
    tables.say((name,), f"expected [[{name}]] tables, with two brackets")
    return []


class _File:
    """One pass over a parsed configuration file.

    Attributes:
        tables: reads the tables and holds the problems.
        config: what could be read. Where something could not, there is a problem.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.tables = Tables()
        for name in data.keys() - set(SECTIONS):
            self.tables.say((name,), unknown(name, SECTIONS, "section"))
        bus_tables = self._bus_tables(data)
        buses = {name: self._bus(name, table) for name, table in bus_tables.items()}
        readers = SensorTables(self.tables, bus_tables.keys())
        sensors = [readers.sensor(index, table) for index, table in enumerate(_array(self.tables, data, "sensor"))]
        alerts = [
            self.tables.section(model.Alert, table, ("alert", index))
            for index, table in enumerate(_array(self.tables, data, "alert"))
        ]
        self._ids = readers.ids
        self._places = {
            "sensor": [index for index, sensor in enumerate(sensors) if sensor is not None],
            "alert": [index for index, alert in enumerate(alerts) if alert is not None],
        }
        self.config = model.Config(
            gateway=self._single(data, "gateway", model.Gateway) or model.Gateway(id="unknown"),
            buses={name: bus for name, bus in buses.items() if bus is not None},
            sensors=tuple(sensor for sensor in sensors if sensor is not None),
            batch=self._single(data, "batch", model.Batch) or model.Batch(),
            outbox=self._single(data, "outbox", model.Outbox) or model.Outbox(),
            uplink=self._single(data, "uplink", model.Uplink) or model.Uplink(),
            alerts=tuple(alert for alert in alerts if alert is not None),
            replay=self._single(data, "replay", model.Replay) or model.Replay(),
        )

    def path_in_file(self, path: KeyPath) -> KeyPath:
        """Where a key of the configuration stands in the file, which may have more tables than could be read."""
        match path:
            case ("sensor" | "alert" as kind, int(index), *rest):
                return (kind, self._places[kind][index], *rest)
        return path

    def is_about_unread_sensor(self, path: KeyPath) -> bool:
        """Whether the path is that of a rule about a sensor that stands in the file and could not be read."""
        match path:
            case ("alert", int(index), *_):
                unread = self._ids - {sensor.id for sensor in self.config.sensors}
                alert = self.config.alerts[self._places["alert"].index(index)]
                return re.split(r"[.\s]", alert.when.strip())[0] in unread
        return False

    def _single(self, data: dict[str, Any], name: str, kind: type[SectionT]) -> SectionT | None:
        return self.tables.section(kind, data.get(name, {}), (name,))

    def _bus_tables(self, data: dict[str, Any]) -> dict[str, Any]:
        tables = data.get("bus", {})
        if isinstance(tables, dict):
            return tables
        self.tables.say(("bus",), "expected a table [bus.NAME]")
        return {}

    def _bus(self, name: str, table: Any) -> model.Bus | None:
        if not re.fullmatch(model.NAME.pattern, name):
            self.tables.say(("bus", name), f"expected a name of {model.NAME.meaning}")
        if not isinstance(table, dict):
            self.tables.say(("bus", name), "expected a table [bus.NAME]")
            return None
        return self.tables.section(model.Bus, table, ("bus", name))
