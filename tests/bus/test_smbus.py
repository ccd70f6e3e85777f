"""The exact calls that reach the kernel, and what its refusals become."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import Any

import pytest
import smbus2.smbus2

from edge_agent.bus.smbus import SmbusI2C
from edge_agent.errors import BusDenied, BusError, BusGone, BusTimeout, NoAcknowledge

I2C_SLAVE, I2C_SLAVE_FORCE, I2C_FUNCS, I2C_RDWR, I2C_SMBUS = 0x703, 0x706, 0x705, 0x707, 0x720
QUICK, BYTE = 0, 1
PLAIN_I2C_AND_SMBUS = 0x0EFF_0001
DEVICE = "/dev/i2c-1"


@dataclass
class Kernel:
    """Answers the ioctls of i2c-dev: notes each one, and refuses those for which an errno was planted."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    refuse: dict[int, int] = field(default_factory=dict)
    functions: int = PLAIN_I2C_AND_SMBUS
    reply: bytes = b""
    open_errno: int = 0
    opened: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    first_descriptor: int = 40

    def open(self, path: str, _flags: int, *_: Any, **__: Any) -> int:
        """As os.open."""
        if self.open_errno:
            raise OSError(self.open_errno, os.strerror(self.open_errno), path)
        self.opened.append(self.first_descriptor + len(self.opened))
        return self.opened[-1]

    def close(self, descriptor: int) -> None:
        """As os.close."""
        self.closed.append(descriptor)

    def ioctl(self, descriptor: int | None, request: int, arg: Any) -> int:
        """As fcntl.ioctl."""
        if descriptor is None:
            raise TypeError("argument must be an int, or have a fileno() method.")
        assert descriptor in self.opened
        assert descriptor not in self.closed
        self._note(request, arg)
        if request in self.refuse:
            raise OSError(self.refuse[request], os.strerror(self.refuse[request]))
        if request == I2C_FUNCS:
            arg.value = self.functions
        if request == I2C_RDWR:
            for message in arg.msgs[: arg.nmsgs]:
                if message.flags:
                    for at, byte in enumerate(self.reply[: message.len]):
                        message.buf[at] = bytes((byte,))
        return 0

    def _note(self, request: int, arg: Any) -> None:
        if request == I2C_RDWR:
            messages = [
                ("read", m.addr, m.len) if m.flags else ("write", m.addr, bytes(m)) for m in arg.msgs[: arg.nmsgs]
            ]
            self.calls.append((request, messages))
        elif request == I2C_SMBUS:
            self.calls.append((request, arg.read_write, arg.size))
        elif request != I2C_FUNCS:
            self.calls.append((request, arg))


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(smbus2.smbus2, "ioctl", kernel.ioctl)
    monkeypatch.setattr(os, "open", kernel.open)
    monkeypatch.setattr(os, "close", kernel.close)
    return kernel


def test_nothing_is_opened_before_the_first_transfer(kernel: Kernel) -> None:
    SmbusI2C(DEVICE).close()
    assert kernel.opened == []


def test_a_register_read_is_one_write_and_one_read_message_and_never_forced(kernel: Kernel) -> None:
    kernel.reply = b"\x60"
    assert SmbusI2C(DEVICE).transfer(0x76, b"\xd0", 1) == b"\x60"
    assert kernel.calls == [
        (I2C_SLAVE, 0x76),
        (I2C_RDWR, [("write", 0x76, b"\xd0"), ("read", 0x76, 1)]),
    ]


def test_only_the_needed_messages_are_sent_and_more_than_32_bytes_pass(kernel: Kernel) -> None:
    bus = SmbusI2C(DEVICE)
    kernel.reply = bytes(range(40))
    assert bus.transfer(0x44, b"\x24\x00", 0) == b""
    assert bus.transfer(0x44, b"", 40) == bytes(range(40))
    rdwr = [call for call in kernel.calls if call[0] == I2C_RDWR]
    assert rdwr == [(I2C_RDWR, [("write", 0x44, b"\x24\x00")]), (I2C_RDWR, [("read", 0x44, 40)])]


def test_a_transfer_of_nothing_is_a_mistake_of_the_caller(kernel: Kernel) -> None:
    with pytest.raises(ValueError, match="something"):
        SmbusI2C(DEVICE).transfer(0x44, b"", 0)
    assert kernel.calls == []


def test_an_address_that_a_kernel_driver_owns_is_refused_before_a_byte_is_sent(kernel: Kernel) -> None:
    kernel.refuse[I2C_SLAVE] = errno.EBUSY
    with pytest.raises(BusDenied, match="0x76 on /dev/i2c-1 belongs to the kernel driver"):
        SmbusI2C(DEVICE).transfer(0x76, b"\xd0", 1)
    assert [call[0] for call in kernel.calls] == [I2C_SLAVE]


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENXIO, NoAcknowledge),
        (errno.EREMOTEIO, NoAcknowledge),
        (errno.ETIMEDOUT, BusTimeout),
        (errno.EIO, BusError),
        (errno.EAGAIN, BusError),
        (errno.EBUSY, BusDenied),
        (errno.EACCES, BusDenied),
        (errno.ENODEV, BusGone),
        (errno.EOPNOTSUPP, BusError),
        (errno.EPROTO, BusError),
    ],
)
def test_each_reason_of_the_kernel_becomes_the_error_that_tells_what_to_do(
    kernel: Kernel, number: int, kind: type[BusError]
) -> None:
    kernel.refuse[I2C_RDWR] = number
    with pytest.raises(BusError) as caught:
        SmbusI2C(DEVICE).transfer(0x76, b"\xd0", 1)
    assert type(caught.value) is kind
    assert caught.value.errno == number
    assert DEVICE in str(caught.value)


