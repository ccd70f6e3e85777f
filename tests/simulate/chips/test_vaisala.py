from __future__ import annotations

import random
import re

import pytest

from edge_agent.clock import SimulatedClock
from edge_agent.simulate.chips.base import Part
from edge_agent.simulate.chips.vaisala import Ptu300
from edge_agent.simulate.world import Air

AIR = Air(31.1, 38.3, 101_320.0)


def transmitter(address: int = 0) -> Ptu300:
    return Ptu300(Part(SimulatedClock(0), lambda _: AIR, random.Random(1), address=address))


def test_a_message_is_written_as_in_the_manual() -> None:
    reply = transmitter().respond(b"SEND\r")
    assert reply is not None
    assert re.fullmatch(rb"P= 1013\.\d hPa T= 3[01]\.\d 'C RH= 38\.\d %RH\r\n", reply)


@pytest.mark.parametrize(
    ("address", "command", "answers"),
    [
        (0, b"SEND\r", True),
        (0, b"send\r", True),
        (5, b"SEND 5\r", True),
        (5, b"SEND\r", False),
        (5, b"SEND 6\r", False),
        (0, b"FORM /\r", False),
        (0, b"\xff\r", False),
    ],
)
def test_in_mode_poll_it_answers_to_its_address_only(address: int, command: bytes, answers: bool) -> None:
    assert (transmitter(address).respond(command) is not None) == answers


def test_in_mode_stop_it_echoes_prompts_and_complains() -> None:
    ptu = transmitter()
    ptu.stop_mode = True
    reply = ptu.respond(b"SEND\r")
    assert reply is not None
    assert reply.startswith(b"SEND\r\nP=")
    assert reply.endswith(b"\r\n>")
    assert ptu.respond(b"HELLO\r") == b"HELLO\r\nUnknown command\r\n>"


def test_units_can_be_others_and_values_stars() -> None:
    ptu = transmitter()
    ptu.metric = False
    ptu.broken = {"RH"}
    reply = ptu.respond(b"SEND\r")
    assert reply is not None
    assert re.fullmatch(rb"P=  29\.9\d inHg T= 8[78]\.\d 'F RH=\*+ %RH\r\n", reply)


def test_a_command_ends_with_a_carriage_return() -> None:
    ptu = transmitter()
    assert ptu.frame_length(b"SEND 5") is None
    assert ptu.frame_length(b"SEND 5\rSEN") == 7
