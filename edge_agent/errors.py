"""The exceptions of the program, in one tree. Imports nothing of ours.

EdgeAgentError
├── ConfigError          the configuration is wrong; lists every problem           exit 78
├── DataError            a file of the user cannot be read                         exit 1
├── Unavailable          a needed service or device is not available               exit 69
├── BusError (OSError)   a transfer failed                                         exit 69, retryable
│   ├── NoAcknowledge    no device answered at the address (absent, asleep, busy)
│   ├── BusTimeout       the bus or the device did not answer in time
│   ├── BusGone          the device node is missing or the adapter was unplugged
│   └── BusDenied        another program owns the device, or it may not be opened
├── DriverError          a transfer succeeded and the reply is wrong               exit 69
│   ├── WrongChip        another chip answers
│   ├── ChecksumMismatch the reply was damaged                                     retryable
│   ├── NotReady         the conversion has not finished                           retryable
│   ├── ChipWasReset     the chip lost its settings (supply dip)                   retryable
│   └── BadReply         the reply breaks the protocol or reports an error         retryable
└── WireError            bytes that are not a valid message                        exit 1
    ├── UnknownVersion   a format version that this decoder does not know
    ├── UnknownReference refers to an announcement or batch that is missing
    └── Truncated        the message ends too early
        └── Unfinished   so far; the bytes that follow may complete it

An implausible value is not an exception: it is a reading with a flag.
"""

from __future__ import annotations

from typing import ClassVar


class EdgeAgentError(Exception):
    """An error that is shown to a person: one sentence, with the fix where there is one.

    Attributes:
        retryable: whether the same call may succeed later without anything being changed.
        exit_code: of a command that ends by this error.
    """

    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 70


class ConfigError(EdgeAgentError):
    """The configuration is wrong. `problems` has a sentence for each problem, in file order."""

    exit_code = 78

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class DataError(EdgeAgentError):
    """A file of the user contains something that cannot be read."""

    exit_code = 1


class Unavailable(EdgeAgentError):
    """A service, device or library that the command needs is not available."""

    exit_code = 69


class BusError(EdgeAgentError, OSError):
    """A transfer failed. `errno` is the kernel's, or None if it gave none."""

    retryable = True
    exit_code = 69

    def __init__(self, message: str, *, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


class NoAcknowledge(BusError):
    """No device acknowledged its address: absent, asleep, still converting, or the address is wrong."""


class BusTimeout(BusError):
    """The bus or the device did not answer in time."""


class BusGone(BusError):
    """The device node does not exist, or the adapter behind it was unplugged."""


class BusDenied(BusError):
    """The device belongs to a kernel driver or another process, or may not be opened."""


class DriverError(EdgeAgentError):
    """A transfer succeeded and the reply is wrong."""

    exit_code = 69


class WrongChip(DriverError):
    """The chip that answers is not the configured one."""


class ChecksumMismatch(DriverError):
    """The checksum of a reply does not match: the reply was damaged."""

    retryable = True

    def __init__(self, *, expected: int, received: int, raw: bytes) -> None:
        self.expected, self.received, self.raw = expected, received, raw
        super().__init__(
            f"checksum {received:#04x} received where {expected:#04x} was expected over {raw.hex()}; "
            "look for long wires, missing pull-ups or a too fast bus"
        )


class NotReady(DriverError):
    """The conversion has not finished.

    Attributes:
        wait_ns: nanoseconds after which to ask again; None if the driver does not know.
    """

    retryable = True

    def __init__(self, message: str, *, wait_ns: int | None = None) -> None:
        super().__init__(message)
        self.wait_ns = wait_ns


class ChipWasReset(DriverError):
    """The chip lost its settings, so it has to be probed again; its calibration has to be read again too."""

    retryable = True


class BadReply(DriverError):
    """The reply breaks the chip's protocol, or reports an error of the chip."""

    retryable = True


class WireError(EdgeAgentError):
    """Bytes that are not a valid message, or were damaged."""

    exit_code = 1


class UnknownVersion(WireError):
    """The message has a format version that this decoder does not know."""


class UnknownReference(WireError):
    """The message refers to an announcement or to a batch that is missing.

    Attributes:
        end: offset of the first byte after the message; what follows can be read.
        announcement: id of the missing announcement; None: a batch is missing.
    """

    end = 0
    announcement: int | None = None


class Truncated(WireError):
    """The message ends too early."""


class Unfinished(Truncated):
    """The bytes end before the message does, and are valid so far."""
