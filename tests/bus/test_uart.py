"""A real pseudo-terminal pair: the port is opened by pyserial, a thread answers at the other end."""

from __future__ import annotations

import errno
import os
import threading
import tty
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import serial

from edge_agent.bus import uart
from edge_agent.bus.uart import Uart
from edge_agent.errors import BusDenied, BusError, BusGone, BusTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REQUEST = bytes.fromhex("010400010002200b")
REPLY = bytes.fromhex("01040400fe023b5af7")
SHORT_S = 0.05
ENOUGH_S = 0.3
"""Where less comes than was asked for, all of it is spent: long enough for a thread on a busy machine."""
BAUD = 115_200


@dataclass
class Line:
    """The far end of a pty pair."""

    device: str
    far: int
    near: int

    def read_exactly(self, count: int) -> bytes:
        """Wait for `count` bytes."""
        received = b""
        while len(received) < count:
            received += os.read(self.far, count - len(received))
        return received

    def hang_up(self) -> None:
        """Go away, as an unplugged adapter does."""
        os.close(self.far)
        self.far = -1


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def line() -> Iterator[Line]:
    far, near = os.openpty()
    tty.setraw(near)
    line = Line(os.ttyname(near), far, near)
    yield line
    for descriptor in (line.far, line.near):
        if descriptor >= 0:
            os.close(descriptor)


@contextmanager
def answering(work: Callable[[], object]) -> Iterator[None]:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    thread.join(5)
    assert not thread.is_alive()


def test_the_request_arrives_unchanged_and_the_reply_comes_back(line: Line) -> None:
    port = Uart(line.device, baud=BAUD)
    heard: list[bytes] = []

    def slave() -> None:
        heard.append(line.read_exactly(len(REQUEST)))
        os.write(line.far, REPLY)

    with answering(slave):
        assert port.exchange(REQUEST, reply_length=9, timeout_s=5) == REPLY
    assert heard == [REQUEST]
    port.close()
    port.close()


def test_a_reply_in_pieces_is_put_together(line: Line) -> None:
    port = Uart(line.device, baud=BAUD)

    def slave() -> None:
        line.read_exactly(len(REQUEST))
        for byte in REPLY:
            os.write(line.far, bytes((byte,)))

    with answering(slave):
        assert port.exchange(REQUEST, reply_length=9, timeout_s=5) == REPLY
    port.close()


def test_a_reply_that_breaks_off_is_returned_as_far_as_it_came(line: Line) -> None:
    port = Uart(line.device, baud=BAUD)

    def slave() -> None:
        line.read_exactly(len(REQUEST))
        os.write(line.far, REPLY[:4])

    with answering(slave):
        assert port.exchange(REQUEST, reply_length=9, timeout_s=ENOUGH_S) == REPLY[:4]
    port.close()


def test_silence_is_no_bytes(line: Line) -> None:
    port = Uart(line.device, baud=BAUD)
    assert port.exchange(REQUEST, reply_length=9, timeout_s=SHORT_S) == b""
    port.close()


def test_a_late_reply_to_an_earlier_request_is_dropped(line: Line) -> None:
    port = Uart(line.device, baud=BAUD)
    assert port.exchange(REQUEST, reply_length=9, timeout_s=SHORT_S) == b""
    line.read_exactly(len(REQUEST))
    os.write(line.far, b"late reply")

    def slave() -> None:
        line.read_exactly(len(REQUEST))
        os.write(line.far, REPLY)

    with answering(slave):
        assert port.exchange(REQUEST, reply_length=9, timeout_s=5) == REPLY
    port.close()


@pytest.mark.parametrize(
    ("sent_back", "reply"),
    [
        (REQUEST + REPLY, REPLY),
        (b"\x00" + REQUEST + REPLY[:8], REPLY[:8]),
        (REQUEST[:-1] + b"\xff" + REPLY, REPLY),
        (REQUEST, b""),
    ],
    ids=["whole", "noise before it", "damaged", "nothing after it"],
)
def test_the_echo_of_the_request_is_dropped(line: Line, sent_back: bytes, reply: bytes) -> None:
    port = Uart(line.device, baud=BAUD, echo=True)

    def slave() -> None:
        line.read_exactly(len(REQUEST))
        os.write(line.far, sent_back)

    with answering(slave):
        assert port.exchange(REQUEST, reply_length=9, timeout_s=5 if reply else SHORT_S) == reply
    port.close()


