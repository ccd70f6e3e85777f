from __future__ import annotations

import pytest

from edge_agent.clock import NS_PER_S
from edge_agent.stages.alerts import (
    Alert,
    AlertSettings,
    AlertState,
    Comparison,
    InState,
    check_message,
    parse_condition,
)

S = NS_PER_S


def alert(when: str = "air.temperature_c > 40", **given: object) -> Alert:
    return Alert(AlertSettings(name="hot", when=when, condition=parse_condition(when), **given))  # type: ignore[arg-type]


def states(rule: Alert, *seen: tuple[float, float]) -> list[tuple[float, AlertState]]:
    """The changes that (second, value) pairs bring about."""
    changes = [rule.compare(round(second * S), value) for second, value in seen]
    return [(change.now_ns / S, change.state) for change in changes if change is not None]


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("air.temperature_c > 40", Comparison("air", "temperature_c", None, ">", 40.0)),
        ("air.temperature_c<=-.5", Comparison("air", "temperature_c", None, "<=", -0.5)),
        (" a-1.co2_ppm.slope_per_s >= 1e-3 ", Comparison("a-1", "co2_ppm", "slope_per_s", ">=", 1e-3)),
        ("air.humidity_pct != 0", Comparison("air", "humidity_pct", None, "!=", 0.0)),
        ("outbox.pending > 1000", Comparison("outbox", "pending", None, ">", 1000.0)),
        ("air offline", InState("air", None, "offline")),
        ("air is Offline", InState("air", None, "offline")),
        ("air.temperature_c bad", InState("air", "temperature_c", "bad")),
    ],
)
def test_a_condition_is_read_as_it_is_written(text: str, condition: Comparison | InState) -> None:
    assert parse_condition(text) == condition


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "air.temperature_c",
        "air > 40",
        "air.temperature_c > ",
        "air.temperature_c > nan",
        "a.b > 1 and c.d > 2",
        "air.temperature_c > __import__('os')",
        "air.temperature_c > 1; x",
        "a.b.c.d > 1",
        "Ä offline",
    ],
)
def test_what_is_no_condition_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r'expected "SENSOR\.QUANTITY > NUMBER"'):
        parse_condition(text)


@pytest.mark.parametrize(
    ("operator", "at_threshold", "above"),
    [
        (">", False, True),
        (">=", True, True),
        ("<", False, False),
        ("<=", True, False),
        ("==", True, False),
        ("!=", False, True),
    ],
)
def test_each_operator_compares(operator: str, at_threshold: bool, above: bool) -> None:
    for value, fires in ((40.0, at_threshold), (41.0, above)):
        assert bool(states(alert(f"air.temperature_c {operator} 40"), (0, value))) is fires


def test_it_fires_when_the_condition_has_held_for_as_long_as_asked_and_is_over_when_it_does_not() -> None:
    seen = [(0, 41.0), (299, 41.0), (300, 41.0), (400, 42.0), (401, 39.0), (402, 39.0)]
    assert states(alert(for_ns=300 * S), *seen) == [(300, AlertState.FIRING), (401, AlertState.IDLE)]


def test_a_moment_in_which_the_condition_does_not_hold_starts_the_wait_anew() -> None:
    rule = alert(for_ns=10 * S)
    assert states(rule, (0, 41.0), (9, 39.0), (10, 41.0), (19, 41.0), (20, 41.0)) == [(20, AlertState.FIRING)]


@pytest.mark.parametrize(
    ("when", "clear", "values", "over_at"),
    [("a.b > 40", 38.0, [41, 39, 38.5, 41, 38], 4), ("a.b < 5", 7.0, [4, 6, 4, 6.9, 7], 4)],
)
def test_with_hysteresis_it_is_over_only_past_the_other_number(
    when: str, clear: float, values: list[float], over_at: int
) -> None:
    assert states(alert(when, clear=clear), *enumerate(values)) == [(0, AlertState.FIRING), (over_at, AlertState.IDLE)]


def test_while_it_is_pending_the_condition_itself_has_to_hold_however_far_away_its_end_is() -> None:
    rule = alert(for_ns=10 * S, clear=30.0)
    assert states(rule, (0, 41.0), (5, 35.0), (6, 41.0), (15, 41.0), (16, 41.0)) == [(16, AlertState.FIRING)]


def test_a_state_is_found_and_left() -> None:
    rule = alert("air offline", for_ns=60 * S)
    assert rule.find(0, "offline") is None
    waits_until_ns = rule.due_ns
    fired = rule.find(60 * S, "offline")
    assert fired is not None
    assert (fired.state, fired.text) == (AlertState.FIRING, "air is offline: air offline")
    assert (waits_until_ns, rule.due_ns) == (60 * S, None)
    over = rule.find(61 * S, "sampling")
    assert over is not None
    assert (over.state, over.text) == (AlertState.IDLE, "air is sampling: air offline")


def test_a_sensor_that_is_missing_is_offline_whether_it_ever_answered_or_not() -> None:
    rule = alert("air offline")
    assert rule.find(0, "absent") is not None
    assert rule.find(S, "offline") is None, "it is told already"
    assert rule.find(2 * S, "starting") is not None
    only = alert("air absent")
    assert only.find(0, "offline") is None
    assert only.find(S, "absent") is not None


def test_the_sentence_is_made_of_its_fields() -> None:
    template = "{severity} {subject}: {value:.1f}{unit} > {threshold:.2f} for {for_s} s {{{name}}}"
    rule = alert(for_ns=0, message=template, severity="critical")
    change = rule.compare(0, 41.26)
    assert change is not None
    assert change.text == "critical air.temperature_c: 41.3 °C > 40.00 for 0 s {hot}"


def test_without_a_template_value_unit_and_condition_are_told() -> None:
    change = alert("air.temperature_c.slope_per_s > 0.1").compare(0, 0.25)
    assert change is not None
    assert change.text == "air.temperature_c.slope_per_s is 0.25 °C/s: air.temperature_c.slope_per_s > 0.1"


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{value.__class__}", "unknown field"),
        ("{0}", "unknown field"),
        ("{}", "unknown field"),
        ("{value!r}", "not written so"),
        ("{name:>1000000000}", "not written so"),
        ("{value:.99999999f}", "not written so"),
        ("{value:{name}}", "not written so"),
        ("{value", "expected '}'"),
    ],
)
def test_a_template_that_could_do_more_than_fill_in_numbers_is_refused(template: str, said: str) -> None:
    assert said in (check_message(template) or "")


@pytest.mark.parametrize("template", ["", "plain", "{value} {value:.1f} {threshold:e} {unit}", "{{}}"])
def test_a_proper_template_is_taken(template: str) -> None:
    assert check_message(template) is None


@pytest.mark.parametrize("seen", [[(0, 39.0)], [(0, 41.0)], [(0, 41.0), (10, 41.0)]])
def test_what_it_remembers_makes_another_go_on(seen: list[tuple[float, float]]) -> None:
    first, shift_ns = alert(for_ns=10 * S), 1000 * S
    states(first, *seen)
    second = alert(for_ns=10 * S)
    second.restore(first.remembered(), shift_ns)
    later = [(11.0, 41.0), (12.0, 39.0)]
    shifted = [(second_ + 1000, value) for second_, value in later]
    assert [(at - 1000, state) for at, state in states(second, *shifted)] == states(first, *later)


@pytest.mark.parametrize("numbers", [(), (0,), (7, 0), (-1, 0), (0, 0, 0)])
def test_numbers_that_are_no_alerts_state_are_refused(numbers: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="no state of an alert"):
        alert().restore(numbers, 0)
