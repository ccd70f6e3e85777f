from __future__ import annotations

import pytest

from edge_agent.agent.build import alert_settings
from edge_agent.config.alerts import SENSOR_STATES, UPLINK_STATES
from edge_agent.config.load import parse_config
from edge_agent.errors import ConfigError
from edge_agent.sampling.sensor import SensorState
from edge_agent.stages.alerts import parse_condition
from edge_agent.uplink.session import LinkState

GATEWAY = (
    '[gateway]\nid = "g"\n[bus.i2c1]\ndevice = "/dev/i2c-1"\n'
    '[[sensor]]\nid = "air"\ndriver = "bme280"\nbus = "i2c1"\nderive = ["dew_point_c"]\n'
)


def problems(*lines: str) -> list[str]:
    try:
        parse_config(GATEWAY + "[[alert]]\n" + "\n".join(lines))
    except ConfigError as error:
        return [problem.removeprefix("config:") for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "when",
    [
        "air.temperature_c > 40",
        "air.dew_point_c <= 3",
        "air.pressure_pa.slope_per_s < -0.1",
        "air.humidity_pct.std > 9",
        "air.humidity_pct.range > 9",
        "air offline",
        "air.humidity_pct suspect",
        "uplink offline",
        "clock none",
        "outbox.pending > 1000",
    ],
)
def test_what_exists_can_be_told_of(when: str) -> None:
    assert problems(f'when = "{when}"') == []


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("soil.temperature_c > 40", "there is no sensor 'soil'; known: air"),
        ("air.co2_ppm > 40", "sensor 'air' has no co2_ppm; it has temperature_c, humidity_pct, pressure_pa, dew"),
        ("air.temperature_c.variance > 1", "there is no feature 'variance'; known: count, mean, std"),
        ("air broken", "air is never 'broken'; absent, starting, sampling, degraded, offline"),
        ("air.temperature_c offline", "air.temperature_c is never 'offline'; good, estimated"),
        ("uplink bad", "uplink is never 'bad'; offline, connecting"),
        ("outbox.size > 3", "of the outbox only outbox.pending is known"),
        ("whatever", 'expected "SENSOR.QUANTITY > NUMBER"'),
    ],
)
def test_what_does_not_exist_is_told_with_what_does(when: str, said: str) -> None:
    (problem,) = problems(f'when = "{when}"')
    assert problem.startswith("11: alert[1].when: ")
    assert said in problem


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("clear = 41", "expected 40 or below, found 41"),
        ('message = "{valu}"', "unknown field {valu}"),
        ('severity = "panic"', "expected 'info' or 'warning' or 'critical', found 'panic'"),
        ("for_s = -1", "expected at least 0, found -1"),
        ("over = 1", "expected at least 2, found 1"),
        ("forr_s = 1", "did you mean 'for_s'?"),
    ],
)
def test_other_keys_are_checked_too(key: str, said: str) -> None:
    (problem,) = problems('when = "air.temperature_c > 40"', key)
    assert problem.startswith("12: alert[1].")
    assert said in problem


def test_a_state_has_no_number_at_which_it_is_over() -> None:
    (problem,) = problems('when = "air offline"', "clear = 3")
    assert "only a condition with >, >=, < or <=" in problem


def test_two_rules_have_two_names() -> None:
    (problem,) = problems('when = "air offline"', "[[alert]]", 'when = "air offline"', "for_s = 60")
    assert problem == "13: alert[2].when: another alert is called 'air offline' already; give it a name"


def test_a_rule_about_a_sensor_that_could_not_be_read_is_not_blamed() -> None:
    told = problems('when = "soil offline"', '[[sensor]]\nid = "soil"\ndriver = "nothing"\nbus = "i2c1"')
    assert [problem.split(": ")[1] for problem in told] == ["sensor[2].driver"]


def test_the_words_for_states_are_those_that_the_parts_use() -> None:
    assert {state.value for state in SensorState} == set(SENSOR_STATES)
    assert {state.value for state in LinkState} == set(UPLINK_STATES)


def test_a_rule_reaches_its_settings_whole() -> None:
    keys = 'when = "air.temperature_c > 40"\nname = "hot"\nfor_s = 1.5\nclear = 38\nseverity = "critical"\nover = 7'
    (settings,) = alert_settings(parse_config(f'{GATEWAY}[[alert]]\n{keys}\nmessage = "{{value}}"'))
    assert (settings.name, settings.for_ns, settings.clear) == ("hot", 1_500_000_000, 38.0)
    assert (settings.severity, settings.over, settings.message) == ("critical", 7, "{value}")
    assert settings.condition == parse_condition(settings.when)
