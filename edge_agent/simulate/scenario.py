"""Scenarios: scripts of faults and weather that are applied to a rig on the simulated clock.

A scenario is a TOML file of `[[step]]` tables; `actions.ACTIONS` lists the actions. Times are seconds since the start
of the run.

    title = "The air sensor is unplugged, and plugged in again without its settings"
    [[step]]
    at_s = 120
    do = "unplug"
    sensor = "air"
    [[step]]
    at_s = 180
    do = "plug"
    sensor = "air"
"""

from __future__ import annotations

import errno
import logging
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_agent.clock import NS_PER_S
from edge_agent.config.load import parse_tables
from edge_agent.errors import ConfigError
from edge_agent.runtime import Inbox
from edge_agent.simulate.actions import ACTIONS, Impossible, Step
from edge_agent.simulate.uart import SerialFault

if TYPE_CHECKING:
    from edge_agent.clock import Clock
    from edge_agent.simulate.rig import Rig

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario, checked as far as possible without a rig."""

    name: str
    steps: tuple[Step, ...]


def load_scenario(path_or_name: str) -> Scenario:
    """Read a scenario from a file, or one that is part of the package by its name.

    Raises:
        ConfigError: lists every problem.
    """
    path = Path(path_or_name)
    if path.suffix == ".toml" or "/" in path_or_name:
        try:
            return parse_scenario(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError((f"{path}: cannot be read: {error}",)) from None
    shipped = {
        entry.name.removesuffix(".toml"): entry
        for entry in files("edge_agent.simulate").joinpath("scenarios").iterdir()
    }
    if path_or_name not in shipped:
        raise ConfigError(
            (f"there is no scenario {path_or_name!r}; give a file, or one of: {', '.join(sorted(shipped))}",)
        )
    return parse_scenario(shipped[path_or_name].read_text(encoding="utf-8"), path_or_name)


def parse_scenario(text: str, name: str) -> Scenario:
    """Parse and check the text of a scenario. Raises ConfigError with every problem."""
    return Scenario(name, parse_tables(text, name, "step", Step, check=_problem_of))


def _problem_of(step: Step) -> tuple[str, str] | None:
    """Name of the first key of a step that is wrong, and the reason; None if all are right."""
    action = ACTIONS.get(step.do)
    if action is None:
        return "do", f"unknown action {step.do!r}; known: {', '.join(sorted(ACTIONS))}"
    wrong = (
        (action.target, getattr(step, action.target) is None, f"missing; {step.do!r} happens to a {action.target}"),
        ("at_s", step.at_s < 0, "expected at least 0"),
        ("repeat_s", step.repeat_s < 0, "expected at least 0"),
        ("errno", not isinstance(getattr(errno, step.errno, None), int), f"unknown errno {step.errno!r}"),
        ("fault", step.fault not in SerialFault.__members__, f"known: {', '.join(SerialFault.__members__)}"),
    )
    return next(((key, problem) for key, is_wrong, problem in wrong if is_wrong), None)


class ScenarioPlayer:
    """A worker that applies the steps of a scenario at their times."""

    def __init__(self, scenario: Scenario, rig: Rig, clock: Clock) -> None:
        self.name = "scenario"
        self.inbox: Inbox[Any] = Inbox(1)
        self.played = 0
        self._rig = rig
        self._clock = clock
        started_ns = clock.now_ns()
        self._plan: list[tuple[int, Step]] = [
            (started_ns + round(step.at_s * NS_PER_S), step) for step in scenario.steps
        ]
        problems = tuple(
            f"{scenario.name}: step at {step.at_s:g} s: there is no {kind} {target!r}; there are: {', '.join(known)}"
            for step in scenario.steps
            for kind, known in (("sensor", rig.sensor_ids), ("bus", tuple(rig.buses)))
            if (target := getattr(step, kind)) is not None and target not in known
        )
        if problems:
            raise ConfigError(problems)

    def step(self) -> int | None:
        """Apply the steps that are due. Returns the time of the next one."""
        now_ns = self._clock.now_ns()
        later: list[tuple[int, Step]] = []
        for due_ns, step in self._plan:
            if due_ns > now_ns:
                later.append((due_ns, step))
                continue
            self._do(step)
            if step.repeat_s:
                later.append((due_ns + round(step.repeat_s * NS_PER_S), step))
        self._plan = later
        return min((due_ns for due_ns, _ in self._plan), default=None)

    def _do(self, step: Step) -> None:
        action = ACTIONS[step.do]
        target = getattr(step, action.target)
        log.info("scenario: %s %s", step.do, target)
        try:
            action.act(self._rig, target, step)
        except Impossible as error:
            log.warning("scenario: %s %s is not possible: %s", step.do, target, error)
        self.played += 1
