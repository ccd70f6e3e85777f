"""The exception tree. Imports nothing of ours.

EdgeAgentError
├── ConfigError          the configuration is wrong; lists every problem           exit 78
├── DataError            a file that the user gave holds something unreadable      exit 1
├── Unavailable          a needed service or device cannot be reached              exit 69
├── BusError (OSError)   bytes did not get through                                 exit 69, retryable
│   ├── NoAcknowledge    nobody answered at the address (absent, asleep, or busy)
│   ├── BusTimeout       the bus or the device did not answer in time
│   ├── BusGone          the device node is missing or the adapter was unplugged
│   └── BusDenied        somebody else owns it, or we may not open it
├── DriverError          bytes got through and make no sense
│   ├── WrongChip        another chip answers
│   ├── ChecksumMismatch the bytes were damaged on the way                         retryable
│   ├── NotReady         collected too early                                       retryable
│   ├── ChipWasReset     the chip lost its settings: a dip of its supply           retryable
│   └── BadReply         the reply breaks the protocol or reports an error         retryable
└── WireError            bytes that are not a message of ours
    ├── UnknownVersion
    ├── UnknownReference refers to an announcement or a batch that we do not have
    └── Truncated
        └── Unfinished   so far: what follows may complete it

An implausible value is not an exception: it is a reading with a flag.
"""

from __future__ import annotations

from typing import ClassVar


class EdgeAgentError(Exception):
    """One sentence for a person, with the fix where there is one.

    Attributes:
        retryable: whether the same call may succeed later without anyone acting.
        exit_code: what a command that ends because of it returns.
    """

    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 70


class ConfigError(EdgeAgentError):
    """The configuration is wrong. `problems` holds one sentence each, in file order."""

    exit_code = 78

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class DataError(EdgeAgentError):
    """A file that the user gave holds something that cannot be read."""

    exit_code = 1


class Unavailable(EdgeAgentError):
    """A service or device that the command cannot do without is not there."""

    exit_code = 69


class BusError(EdgeAgentError, OSError):
    """Bytes did not get through. `errno` is set where the kernel gave one."""

    retryable = True
    exit_code = 69

    def __init__(self, message: str, *, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


class NoAcknowledge(BusError):
    """Nobody acknowledged the address: absent, asleep, still converting, or the wrong address."""


class BusTimeout(BusError):
    """The bus or the device did not answer in time."""


class BusGone(BusError):
    """The device node does not exist, or the adapter behind it was unplugged."""


class BusDenied(BusError):
    """The device belongs to somebody else (kernel driver, other process) or may not be opened."""


class DriverError(EdgeAgentError):
    """Bytes got through and make no sense."""

    exit_code = 69


class WrongChip(DriverError):
    """Another chip than the configured one answers."""


class ChecksumMismatch(DriverError):
    """The bytes were damaged on the way."""

    retryable = True

    def __init__(self, *, expected: int, received: int, raw: bytes) -> None:
        self.expected, self.received, self.raw = expected, received, raw
        super().__init__(
            f"checksum {received:#04x} received where {expected:#04x} was expected over {raw.hex()}; "
            "look for long wires, missing pull-ups or a too fast bus"
        )


class NotReady(DriverError):
    """The conversion had not finished when it was collected.

    Attributes:
        wait_ns: when it is worth asking again; None where the driver cannot know.
    """

    retryable = True

    def __init__(self, message: str, *, wait_ns: int | None = None) -> None:
        super().__init__(message)
        self.wait_ns = wait_ns


class ChipWasReset(DriverError):
    """The chip lost its settings, and what it computes with may be stale: it has to be probed again."""

    retryable = True


class BadReply(DriverError):
    """The reply breaks the chip's protocol, or reports an error of its own."""

    retryable = True


class WireError(EdgeAgentError):
    """Bytes that are not a message of ours, or were damaged."""

    exit_code = 1


class UnknownVersion(WireError):
    """A message of a version that this decoder does not know."""


class UnknownReference(WireError):
    """The message refers to an announcement or to a batch that the receiver does not have.

    Attributes:
        end: offset of the first byte after the message: what follows can still be read.
        announcement: id of the announcement that is missing; None: it is a batch.
    """

    end = 0
    announcement: int | None = None


class Truncated(WireError):
    """A message that ends too early."""


class Unfinished(Truncated):
    """The bytes end before the message does, and are good so far."""
