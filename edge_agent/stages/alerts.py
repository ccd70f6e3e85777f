"""Rules that tell people: when a condition has held for a while, and when it is over. Pure; evaluates no code.

A condition compares a number, or names a state:

    air.temperature_c > 40                  the value that is sent; readings that are bad or estimated say nothing
    air.temperature_c.slope_per_s > 0.1     a feature of the channel's last readings, see `Features`
    air.temperature_c bad                   quality of the channel's latest reading
    air offline                             state of a sensor; one that is absent, never having answered, is offline too
    uplink offline, clock none              state of the link to the broker, quality of wall time
    outbox.pending > 1000                   records that wait

A rule goes idle → pending (the condition holds) → firing (it has held for `for_ns`) → idle again, when the opposite is
seen: `clear` is then the number on the other side of which it is over. Silence is no evidence: a rule about a number
stays as it is while nothing is measured.
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
    """A number of a subject beside a threshold.

    Attributes:
        subject: a sensor's id, or OUTBOX.
        quantity: of the sensor, or PENDING.
        feature: of that channel; None: its value.
        operator: one of > >= < <= == !=.
        threshold: in the channel's unit, or the feature's.
    """

    subject: str
    quantity: str
    feature: str | None
    operator: str
    threshold: float

    def holds(self, value: float) -> bool:
        """Whether it is true of a value."""
        return _OPERATORS[self.operator](value, self.threshold)

    @property
    def left(self) -> str:
        """What is compared, as it is written."""
        return ".".join(part for part in (self.subject, self.quantity, self.feature) if part)

    @property
    def unit(self) -> str:
        """Of the value, for people."""
        known = QUANTITIES.get(self.quantity)
        if known is None or self.feature in {"count", "share_good"}:
            return ""
        return f" {known.unit}/s" if self.feature == "slope_per_s" else f" {known.unit}"


@dataclass(frozen=True, slots=True)
class InState:
    """A subject that is in a state.

    Attributes:
        subject: a sensor's id, UPLINK or CLOCK.
        quantity: of the sensor; then the state is a quality.
        state: its name.
    """

    subject: str
    quantity: str | None
    state: str

    def holds(self, state: str) -> bool:
        """Whether a subject that was found in a state is in this one."""
        return state == self.state or (self.state == _OFFLINE and state == _ABSENT)

    @property
    def left(self) -> str:
        """What is in the state, as it is written."""
        return f"{self.subject}.{self.quantity}" if self.quantity else self.subject


Condition = Comparison | InState


def parse_condition(text: str) -> Condition:
    """Read what follows `when`. Whether there is such a subject, quantity or state is not looked at.

    Raises:
        ValueError: with one sentence that says what was expected.
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
    """One sentence about what is wrong with a message; None if nothing is."""
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
    """One rule.

    Attributes:
        name: for people, and in messages.
        when: as it was written.
        condition: what that means.
        clear: a firing rule is over when the value has come back past it; None: when the condition is false.
        for_ns: how long the condition has to hold.
        severity: one word.
        message: template of the sentence that is sent, see `check_message`; None: a standard one.
        over: how many readings a feature is computed over.
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
    """Where a rule stands."""

    IDLE = "idle"
    PENDING = "pending"
    FIRING = "firing"


_STATES: Final = tuple(AlertState)
"""Their places here are what is saved."""


@dataclass(frozen=True, slots=True)
class Change:
    """A rule that began to fire, or is over.

    Attributes:
        state: FIRING or IDLE.
        now_ns: when, nanoseconds since boot.
        text: the sentence for people.
    """

    state: AlertState
    now_ns: int
    text: str


class Alert:
    """One rule at work."""

    def __init__(self, settings: AlertSettings) -> None:
        self.settings = settings
        self.state = AlertState.IDLE
        self._since_ns = 0

    def compare(self, now_ns: int, value: float) -> Change | None:
        """A number was seen that the condition is about."""
        condition = self.settings.condition
        if not isinstance(condition, Comparison):
            raise TypeError(f"{self.settings.when} compares nothing")
        holds = condition.holds(value)
        clear = self.settings.clear
        over = not holds
        if over and clear is not None:
            over = value <= clear if condition.operator in {">", ">="} else value >= clear
        return self._go_on(now_ns, holds, over, f"{value:.6g}", value)

    def find(self, now_ns: int, state: str) -> Change | None:
        """The subject of the condition was found in a state, or still is."""
        condition = self.settings.condition
        if not isinstance(condition, InState):
            raise TypeError(f"{self.settings.when} names no state")
        holds = condition.holds(state)
        return self._go_on(now_ns, holds, not holds, state, None)

    @property
    def due_ns(self) -> int | None:
        """When a pending rule fires if nothing changes; None if it is not pending."""
        return self._since_ns + self.settings.for_ns if self.state is AlertState.PENDING else None

    def remembered(self) -> tuple[int, int]:
        """Where it stands, and since when, as numbers."""
        return _STATES.index(self.state), self._since_ns

    def restore(self, numbers: Sequence[float], shift_ns: int) -> None:
        """Go on where an earlier run ended.

        Args:
            numbers: what it remembered.
            shift_ns: is added to its stamp.

        Raises:
            ValueError: they are none of an alert's.
        """
        if len(numbers) != len(self.remembered()) or not 0 <= numbers[0] < len(_STATES):
            raise ValueError(f"{len(numbers)} numbers are no state of an alert")
        self.state, self._since_ns = _STATES[int(numbers[0])], int(numbers[1]) + shift_ns

    def _go_on(self, now_ns: int, holds: bool, over: bool, shown: str, value: float | None) -> Change | None:
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
        """The sentence of the template. Numbers of a state are its words."""
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
