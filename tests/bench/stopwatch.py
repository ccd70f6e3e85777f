"""Where the time of a run goes: functions of the program are timed as it calls them."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OVERHEAD_CALLS: Final = 10_000


class Stopwatch:
    """Time spent in each stage, without that of stages which it calls.

    Attributes:
        spent_ns: by stage, less what the watch itself takes.
    """

    def __init__(self) -> None:
        self.spent_ns: Counter[str] = Counter()
        self._inner_ns: list[int] = []
        self._undo: list[tuple[object, str, object]] = []
        self._own_ns = 0
        self.watch(self, "_nothing", "")
        for _ in range(OVERHEAD_CALLS):
            self._nothing()
        self._own_ns = self.spent_ns.pop("") // OVERHEAD_CALLS

    def watch(self, owner: object, name: str, stage: str) -> None:
        """Time a function or method from now on."""
        function: Callable[..., Any] = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            self._inner_ns.append(0)
            before_ns = time.perf_counter_ns()
            try:
                return function(*args, **kwargs)
            finally:
                took_ns = time.perf_counter_ns() - before_ns
                self.spent_ns[stage] += took_ns - self._inner_ns.pop() - self._own_ns
                if self._inner_ns:
                    self._inner_ns[-1] += took_ns + self._own_ns

        self._undo.append((owner, name, vars(owner).get(name, function)))
        setattr(owner, name, timed)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Take all watches off afterwards."""
        try:
            yield
        finally:
            for owner, name, function in reversed(self._undo):
                setattr(owner, name, function)

    def _nothing(self) -> None:
        """What costs nothing but the watch."""
