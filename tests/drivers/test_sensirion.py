from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge_agent.drivers.sensirion import checked_words, read_words, understands, with_checksum
from edge_agent.errors import BadReply, ChecksumMismatch, NoAcknowledge

if TYPE_CHECKING:
    from tests.drivers.conftest import ScriptedI2C


def test_a_reply_is_split_into_its_words() -> None:
    assert checked_words(b"\xbe\xef\x92\x00\x00\x81", 2) == (0xBEEF, 0x0000)
    assert checked_words(with_checksum(0xBEEF), 1) == (0xBEEF,)


@pytest.mark.parametrize("reply", [b"", b"\xbe\xef", b"\xbe\xef\x92\x00"])
def test_a_reply_of_another_length_is_refused(reply: bytes) -> None:
    with pytest.raises(BadReply, match="3 were expected"):
        checked_words(reply, 1)


def test_a_command_and_its_answer_are_two_transfers(i2c: ScriptedI2C) -> None:
    i2c.expect(b"\xf3\x2d")
    i2c.expect(b"", b"\xbe\xef\x92")
    assert read_words(i2c, 0x44, b"\xf3\x2d", 1) == (0xBEEF,)


def test_a_relative_is_known_by_the_checksums_of_its_answer(i2c: ScriptedI2C) -> None:
    for answer, known in ((b"\xbe\xef\x92", True), (b"\xbe\xef\x93", False), (NoAcknowledge("what?"), False)):
        i2c.expect(b"\x89")
        i2c.expect(b"", answer)
        assert understands(i2c, 0x44, b"\x89", 1) is known
    i2c.expect(b"\x89")
    i2c.expect(b"", b"\xff\xff\xff")
    with pytest.raises(ChecksumMismatch):
        read_words(i2c, 0x44, b"\x89", 1)
