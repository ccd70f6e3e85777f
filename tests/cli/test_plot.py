from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING

import pytest

from edge_agent.cli.plot import Plot
from edge_agent.clock import NS_PER_S
from edge_agent.reading import ChannelBlock, Event, EventKind, Flag, status_of
from edge_agent.stages.alerts import AlertSettings, parse_condition

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

S = NS_PER_S
MAP = "--map=t=air.temperature_c"


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Twenty minutes at 1 Hz, with a spike."""
    rows = [f"{1767225600000 + 1000 * second},{20 + 0.01 * (second * 7 % 11):.2f}" for second in range(1200)]
    rows[900] = f"{1767225600000 + 900_000},35.00"
    file = tmp_path / "recording.csv"
    file.write_text("timestamp_ms,t\n" + "\n".join(rows))
    return file


def size_of(png: Path) -> tuple[int, int]:
    octets = png.read_bytes()
    assert octets.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", octets[16:24])
    return width, height


def test_a_recording_is_drawn_without_being_sent_anywhere(
    recording: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, err = run("replay", str(recording), MAP, "--plot", str(tmp_path / "out.png"))
    assert code == 0, err
    assert "1,200 rows; anomalies: 1 surprise" in out
    width, height = size_of(tmp_path / "out.png")
    assert width > 1000
    assert height > 300


@pytest.mark.parametrize(
    ("name", "said"),
    [("out.gif", "out.gif is neither .png nor .svg nor .pdf"), ("no/out.png", "there is no directory")],
)
def test_a_name_that_cannot_be_written_is_told_before_anything_is_read(
    recording: Path, tmp_path: Path, name: str, said: str, run: Callable[..., tuple[int, str, str]]
) -> None:
    code, _out, err = run("replay", str(recording), MAP, "--plot", str(tmp_path / name))
    assert code == 2
    assert said in err


def test_without_the_library_a_sentence_says_how_to_get_it(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.delitem(sys.modules, "edge_agent.cli.plot", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _out, err = run("replay", str(recording), MAP, "--plot", str(tmp_path / "out.png"))
    assert code == 69
    assert "pip install 'edge-agent-gateway[plot]'" in err
    assert not (tmp_path / "out.png").exists()


def test_whatever_happened_can_be_drawn(tmp_path: Path) -> None:
    rule = AlertSettings("hot", "air.temperature_c.mean > 20", parse_condition("air.temperature_c.mean > 20"))
    plot = Plot([rule])
    bad, odd = status_of(Flag.NO_VALUE), status_of(Flag.OUTLIER)
    times_ns = [0, S, 2 * S, 3 * S, 5000 * S]
    plot.saw(
        "air",
        "temperature_c",
        ChannelBlock(
            times_ns, [20.0, None, 99.0, 20.1, 20.2], [20.0, None, 20.05, 20.1, 20.2], [None] * 5, [0, bad, odd, 0, 0]
        ),
    )
    plot.saw("air", "humidity_pct", ChannelBlock([0], [None], [None], [None], [bad]))
    plot.saw("soil", "temperature_c", ChannelBlock([], [], [], [], []))
    for state in ("noise-burst-ended", "noise-burst", "surprise", "noise-burst-ended", "more"):
        plot.heard(Event(EventKind.ANOMALY, 2 * S, "air.temperature_c", state, "why"))
    for state in ("resolved", "firing"):
        plot.heard(Event(EventKind.ALERT, 3 * S, "hot", state, "why", severity="info"))
    plot.heard(Event(EventKind.SENSOR_STATE, 3 * S, "air", "offline", "why"))
    plot.draw(tmp_path / "out.png", "all of it", 1_767_225_600 * S)
    assert size_of(tmp_path / "out.png")[1] > 700


def test_of_nothing_there_is_an_empty_picture(tmp_path: Path) -> None:
    Plot().draw(tmp_path / "out.svg", "nothing", 0)
    assert (tmp_path / "out.svg").read_text().startswith("<?xml")
