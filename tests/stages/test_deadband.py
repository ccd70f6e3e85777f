from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.stages.deadband import Deadband, DeadbandSettings

S = 1_000_000_000
MINUTE = DeadbandSettings(0.1, 60 * S)


def kept(settings: DeadbandSettings, values: list[float | None], statuses: list[int] | None = None) -> list[bool]:
    times = [row * S for row in range(len(values))]
    return Deadband(settings).run(times, values, statuses or [0] * len(values))


def test_only_change_is_reported() -> None:
    assert kept(MINUTE, [20.0, 20.05, 20.25, 20.2, 20.0]) == [True, False, True, False, True]


def test_drift_is_measured_from_the_last_report() -> None:
    assert kept(MINUTE, [20.0, 20.06, 20.12, 20.18]) == [True, False, True, False]


def test_a_changed_status_is_reported() -> None:
    assert kept(MINUTE, [20.0, 20.0, 20.0, 20.0], [0, 18, 18, 0]) == [True, True, False, True]


def test_a_value_that_vanishes_or_appears_is_reported() -> None:
    assert kept(MINUTE, [None, None, 20.0, None]) == [True, False, True, True]


def test_the_heartbeat_reports_what_does_not_change() -> None:
    assert kept(DeadbandSettings(0.1, 3 * S), [20.0] * 7) == [True, False, False, True, False, False, True]


def test_no_deadband_reports_everything() -> None:
    assert kept(DeadbandSettings(0.0, 60 * S), [20.0] * 3) == [True] * 3


def test_time_that_runs_backwards_is_reported() -> None:
    assert Deadband(MINUTE).run([10 * S, 5 * S], [1.0, 1.0], [0, 0]) == [True, True]


ROWS = st.lists(st.tuples(st.integers(0, 100), st.none() | st.floats(19, 21), st.sampled_from([0, 0, 18])), max_size=40)


@given(ROWS)
def test_what_is_suppressed_is_within_the_deadband_of_the_last_report(
    rows: list[tuple[int, float | None, int]],
) -> None:
    keep = Deadband(MINUTE).run([t * S for t, _, _ in rows], [v for _, v, _ in rows], [s for _, _, s in rows])
    reported: float | None = None
    for (_, value, _), kept_ in zip(rows, keep, strict=True):
        if kept_:
            reported = value
        elif value is not None:
            assert reported is not None
            assert abs(value - reported) <= MINUTE.deadband


@given(ROWS)
def test_a_block_gives_what_single_readings_give(rows: list[tuple[int, float | None, int]]) -> None:
    live = Deadband(MINUTE)
    whole = Deadband(MINUTE).run([t * S for t, _, _ in rows], [v for _, v, _ in rows], [s for _, _, s in rows])
    assert whole == [live.run([t * S], [v], [s])[0] for t, v, s in rows]
