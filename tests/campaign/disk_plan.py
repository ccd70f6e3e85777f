"""Which calls of the disk fail, and at which the process ends."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from tests.campaign.disk import Call
from tests.campaign.nth import DISK

if TYPE_CHECKING:
    from tests.campaign.disk import Disk
    from tests.campaign.nth import Nth

WRITES: Final = frozenset({Call.WRITE, Call.SYNC, Call.TRUNCATE, Call.DELETE})


class DiskPlan:
    """Decides which calls of a disk fail. The plan of a moment replaces the one before.

    Attributes:
        failing: errno of every one of `calls`, for as long as it is set; ENOSPC concerns only growing files.
        calls: kinds of calls.
        ends: after how many calls the process ends, and how; None: it does not.
        once: after how many calls of a kind one fails, and how; None: none does.
        ended: how the process ended.
        failed: number of calls that failed.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.failing = 0
        self.calls = WRITES
        self.ends: tuple[int, str] | None = None
        self.once: tuple[int, frozenset[Call], int] | None = None
        self.ended = ""
        self.failed = 0
        self._nth: Nth | None = None
        disk.judge = self.judge

    def arm(self, nth: Nth) -> None:
        """Let the n-th call fail, whatever it is."""
        self._nth = nth

    def judge(self, call: Call, grows: bool) -> int:
        """See `Disk.judge`."""
        nth = self._nth
        if nth is not None and not nth.over:
            nth.calls += 1
            if nth.calls == nth.n:
                nth.struck = True
                self.failed += 1
                what = DISK[nth.how]
                if isinstance(what, int):
                    return what
                self.ended, self._disk.power = what, False
                return 0
        if self.ends is not None:
            calls, how = self.ends
            self.ends = (calls - 1, how) if calls else None
            if not calls:
                self.ended, self._disk.power = how, False
                return 0
        if self.once is not None and call in self.once[1]:
            calls, kinds, code = self.once
            self.once = (calls - 1, kinds, code) if calls else None
            if not calls:
                self.failed += 1
                return code
        if self.failing and call in self.calls and (grows or self.failing != errno.ENOSPC):
            self.failed += 1
            return self.failing
        return 0