@pytest.mark.parametrize(
    ("number", "kind", "sentence"),
    [
        (errno.ENOENT, BusGone, "I2C is off: add dtparam=i2c_arm=on"),
        (errno.EACCES, BusDenied, "not in group i2c"),
        (errno.ENODEV, BusGone, "no adapter"),
        (errno.EMFILE, BusError, "Too many open files"),
    ],
)
def test_a_bus_that_cannot_be_opened_says_how_to_open_it(
    kernel: Kernel, number: int, kind: type[BusError], sentence: str
) -> None:
    kernel.open_errno = number
    with pytest.raises(BusError, match=sentence) as caught:
        SmbusI2C(DEVICE).transfer(0x76, b"\xd0", 1)
    assert type(caught.value) is kind
    with pytest.raises(kind):
        SmbusI2C(DEVICE).ping(0x76)


def test_an_unplugged_adapter_is_closed_and_opened_again_by_the_next_transfer(kernel: Kernel) -> None:
    bus = SmbusI2C(DEVICE)
    kernel.refuse[I2C_RDWR] = errno.ENODEV
    with pytest.raises(BusGone):
        bus.transfer(0x76, b"\xd0", 1)
    assert kernel.closed == kernel.opened
    del kernel.refuse[I2C_RDWR]
    kernel.reply = b"\x60"
    assert bus.transfer(0x76, b"\xd0", 1) == b"\x60"
    assert len(kernel.opened) == 2
    bus.close()
    bus.close()
    assert kernel.closed == kernel.opened


def test_the_file_is_not_leaked_when_the_device_is_no_adapter(kernel: Kernel) -> None:
    kernel.refuse[I2C_FUNCS] = errno.ENOTTY
    with pytest.raises(BusGone, match="not an I2C adapter"):
        SmbusI2C("/dev/null").transfer(0x76, b"\xd0", 1)
    assert kernel.opened == kernel.closed == [40]


def test_file_descriptor_zero_is_closed_too(kernel: Kernel) -> None:
    kernel.first_descriptor = 0
    bus = SmbusI2C(DEVICE)
    bus.transfer(0x44, b"\x24\x00", 0)
    bus.close()
    assert kernel.closed == [0]


def test_closing_in_the_middle_of_a_transfer_is_an_error_of_the_bus(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = SmbusI2C(DEVICE)

    def then_close(descriptor: int | None, request: int, arg: Any) -> int:
        answer = kernel.ioctl(descriptor, request, arg)
        if request == I2C_SLAVE:
            bus.close()
        return answer

    monkeypatch.setattr(smbus2.smbus2, "ioctl", then_close)
    with pytest.raises(BusGone):
        bus.transfer(0x76, b"\xd0", 1)


@pytest.mark.parametrize(("address", "size"), [(0x30, BYTE), (0x37, BYTE), (0x50, BYTE), (0x5F, BYTE)])
def test_ping_reads_a_byte_where_a_quick_write_may_do_harm(kernel: Kernel, address: int, size: int) -> None:
    assert SmbusI2C(DEVICE).ping(address)
    assert kernel.calls == [(I2C_SLAVE, address), (I2C_SMBUS, 1, size)]


@pytest.mark.parametrize("address", [0x03, 0x2F, 0x38, 0x4F, 0x60, 0x76])
def test_ping_writes_nothing_elsewhere(kernel: Kernel, address: int) -> None:
    assert SmbusI2C(DEVICE).ping(address)
    assert kernel.calls == [(I2C_SLAVE, address), (I2C_SMBUS, 0, QUICK)]


def test_ping_reads_a_byte_where_the_adapter_knows_no_quick_write(kernel: Kernel) -> None:
    kernel.functions = PLAIN_I2C_AND_SMBUS & ~0x0001_0000
    assert SmbusI2C(DEVICE).ping(0x76)
    assert kernel.calls[-1] == (I2C_SMBUS, 1, BYTE)


@pytest.mark.parametrize("number", [errno.ENXIO, errno.EREMOTEIO])
def test_ping_of_an_empty_address_is_false(kernel: Kernel, number: int) -> None:
    kernel.refuse[I2C_SMBUS] = number
    assert not SmbusI2C(DEVICE).ping(0x20)


def test_ping_of_an_owned_address_and_of_a_stuck_bus_are_told_apart_from_silence(kernel: Kernel) -> None:
    kernel.refuse[I2C_SLAVE] = errno.EBUSY
    with pytest.raises(BusDenied):
        SmbusI2C(DEVICE).ping(0x76)
    kernel.refuse = {I2C_SMBUS: errno.ETIMEDOUT}
    with pytest.raises(BusTimeout):
        SmbusI2C(DEVICE).ping(0x76)
    assert I2C_SLAVE_FORCE not in {call[0] for call in kernel.calls}
