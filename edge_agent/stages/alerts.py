"""Alert rules: a rule fires when its condition has held for some time, and ends later. Pure; evaluates no code.

A condition compares a number, or names a state:

    air.temperature_c > 40                  value as it is sent; bad and estimated readings are ignored
    air.temperature_c.slope_per_s > 0.1     feature of the channel's last readings, see `Features`
    air.temperature_c bad                   quality of the channel's latest reading
    air offline                             state of a sensor; absent (it never answered) counts as offline
    uplink offline, clock none              state of the link to the broker, quality of wall time
    outbox.pending > 1000                   number of records that wait

States of a rule: idle → pending (the condition holds) → firing (it has held for `for_ns`) → idle (the condition is
false and, if `clear` is set, the value has reached `clear`). Without new readings, a rule about a number keeps its
state.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from operator import eq, ge, gt, le, lt, ne
from string import Formatter
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.quantity import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

OUTBOX: Final = "outbox"
PENDING: Final = "pending"
UPLINK: Final = "uplink"
CLOCK: Final = "clock"
_OFFLINE: Final = "offline"
_ABSENT: Final = "absent"

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": gt,
    ">=": ge,
    "<": lt,
    "<=": le,
    "==": eq,
    "!=": ne,
}
_COMPARISON: Final = re.compile(
    r"(?P<subject>[a-z0-9-]{1,64})\.(?P<quantity>[a-z0-9_]+)(\.(?P<feature>[a-z0-9_]+))?"
    r"\s*(?P<operator>>=|<=|==|!=|>|<)\s*(?P<threshold>[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?)",
    re.IGNORECASE,
)
_IN_STATE: Final = re.compile(
    r"(?P<subject>[a-z0-9-]{1,64})(\.(?P<quantity>[a-z0-9_]+))?\s+(is\s+)?(?P<state>[a-z]+)", re.IGNORECASE
)
_FIELDS: Final = ("name", "when", "severity", "subject", "value", "threshold", "unit", "for_s")
_STANDARD: Final = "{subject} is {value}{unit}: {when}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Condition that compares a number of a subject with a threshold.

    Attributes:
        subject: id of a sensor, or OUTBOX.
        quantity: quantity of the sensor, or PENDING.
        feature: name of a feature of the channel; None: its value is compared.
        operator: one of > >= < <= == !=.
        threshold: in the unit of the channel or of the feature.
    """

    subject: str
    quantity: str
    feature: str | None
    operator: str
    threshold: float

    def holds(self, value: float) -> bool:
        """Whether the condition is true for a value."""
        return _OPERATORS[self.operator](value, self.threshold)

    @property
    def left(self) -> str:
        """Left side of the comparison, as the user wrote it."""
        return ".".join(part for part in (self.subject, self.quantity, self.feature) if part)

    @property
    def unit(self) -> str:
        """Unit of the value for messages, with a leading space; empty if it has none."""
        known = QUANTITIES.get(self.quantity)
        if known is None or self.feature in {"count", "share_good"}:
            return ""
        return f" {known.unit}/s" if self.feature == "slope_per_s" else f" {known.unit}"


@dataclass(frozen=True, slots=True)
class InState:
    """Condition that a subject is in a state.

    Attributes:
        subject: id of a sensor, UPLINK or CLOCK.
        quantity: quantity of the sensor, then the state is a quality; None: the state of the subject itself.
        state: name of the state, in lower case.
    """

    subject: str
    quantity: str | None
    state: str

    def holds(self, state: str) -> bool:
        """Whether the condition is true for the current state of the subject."""
        return state == self.state or (self.state == _OFFLINE and state == _ABSENT)

    @property
    def left(self) -> str:
        """Subject of the condition, as the user wrote it."""
        return f"{self.subject}.{self.quantity}" if self.quantity else self.subject


Condition = Comparison | InState


def parse_condition(text: str) -> Condition:
    """Parse the text of `when`. Does not check that the subject, quantity or state exists.

    Raises:
        ValueError: the text is no condition; the message is one sentence with the expected form.
    """
    text = text.strip()
    if match := _COMPARISON.fullmatch(text):
        return Comparison(
            match["subject"], match["quantity"], match["feature"], match["operator"], float(match["threshold"])
        )
    if match := _IN_STATE.fullmatch(text):
        return InState(match["subject"], match["quantity"], match["state"].lower())
    raise ValueError(
        f'expected "SENSOR.QUANTITY > NUMBER", "SENSOR.QUANTITY.FEATURE > NUMBER" or "SENSOR STATE", found {text!r}'
    )


