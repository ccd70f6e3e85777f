"""Checks of `[[alert]]` tables beyond single keys: what a rule names has to exist. Pure."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from edge_agent.clock import ClockQuality
from edge_agent.features import Features
from edge_agent.reading import Quality
from edge_agent.stages.alerts import (
    CLOCK,
    OUTBOX,
    PENDING,
    UPLINK,
    Comparison,
    Condition,
    check_message,
    parse_condition,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge_agent.config.model import Alert, Config

SENSOR_STATES: Final = ("absent", "starting", "sampling", "degraded", "offline")
UPLINK_STATES: Final = ("offline", "connecting", "online", "paused")
_CLOCK_STATES: Final = tuple(quality.name.lower() for quality in ClockQuality)
_QUALITIES: Final = tuple(quality.name.lower() for quality in Quality)
_FEATURES: Final = (*[field.name for field in dataclasses.fields(Features)], "range")

Problem = tuple[tuple[str | int, ...], str]


def check_alerts(config: Config) -> Iterator[Problem]:
    """Yield (path, sentence) for each mistake in the rules."""
    names: set[str] = set()
    for index, alert in enumerate(config.alerts):
        path = ("alert", index)
        name = alert.name or alert.when
        if name in names:
            yield (*path, "name" if alert.name else "when"), f"another alert is called {name!r} already; give it a name"
        names.add(name)
        try:
            condition = parse_condition(alert.when)
        except ValueError as error:
            yield (*path, "when"), str(error)
        else:
            if (mistake := _unknown(config, condition)) is not None:
                yield (*path, "when"), mistake
            yield from _check_clear(path, alert, condition)
        if alert.message is not None and (mistake := check_message(alert.message)) is not None:
            yield (*path, "message"), mistake


def _unknown(config: Config, condition: Condition) -> str | None:
    """A sentence about what a condition names and does not exist; None if all exists."""
    subject, quantity = condition.subject, condition.quantity
    sensor = next((sensor for sensor in config.sensors if sensor.id == subject), None)
    if isinstance(condition, Comparison) and subject == OUTBOX:
        is_known = condition.feature is None and quantity == PENDING
        return None if is_known else f"of the outbox only {OUTBOX}.{PENDING} is known"
    if sensor is None and not (subject in {UPLINK, CLOCK} and quantity is None):
        return f"there is no sensor {subject!r}; known: {_listed(sensor.id for sensor in config.sensors)}"
    if quantity and sensor is not None and quantity not in sensor.channels:
        return f"sensor {subject!r} has no {quantity}; it has {_listed(sensor.channels)}"
    if isinstance(condition, Comparison):
        known = condition.feature is None or condition.feature in _FEATURES
        return None if known else f"there is no feature {condition.feature!r}; known: {_listed(_FEATURES)}"
    states = _QUALITIES if quantity else {UPLINK: UPLINK_STATES, CLOCK: _CLOCK_STATES}.get(subject, SENSOR_STATES)
    return None if condition.state in states else f"{condition.left} is never {condition.state!r}; {_listed(states)}"


def _check_clear(path: tuple[str | int, ...], alert: Alert, condition: Condition) -> Iterator[Problem]:
    """`clear` has to be on the other side of the threshold."""
    if alert.clear is None:
        return
    if not isinstance(condition, Comparison) or condition.operator in {"==", "!="}:
        yield (*path, "clear"), "only a condition with >, >=, < or <= has a number at which it is over"
    elif condition.holds(alert.clear) and alert.clear != condition.threshold:
        side = "below" if condition.operator in {">", ">="} else "above"
        yield (*path, "clear"), f"expected {condition.threshold:g} or {side}, found {alert.clear:g}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
