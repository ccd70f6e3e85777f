"""Alert rules at work: a tap that shows each rule what it is about, and makes an event of each change.

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

    from edge_agent.reading import ChannelBlock
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
    """A rule, and the last readings, which its feature is computed over."""

    def __init__(self, settings: AlertSettings) -> None:
        self.alert = Alert(settings)
        self.condition = settings.condition
        self.name = settings.name
        self.recent: deque[tuple[int, float | None, int]] = deque(maxlen=settings.over)

    def see(self, now_ns: int, value: float | None, status: int) -> Change | None:
        """A reading of the channel that the rule is about."""
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
            return None  # bad, or a prediction, which is no evidence
        return self.alert.compare(now_ns, value)


class Rules:
    """All rules. A `Tap`: prompt, because a rule must not wait until a batch is sealed.

    Args:
        settings: of the rules; what they name exists.
        report: takes the event of each change.
        surroundings: what rules may be about that does not come along the path.

    Attributes:
        fired: how often a rule began to fire.
        subjects: sensors and others whose state rules are about.
    """

    prompt = True

    def __init__(
        self, settings: Sequence[AlertSettings], report: Callable[[Event], object], surroundings: Surroundings
    ) -> None:
        self.fired = 0
        self._report = report
        self._surroundings = surroundings
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
        self.subjects = frozenset(self._of_state)

    def wants(self, sensor: str, quantity: str) -> bool:
        """Whether a rule is about the channel."""
        return (sensor, quantity) in self._of_channel

    @property
    def firing(self) -> list[str]:
        """Names of the rules that are firing now. May be asked from any thread."""
        return [rule.name for rule in self._rules if rule.alert.state is AlertState.FIRING]

    def saw(self, sensor: str, quantity: str, block: ChannelBlock) -> None:
        """Show readings of a channel to the rules that are about it."""
        for rule in self._of_channel.get((sensor, quantity), ()):
            for now_ns, value, status in zip(block.times_ns, block.values, block.statuses, strict=True):
                self._note(rule, rule.see(now_ns, value, status))

    def measured(self, sensor: str) -> None:
        """A sensor that measures is sampling, whether an event said so or not."""
        if sensor in self._of_state:
            self._found[sensor] = _SAMPLING

    def heard(self, event: Event) -> None:
        """Take the new state of a sensor."""
        if event.kind is EventKind.SENSOR_STATE and event.subject in self._of_state:
            self._found[event.subject] = event.state

    def look(self, now_ns: int) -> int | None:
        """Look at what changes without readings. Returns when to look again, at the latest."""
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
            return self._surroundings.uplink()
        if subject == CLOCK:
            return self._surroundings.clock()
        return self._found.get(subject)

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
