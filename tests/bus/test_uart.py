"""A real pseudo-terminal pair: the port is opened by pyserial, a thread answers at the other end."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import termios
import threading
import tty
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import serial

from edge_agent.bus import uart
from edge_agent.bus.uart import MOST_KEPT, Uart, _errno_of
from edge_agent.clock import NS_PER_S, SystemClock
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


# Listening


def arrive(line: Line, data: bytes) -> None:
    """Send, and wait until the kernel has passed it on."""
    os.write(line.far, data)
    poll = select.poll()
    poll.register(line.near, select.POLLIN)
    waiting = 0
    while waiting < len(data):
        assert poll.poll(5000)
        (waiting,) = struct.unpack("i", fcntl.ioctl(line.near, termios.FIONREAD, bytes(4)))


def test_what_comes_by_itself_is_heard_by_each_listener_once(line: Line) -> None:
    port = Uart(line.device, baud=BAUD)
    first, second = port.listen(), port.listen()
    assert first.take() == b""
    arrive(line, b"23.4\n")
    assert first.take() == b"23.4\n"
    arrive(line, b"23.5\n")
    assert second.take() == b"23.4\n23.5\n"
    assert first.take() == b"23.5\n"
    assert first.take() == second.take() == b""
    port.close()


def test_what_came_before_the_port_was_opened_is_not_heard(line: Line) -> None:
    arrive(line, b"old")
    port = Uart(line.device, baud=BAUD)
    assert port.listen().take() == b""
    port.close()


def test_a_listener_that_does_not_listen_keeps_the_newest_64_kilobytes_and_knows_of_the_loss(line: Line) -> None:
    port = Uart(line.device, baud=BAUD)
    lazy, busy = port.listen(), port.listen()
    busy.take()
    lost = lazy.lost
    for number in range(100):
        arrive(line, bytes([number]) * 1000)
        busy.take()
    kept = lazy.take()
    assert len(kept) == MOST_KEPT
    assert kept[-1000:] == bytes([99]) * 1000
    assert lazy.lost > lost
    assert busy.lost == lost
    port.close()


def test_more_than_the_kernel_keeps_is_a_loss_and_what_it_kept_is_too_old_to_believe(line: Line) -> None:
    port = Uart(line.device, baud=BAUD)
    listener = port.listen()
    listener.take()
    lost = listener.lost
    os.set_blocking(line.far, False)
    with suppress(BlockingIOError):
        while True:
            os.write(line.far, b"23.4,45.6,1013.2\n" * 50)
    poll = select.poll()
    poll.register(line.near, select.POLLIN)
    waiting = 0
    while waiting < 4095:
        assert poll.poll(5000)
        (waiting,) = struct.unpack("i", fcntl.ioctl(line.near, termios.FIONREAD, bytes(4)))
    listener.take()
    assert listener.lost > lost
    port.close()


def test_an_exchange_leaves_to_listeners_what_came_before_it(line: Line) -> None:
    port = Uart(line.device, baud=BAUD)
    listener = port.listen()
    listener.take()
    arrive(line, b"23.4\n")
    assert port.exchange(b"?", reply_length=4, timeout_s=SHORT_S) == b""
    assert listener.take() == b"23.4\n"
    port.close()


def test_a_listener_is_told_of_the_unplugged_port_and_hears_it_when_it_is_back(line: Line, tmp_path: Path) -> None:
    by_id = tmp_path / "usb-Arduino"
    by_id.symlink_to(line.device)
    port = Uart(str(by_id), baud=BAUD)
    first, second = port.listen(), port.listen()
    first.take()
    arrive(line, b"2")
    assert first.take() == b"2"
    line.hang_up()
    with pytest.raises(BusGone, match="unplugged"):
        first.take()
    by_id.unlink()
    with pytest.raises(BusGone, match="does not exist"):
        second.take()
    far, near = os.openpty()
    tty.setraw(near)
    by_id.symlink_to(os.ttyname(near))
    lost = second.lost
    assert first.take() == b""
    os.write(far, b"3.4\n")
    arrive(Line(os.ttyname(near), far, near), b"")
    poll = select.poll()
    poll.register(near, select.POLLIN)
    assert poll.poll(5000)
    assert second.take() == b"3.4\n"
    assert second.lost > lost, "the half line from before must not be joined to this"
    port.close()
    os.close(far)
    os.close(near)


def test_closing_and_opening_again_is_a_loss_too(line: Line) -> None:
    port = Uart(line.device, baud=BAUD)
    listener = port.listen()
    listener.take()
    lost = listener.lost
    port.close()
    listener.take()
    assert listener.lost > lost
    port.close()


# Replies of unknown length


def test_reading_ends_when_the_reply_is_complete(line: Line) -> None:
    port = Uart(line.device, baud=BAUD)

    def slave() -> None:
        line.read_exactly(len(REQUEST))
        for byte in b"P= 1013.2 hPa\r\n":
            os.write(line.far, bytes((byte,)))

    with answering(slave):
        reply = port.exchange(
            REQUEST, reply_length=200, timeout_s=60, complete=lambda received: received.endswith(b"\n")
        )
    assert reply == b"P= 1013.2 hPa\r\n"
    port.close()


def test_a_reply_that_never_is_complete_ends_with_the_time_and_one_that_is_too_long_with_its_length(line: Line) -> None:
    port = Uart(line.device, baud=BAUD)

    def slave() -> None:
        line.read_exactly(len(REQUEST))
        os.write(line.far, b"x" * 20)

    for length, got in ((200, 20), (10, 10)):
        with answering(slave):
            reply = port.exchange(REQUEST, reply_length=length, timeout_s=ENOUGH_S, complete=lambda _: False)
        assert reply == b"x" * got
    port.close()


def test_an_echo_is_no_part_of_a_reply_of_unknown_length(line: Line) -> None:
    port = Uart(line.device, baud=BAUD, echo=True)

    def slave() -> None:
        os.write(line.far, line.read_exactly(6) + b"ok\r")

    with answering(slave):
        assert port.exchange(b"SEND\r\n", reply_length=50, timeout_s=5, complete=lambda got: b"\r" in got) == b"ok\r"
    port.close()


# Settings


def test_a_port_is_set_as_configured_before_it_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[serial.Serial] = []

    def note(self: serial.Serial) -> None:
        opened.append(self)
        raise serial.SerialException(errno.ENOENT, "gone")  # a pty knows neither seven bits nor parity

    monkeypatch.setattr(serial.Serial, "open", note)
    with pytest.raises(BusGone):
        Uart("/dev/ttyUSB0", baud=4800, bytesize=7, parity="E", stopbits=2).listen().take()
    (found,) = opened
    assert (found.port, found.baudrate, found.exclusive) == ("/dev/ttyUSB0", 4800, True)
    assert (found.bytesize, found.parity, found.stopbits) == (7, "E", 2)
    assert (found.dtr, found.rts) == (False, False), "raised lines start a board anew"


def test_lines_that_a_board_needs_can_be_raised(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[tuple[bool, bool]] = []
    real_open = serial.Serial.open

    def note(self: serial.Serial) -> None:
        raised.append((self.dtr, self.rts))
        real_open(self)

    monkeypatch.setattr(serial.Serial, "open", note)
    port = Uart(line.device, dtr=True)
    port.listen().take()
    assert raised == [(True, True)]
    port.close()


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (serial.SerialException(5, "gone"), 5),
        (serial.SerialException("write failed: [Errno 5] Input/output error"), 5),
        (serial.SerialException("Could not configure port: (5, 'Input/output error')"), 5),
        (termios.error(25, "Inappropriate ioctl for device"), 25),
        (serial.SerialException("device reports readiness to read but returned no data"), None),
        (TypeError("an integer is required (got type NoneType)"), None),
    ],
)
def test_the_kernels_reason_is_found_wherever_pyserial_hides_it(error: Exception, number: int | None) -> None:
    assert _errno_of(error) == number


def test_a_pty_is_named_as_the_port_that_it_stands_in_for_and_needs_no_gap_between_frames(line: Line) -> None:
    slow_baud, gap_s = 50, 3.5 * 11 / 50
    port = Uart(line.device, baud=slow_baud, simulates="/dev/ttyUSB7")
    clock = SystemClock()

    def slave() -> None:
        for _ in range(2):
            line.read_exactly(len(REQUEST))
            os.write(line.far, REPLY)

    with answering(slave):
        started_ns = clock.now_ns()
        for _ in range(2):
            assert port.exchange(REQUEST, reply_length=9, timeout_s=5) == REPLY
        assert clock.now_ns() - started_ns < gap_s * NS_PER_S
    line.hang_up()
    with pytest.raises(BusGone, match=r"^/dev/ttyUSB7 failed"):
        port.exchange(REQUEST, reply_length=9, timeout_s=SHORT_S)
