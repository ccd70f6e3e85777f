"""The rules at work: what the path sees goes to the rules that are about it, and what changes becomes an event.

Not for more than one thread at a time.
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

    from edge_agent.reading import Taken
    from edge_agent.stages.alerts import AlertSettings

log = logging.getLogger(__name__)

STAGE: Final = "alert"
_SAMPLING: Final = "sampling"


class Surroundings(NamedTuple):
    """What rules may be about that does not come along the path; asked whenever there is something to do.

    Attributes:
        pending: records that wait.
        uplink: state of the link.
        clock: quality of wall time.
    """

    pending: Callable[[], int]
    uplink: Callable[[], str]
    clock: Callable[[], str]


class _Rule:
    """A rule, and the readings that its feature is computed over."""

    def __init__(self, settings: AlertSettings) -> None:
        self.alert = Alert(settings)
        self.condition = settings.condition
        self.name = settings.name
        self.window: deque[tuple[int, float | None, int]] = deque(maxlen=settings.over)

    def see(self, now_ns: int, value: float | None, status: int) -> Change | None:
        """A reading of the channel that the rule is about."""
        if isinstance(self.condition, InState):
            return self.alert.find(now_ns, quality_of(status).name.lower())
        if self.condition.feature is not None:
            self.window.append((now_ns, value, status))
            if len(self.window) < (self.window.maxlen or 0):
                return None
            described = describe_column(*[list(part) for part in zip(*self.window, strict=True)])
            if described is None:
                return None
            return self.alert.compare(now_ns, float(getattr(described, self.condition.feature)))
        if value is None or quality_of(status) not in {Quality.GOOD, Quality.SUSPECT}:
            return None  # bad, or a prediction, which is no evidence
        return self.alert.compare(now_ns, value)


class Alerting:
    """All rules.

    Args:
        settings: of the rules; what they name exists.
        tell: takes the event of each change.
        around: see there.

    Attributes:
        fired: how often a rule began to fire.
        minded: sensors and others whose state rules are about.
    """

    def __init__(
        self, settings: Sequence[AlertSettings], tell: Callable[[Event], object], around: Surroundings
    ) -> None:
        self.fired = 0
        self._tell = tell
        self._around = around
        self._rules = [_Rule(each) for each in settings]
        self._of_channel: dict[tuple[str, str], list[_Rule]] = {}
        self._of_state: dict[str, list[_Rule]] = {}
        self._of_outbox: list[_Rule] = []
        self._found: dict[str, str] = {}
        for rule in self._rules:
            condition = rule.condition
            if condition.subject == OUTBOX:
                self._of_outbox.append(rule)
            elif condition.quantity:
                self._of_channel.setdefault((condition.subject, condition.quantity), []).append(rule)
            else:
                self._of_state.setdefault(condition.subject, []).append(rule)
        self.minded = frozenset(self._of_state)

    def watches(self, sensor: str) -> frozenset[str]:
        """Quantities of a sensor that rules are about; their readings are to be shown without delay."""
        return frozenset(quantity for subject, quantity in self._of_channel if subject == sensor)

    @property
    def firing(self) -> list[str]:
        """Names of the rules that are firing now. May be asked from any thread."""
        return [rule.name for rule in self._rules if rule.alert.state is AlertState.FIRING]

    def saw(self, sensor: str, quantity: str, taken: Taken) -> None:
        """Readings of a channel, of which some may not be sent."""
        for rule in self._of_channel.get((sensor, quantity), ()):
            for now_ns, value, status in zip(taken.times_ns, taken.values, taken.statuses, strict=True):
                self._note(rule, rule.see(now_ns, value, status))

    def measured(self, sensor: str) -> None:
        """A sensor that measures is sampling, whether that was told or not."""
        if sensor in self._of_state:
            self._found[sensor] = _SAMPLING

    def heard(self, event: Event) -> None:
        """The state of a sensor changed."""
        if event.kind is EventKind.SENSOR_STATE and event.subject in self._of_state:
            self._found[event.subject] = event.state

    def look(self, now_ns: int) -> int | None:
        """Time has passed. Returns when to look again, at the latest."""
        rules = list(self._of_outbox)
        for rule in self._of_outbox:
            self._note(rule, rule.alert.compare(now_ns, self._around.pending()))
        for subject, about in self._of_state.items():
            state = self._state_of(subject)
            if state is not None:
                rules += about
                for rule in about:
                    self._note(rule, rule.alert.find(now_ns, state))
        return min((due for rule in rules if (due := rule.alert.due_ns) is not None), default=None)

    def remembered(self) -> list[Remembered]:
        """What a restart needs to know: a rule that fires does not fire again, and one that is pending goes on."""
        return [Remembered(rule.name, STAGE, rule.alert.remembered()) for rule in self._rules]

    def restore(self, remembered: Iterable[Remembered], shift_ns: int) -> None:
        """Go on where an earlier run ended; `shift_ns` is added to its stamps."""
        rules = {rule.name: rule for rule in self._rules}
        for each in remembered:
            if each.stage == STAGE and each.owner in rules:
                rules[each.owner].alert.restore(each.numbers, shift_ns)

    def _state_of(self, subject: str) -> str | None:
        if subject == UPLINK:
            return self._around.uplink()
        if subject == CLOCK:
            return self._around.clock()
        return self._found.get(subject)

    def _note(self, rule: _Rule, change: Change | None) -> None:
        if change is None:
            return
        settings = rule.alert.settings
        fires = change.state is AlertState.FIRING
        self.fired += fires
        state, level = ("firing", logging.WARNING) if fires else ("resolved", logging.INFO)
        log.log(level, "alert %s is %s: %s severity=%s", settings.name, state, change.text, settings.severity)
        self._tell(Event(EventKind.ALERT, change.now_ns, settings.name, state, change.text, severity=settings.severity))
