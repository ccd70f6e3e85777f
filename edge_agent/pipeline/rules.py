"""Evaluation of alert rules: a tap that passes readings and states to the rules, and makes an event of each change.

Only for one thread at a time.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from edge_agent.features import describe_column
from edge_agent.pipeline.memory import Remembered
from edge_agent.reading import Event, EventKind, Quality, quality_of
from edge_agent.stages.alerts import CLOCK, OUTBOX, UPLINK, Alert, AlertState, Change, InState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from edge_agent.reading import ChannelBlock
    from edge_agent.stages.alerts import AlertSettings

log = logging.getLogger(__name__)

STAGE: Final = "alert"
_SAMPLING: Final = "sampling"


class Surroundings(NamedTuple):
    """Sources of values for rules about the outbox, the link and the clock; read at every step.

    Attributes:
        pending: number of records that wait.
        uplink: state of the link.
        clock: quality of wall time.
    """

    pending: Callable[[], int]
    uplink: Callable[[], str]
    clock: Callable[[], str]


class _Rule:
    """A rule, and the last readings, from which its feature is computed."""

    def __init__(self, settings: AlertSettings) -> None:
        self.alert = Alert(settings)
        self.condition = settings.condition
        self.name = settings.name
        self.recent: deque[tuple[int, float | None, int]] = deque(maxlen=settings.over)

    def see(self, now_ns: int, value: float | None, status: int) -> Change | None:
        """Evaluate the rule for a reading of its channel."""
        if isinstance(self.condition, InState):
            return self.alert.find(now_ns, quality_of(status).name.lower())
        if self.condition.feature is not None:
            self.recent.append((now_ns, value, status))
            if len(self.recent) < (self.recent.maxlen or 0):
                return None
            described = describe_column(*[list(part) for part in zip(*self.recent, strict=True)])
            if described is None:
                return None
            return self.alert.compare(now_ns, float(getattr(described, self.condition.feature)))
        if value is None or quality_of(status) not in {Quality.GOOD, Quality.SUSPECT}:
            return None  # bad, or predicted instead of measured
        return self.alert.compare(now_ns, value)


class Rules:
    """All rules. A `Tap`: prompt, because a rule must not wait until a batch is sealed.

    Args:
        settings: settings of the rules; their subjects must exist.
        report: called with the event of each change.
        surroundings: values for rules about the outbox, the link and the clock.

    Attributes:
        fired: number of times that a rule started to fire.
        subjects: sensors and others whose states are in conditions.
    """

    prompt = True

    def __init__(
        self, settings: Sequence[AlertSettings], report: Callable[[Event], object], surroundings: Surroundings
    ) -> None:
        self.fired = 0
        self._report = report
        self._surroundings = surroundings
        self._rules = [_Rule(rule) for rule in settings]
        self._of_channel: dict[tuple[str, str], list[_Rule]] = {}
        self._of_state: dict[str, list[_Rule]] = {}
        self._of_outbox: list[_Rule] = []
        self._states: dict[str, str] = {}
        for rule in self._rules:
            condition = rule.condition
            if condition.subject == OUTBOX:
                self._of_outbox.append(rule)
            elif condition.quantity:
                self._of_channel.setdefault((condition.subject, condition.quantity), []).append(rule)
            else:
                self._of_state.setdefault(condition.subject, []).append(rule)
        self.subjects = frozenset(self._of_state)

    def wants(self, sensor: str, quantity: str) -> bool:
        """Whether a rule is about the channel."""
        return (sensor, quantity) in self._of_channel

    @property
    def firing(self) -> list[str]:
        """Names of the rules that are firing now. May be called from any thread."""
        return [rule.name for rule in self._rules if rule.alert.state is AlertState.FIRING]

    def saw(self, sensor: str, quantity: str, block: ChannelBlock) -> None:
        """Evaluate the rules of a channel for a block of its readings."""
        for rule in self._of_channel.get((sensor, quantity), ()):
            for now_ns, value, status in zip(block.times_ns, block.values, block.statuses, strict=True):
                self._note(rule, rule.see(now_ns, value, status))

    def measured(self, sensor: str) -> None:
        """Set the state of a sensor to sampling because it has measured; needs no event."""
        if sensor in self._of_state:
            self._states[sensor] = _SAMPLING

    def heard(self, event: Event) -> None:
        """Take the new state of a sensor from its event."""
        if event.kind is EventKind.SENSOR_STATE and event.subject in self._of_state:
            self._states[event.subject] = event.state

    def look(self, now_ns: int) -> int | None:
        """Evaluate rules that need no readings. Returns the time of the next change, None if none is pending."""
        if not self._of_outbox and not self._of_state:
            return None
        rules = list(self._of_outbox)
        for rule in self._of_outbox:
            self._note(rule, rule.alert.compare(now_ns, self._surroundings.pending()))
        for subject, about in self._of_state.items():
            state = self._state_of(subject)
            if state is not None:
                rules += about
                for rule in about:
                    self._note(rule, rule.alert.find(now_ns, state))
        return min((due for rule in rules if (due := rule.alert.due_ns) is not None), default=None)

    def remembered(self) -> list[Remembered]:
        """States to save: after a restart, a firing rule does not fire again, and a pending one keeps its time."""
        return [Remembered(rule.name, STAGE, rule.alert.remembered()) for rule in self._rules]

    def restore(self, remembered: Iterable[Remembered], shift_ns: int) -> None:
        """Restore the states saved by an earlier run; `shift_ns` is added to their stamps."""
        rules = {rule.name: rule for rule in self._rules}
        for state in remembered:
            if state.stage == STAGE and state.owner in rules:
                rules[state.owner].alert.restore(state.numbers, shift_ns)

    def _state_of(self, subject: str) -> str | None:
        if subject == UPLINK:
            return self._surroundings.uplink()
        if subject == CLOCK:
            return self._surroundings.clock()
        return self._states.get(subject)

    def _note(self, rule: _Rule, change: Change | None) -> None:
        if change is None:
            return
        settings = rule.alert.settings
        fires = change.state is AlertState.FIRING
        self.fired += fires
        state, level = ("firing", logging.WARNING) if fires else ("resolved", logging.INFO)
        log.log(level, "alert %s is %s: %s severity=%s", settings.name, state, change.text, settings.severity)
        self._report(
            Event(EventKind.ALERT, change.now_ns, settings.name, state, change.text, severity=settings.severity)
        )