def check_message(template: str) -> str | None:
    """Check a message template: return one sentence about its first error, None if it has none."""
    try:
        fields = list(Formatter().parse(template))
    except ValueError as error:
        return f"{error}; write {{{{ and }}}} for braces"
    for _text, name, form, conversion in fields:
        if name is None:
            continue
        if name not in _FIELDS:
            return f"unknown field {{{name}}}; known: {', '.join(_FIELDS)}"
        if conversion or (form and (name not in {"value", "threshold"} or not re.fullmatch(r"(\.\d)?[efg]", form))):
            return f"{{{name}}} is not written so; a number may be, as {{value:.1f}}"
    return None


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Settings of one rule.

    Attributes:
        name: unique name of the rule; used in messages.
        when: text of the condition, as the user wrote it.
        condition: the parsed text.
        clear: a firing rule ends when the value has come back to this; None: when the condition is false.
        for_ns: how long the condition must hold before the rule fires, nanoseconds.
        severity: one word.
        message: template of the text that is sent, see `check_message`; None: the standard template.
        over: number of readings that a feature is computed from.
    """

    name: str
    when: str
    condition: Condition
    clear: float | None = None
    for_ns: int = 0
    severity: str = "warning"
    message: str | None = None
    over: int = 60


class AlertState(Enum):
    """State of a rule."""

    IDLE = "idle"
    PENDING = "pending"
    FIRING = "firing"


_STATES: Final = tuple(AlertState)
"""A saved state holds an index into this tuple."""


@dataclass(frozen=True, slots=True)
class Change:
    """A rule started to fire, or ended.

    Attributes:
        state: FIRING or IDLE.
        now_ns: time of the change, nanoseconds since boot.
        text: message for people.
    """

    state: AlertState
    now_ns: int
    text: str


class Alert:
    """One rule with its state."""

    def __init__(self, settings: AlertSettings) -> None:
        self.settings = settings
        self.state = AlertState.IDLE
        self._since_ns = 0

    def compare(self, now_ns: int, value: float) -> Change | None:
        """Evaluate the condition for a new number. Returns a change of the rule's state, None if there is none.

        Raises:
            TypeError: the condition names a state.
        """
        condition = self.settings.condition
        if not isinstance(condition, Comparison):
            raise TypeError(f"{self.settings.when} compares nothing")
        holds = condition.holds(value)
        clear = self.settings.clear
        over = not holds
        if over and clear is not None:
            over = value <= clear if condition.operator in {">", ">="} else value >= clear
        return self._advance(now_ns, holds, over, f"{value:.6g}", value)

    def find(self, now_ns: int, state: str) -> Change | None:
        """Evaluate the condition for the current state of its subject. Returns a change, None if there is none.

        Raises:
            TypeError: the condition compares a number.
        """
        condition = self.settings.condition
        if not isinstance(condition, InState):
            raise TypeError(f"{self.settings.when} names no state")
        holds = condition.holds(state)
        return self._advance(now_ns, holds, not holds, state, None)

    @property
    def due_ns(self) -> int | None:
        """Time at which a pending rule fires if the condition keeps holding; None if it is not pending."""
        return self._since_ns + self.settings.for_ns if self.state is AlertState.PENDING else None

    def remembered(self) -> tuple[int, int]:
        """State to save: index of the state, and time since which the rule is in it, nanoseconds since boot."""
        return _STATES.index(self.state), self._since_ns

    def restore(self, numbers: Sequence[float], shift_ns: int) -> None:
        """Restore the state saved by an earlier run.

        Args:
            numbers: as `remembered` returned them.
            shift_ns: added to the saved stamp.

        Raises:
            ValueError: the numbers are no state of a rule.
        """
        if len(numbers) != len(self.remembered()) or not 0 <= numbers[0] < len(_STATES):
            raise ValueError(f"{len(numbers)} numbers are no state of an alert")
        self.state, self._since_ns = _STATES[int(numbers[0])], int(numbers[1]) + shift_ns

    def _advance(self, now_ns: int, holds: bool, over: bool, shown: str, value: float | None) -> Change | None:
        match self.state:
            case AlertState.FIRING if over:
                self.state = AlertState.IDLE
                return Change(self.state, now_ns, self._text(shown, value))
            case AlertState.FIRING:
                return None
            case _ if not holds:
                self.state = AlertState.IDLE
                return None
            case AlertState.IDLE:
                self.state, self._since_ns = AlertState.PENDING, now_ns
        if now_ns - self._since_ns < self.settings.for_ns:
            return None
        self.state, self._since_ns = AlertState.FIRING, now_ns
        return Change(self.state, now_ns, self._text(shown, value))

    def _text(self, shown: str, value: float | None) -> str:
        """Fill in the template. For a condition about a state, value and threshold are names of states."""
        settings, condition = self.settings, self.settings.condition
        threshold, unit = (condition.threshold, condition.unit) if isinstance(condition, Comparison) else (None, "")
        fields = {
            "name": settings.name,
            "when": settings.when,
            "severity": settings.severity,
            "subject": condition.left,
            "value": shown,
            "threshold": condition.state if isinstance(condition, InState) else f"{threshold:g}",
            "unit": unit,
            "for_s": f"{settings.for_ns / NS_PER_S:g}",
        }
        numbers = {"value": value, "threshold": threshold}
        text = ""
        for literal, name, form, _conversion in Formatter().parse(settings.message or _STANDARD):
            text += literal
            if name is not None:
                number = numbers.get(name)
                text += format(number, form) if form and number is not None else fields[name]
        return text
