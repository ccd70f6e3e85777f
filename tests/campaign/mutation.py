"""Rules of safety, each broken by one small change, and what must notice it.

A mutation whose old text is not there any more is an error: the rule has moved, and so must the mutation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CHECKS: Final[dict[str, tuple[str, ...]]] = {
    "campaign": ("python", "tests/campaign/run.py", "--hours", "100", "--stop"),
    "nth": ("pytest", "-x", "-q", "-n", "0", "tests/campaign/test_nth_call.py"),
    "directed": ("pytest", "-x", "-q", "-n", "0", "tests/campaign/test_directed.py"),
    "disk": ("pytest", "-x", "-q", "-n", "0", "tests/campaign/test_disk.py"),
    "outbox": ("pytest", "-x", "-q", "-n", "0", "tests/outbox"),
    "sampling": ("pytest", "-x", "-q", "-n", "0", "tests/sampling"),
    "pipeline": ("pytest", "-x", "-q", "-n", "0", "tests/pipeline"),
    "agent": ("pytest", "-x", "-q", "-n", "0", "tests/agent"),
    "session": ("pytest", "-x", "-q", "-n", "0", "tests/uplink/test_session.py", "tests/uplink/test_session_poison.py"),
}


@dataclass(frozen=True, slots=True)
class Mutation:
    """One broken rule.

    Attributes:
        name: what is broken.
        file: below `edge_agent/`.
        old, new: text, which stands there once, and what replaces it.
        check: key of CHECKS: what must fail.
    """

    name: str
    file: str
    old: str
    new: str
    check: str = "campaign"