def test_a_line_without_the_expected_echo_still_gives_its_reply(line: Line) -> None:
    port = Uart(line.device, baud=BAUD, echo=True)

    def slave() -> None:
        line.read_exactly(len(REQUEST))
        os.write(line.far, REPLY)

    with answering(slave):
        assert port.exchange(REQUEST, reply_length=9, timeout_s=ENOUGH_S) == REPLY
    port.close()


def test_an_unplugged_adapter_is_gone_and_its_file_is_closed_at_once(line: Line) -> None:
    port = Uart(line.device, baud=BAUD)
    assert port.exchange(REQUEST, reply_length=9, timeout_s=SHORT_S) == b""
    before = open_files()
    line.hang_up()
    with pytest.raises(BusGone, match="unplugged"):
        port.exchange(REQUEST, reply_length=9, timeout_s=SHORT_S)
    # The far end, the port, and pyserial's two pipes.
    assert open_files() == before - 6


def test_an_adapter_unplugged_while_we_wait_is_gone(line: Line) -> None:
    port = Uart(line.device, baud=BAUD)

    def slave() -> None:
        line.read_exactly(len(REQUEST))
        line.hang_up()

    with answering(slave), pytest.raises(BusGone):
        port.exchange(REQUEST, reply_length=9, timeout_s=5)


def test_a_missing_adapter_is_gone(tmp_path: Path) -> None:
    with pytest.raises(BusGone, match="unplugged") as caught:
        Uart(str(tmp_path / "usb-FTDI")).exchange(REQUEST, reply_length=9, timeout_s=SHORT_S)
    assert caught.value.errno == errno.ENOENT


def test_a_file_that_is_no_serial_port_is_an_error_of_the_bus(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    with pytest.raises(BusError, match="serial port"):
        Uart(str(plain)).exchange(REQUEST, reply_length=9, timeout_s=SHORT_S)


def test_a_port_that_another_program_holds_is_denied_and_the_holder_named_if_the_kernel_tells(
    line: Line,
) -> None:
    with (
        serial.Serial(line.device, BAUD, exclusive=True),
        pytest.raises(BusDenied, match=rf"another program( \(.*, pid {os.getpid()}\))? has /dev/.* open") as caught,
    ):
        Uart(line.device, baud=BAUD).exchange(REQUEST, reply_length=9, timeout_s=SHORT_S)
    assert caught.value.errno == errno.EAGAIN


@pytest.mark.parametrize(
    ("raised", "kind", "sentence"),
    [
        (serial.SerialException(errno.EACCES, "denied"), BusDenied, "dialout"),
        (
            serial.SerialException("Could not configure port: (5, 'Input/output error')"),
            BusError,
            "configure",
        ),
        (ValueError("Invalid baud rate: 12"), BusError, "baud"),
    ],
)
def test_a_port_that_cannot_be_opened_says_why(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, kind: type[BusError], sentence: str
) -> None:
    def refuse(*_: object, **__: object) -> serial.Serial:
        raise raised

    monkeypatch.setattr(uart, "Serial", refuse)
    with pytest.raises(BusError, match=sentence) as caught:
        Uart("/dev/ttyUSB0").exchange(REQUEST, reply_length=9, timeout_s=SHORT_S)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (serial.SerialTimeoutException("Write timeout"), BusTimeout),
        (TypeError("argument must be an int"), BusGone),
        (OSError(errno.EIO, "Input/output error"), BusGone),
    ],
)
def test_each_way_in_which_a_write_fails_is_translated_and_closes_the_port(
    line: Line, monkeypatch: pytest.MonkeyPatch, raised: Exception, kind: type[BusError]
) -> None:
    port = Uart(line.device, baud=BAUD)

    def fail(*_: object) -> int:
        raise raised

    with monkeypatch.context() as patched:
        patched.setattr(serial.Serial, "write", fail)
        with pytest.raises(kind):
            port.exchange(REQUEST, reply_length=9, timeout_s=SHORT_S)
    assert port.exchange(REQUEST, reply_length=9, timeout_s=SHORT_S) == b""
    port.close()
