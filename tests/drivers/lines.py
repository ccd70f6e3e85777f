"""A port whose bytes the test gives: to whoever listens, and as replies to requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Ear:
    """What a listener is given, by the test."""

    waiting: list[bytes | Exception] = field(default_factory=list)
    lost: int = 0

    def take(self) -> bytes:
        """As Listener: one item at a time."""
        if not self.waiting:
            return b""
        item = self.waiting.pop(0)
        if isinstance(item, Exception):
            raise item
        return item


@dataclass
class TextPort:
    """Implements SerialPort."""

    ear: Ear = field(default_factory=Ear)
    answers: list[bytes] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)

    def exchange(
        self,
        request: bytes,
        *,
        reply_length: int,
        timeout_s: float,
        complete: Callable[[bytes], bool] | None = None,
    ) -> bytes:
        """As SerialPort; what comes is cut where it is complete, as a port that reads byte by byte would."""
        assert timeout_s > 0
        self.requests.append(request)
        answer = self.answers.pop(0)[:reply_length]
        if complete is not None:
            for end in range(1, len(answer)):
                if complete(answer[:end]):
                    return answer[:end]
        return answer

    def listen(self) -> Ear:
        """As SerialPort."""
        return self.ear

    def close(self) -> None:
        """As SerialPort."""

    def say(self, *items: bytes | Exception) -> None:
        """Let these come, one at each take."""
        self.ear.waiting += items
