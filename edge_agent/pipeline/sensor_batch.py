"""What one sensor has measured since the last batch was sealed. Not for more than one thread at a time.

Measurements wait until somebody wants to see what became of them (a segment or batch is due, or a person looks) and
then go through the stages as one block: a call costs more than the work on one reading. `OpenBatch._process` is
the road that every reading takes, from channel to channel. Where many wait, `block.process_all` has gone part of it
for those with nothing odd about them, of all sensors at once: what it found is `Ready`, and the rest is the same.
"""

from __future__ import annotations

from functools import reduce
from itertools import groupby
from operator import attrgetter, or_
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from edge_agent.pipeline.channel import Channel
from edge_agent.reading import Flag, Measurement
from edge_agent.stages.derive import derive
from edge_agent.wire.batch import Column, Group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edge_agent.pipeline.channel import ChannelSettings, Counts, Ready
    from edge_agent.pipeline.findings import Watch
    from edge_agent.reading import Taken

_NO_FLAG: Final = Flag(0)
_Judged = tuple[list[Flag], list["float | None"]]
"""Flags and true values of a block."""
_NOTHING: Final[Mapping[str, Ready]] = MappingProxyType({})


class OpenBatch:
    """The open batch of one sensor: measurements that wait, the times of the others, and a column per channel.

    Args:
        name: id of the sensor.
        settings: of its channels.
        counts: where its readings are counted when they are processed.
        time_step_ns: stamps are rounded down to multiples of it.
        watches: of the channels that are watched, by quantity.
        show: takes sensor, quantity and block of each channel that somebody looks at.
        looked_at: their quantities.
    """

    def __init__(
        self,
        name: str,
        settings: Sequence[ChannelSettings],
        counts: Counts,
        time_step_ns: int,
        *,
        watches: Mapping[str, Watch] = MappingProxyType({}),
        show: Callable[[str, str, Taken], object] | None = None,
        looked_at: frozenset[str] = frozenset(),
    ) -> None:
        self.waiting: list[Measurement] = []
        self.channels = {each.quantity: Channel(each, counts, watches.get(each.quantity)) for each in settings}
        self.width = len(self.channels)
        self._derived = [(each, each.derived) for each in self.channels.values() if each.derived is not None]
        self.times_ns: list[int] = []
        self.in_segments = 0
        self.name = name
        self._time_step_ns = time_step_ns
        self._show = show
        self.looked_at = looked_at

    def process(self) -> None:
        """Take the measurements that wait through the stages."""
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            for quantities, block in groupby(waiting, attrgetter("quantities")):
                self._process(quantities, list(block))

    def process_ready(self, times_ns: list[int], ready: Mapping[str, Ready]) -> None:
        """Take the measurements that wait through the stages, all of the same quantities.

        Args:
            times_ns: their stamps, rounded down.
            ready: what was found beforehand, by quantity.
        """
        waiting, self.waiting = self.waiting, []
        self._take(times_ns, self._judge(times_ns, waiting[0].quantities, waiting, ready), ready)

    def _process(self, quantities: tuple[str, ...], block: list[Measurement]) -> None:
        """Take measurements, all of the same quantities, into the open batch."""
        step_ns = self._time_step_ns
        times_ns = [each.boot_ns // step_ns * step_ns for each in block]
        self._take(times_ns, self._judge(times_ns, quantities, block, _NOTHING), _NOTHING)

    def _judge(
        self, times_ns: list[int], quantities: tuple[str, ...], block: list[Measurement], ready: Mapping[str, Ready]
    ) -> dict[str, _Judged]:
        """Judge what is not ready, and whatever is derived."""
        judged: dict[str, _Judged] = {}
        if len(ready) < len(quantities):
            flags = [each.flags for each in block]
            odd = flags if any(flags) else None
            for quantity, measured in zip(quantities, zip(*[each.values for each in block], strict=True), strict=True):
                if quantity not in ready:
                    judged[quantity] = self.channels[quantity].judge(times_ns, measured, odd)
        if self._derived:
            given = {quantity: ([_NO_FLAG] * len(block), each.raws) for quantity, each in ready.items()} | judged
            for channel, derived in self._derived:
                if given.keys() >= set(derived.inputs):
                    inputs = [given[quantity] for quantity in derived.inputs]
                    # What is odd about any of them is odd about what follows from them.
                    odd = [reduce(or_, each) for each in zip(*[flags for flags, _ in inputs], strict=True)]
                    values = derive(derived, [raws for _, raws in inputs])
                    judged[channel.quantity] = given[channel.quantity] = channel.judge(times_ns, values, odd)
        return judged

    def _take(self, times_ns: list[int], judged: Mapping[str, _Judged], ready: Mapping[str, Ready]) -> None:
        """Take a block of all channels into the open batch."""
        for quantity, channel in self.channels.items():
            seen = self._show is not None and quantity in self.looked_at
            if quantity in ready:
                taken = channel.take_ready(times_ns, ready[quantity], seen=seen)
            elif quantity in judged:
                taken = channel.take(times_ns, *judged[quantity])
            else:
                channel.pad(len(times_ns))
                continue
            if seen and self._show is not None:
                self._show(self.name, quantity, taken)
        self.times_ns += times_ns

    def smooth(self) -> None:
        """Look at values again from the end of the batch, where that is wanted."""
        if self.times_ns:
            for each in self.channels.values():
                each.smooth(self.times_ns)

    def group(self, first: int) -> Group:
        """Processed rows from `first` on, without channels that have nothing to send."""
        return self._group(self.times_ns[first:], [each.column(first) for each in self.channels.values()])

    def sealed(self, *, describe: bool) -> Group:
        """The whole batch, as it is sent, with features or without."""
        columns = [each.reduced(self.times_ns, describe=describe) for each in self.channels.values()]
        return self._group(self.times_ns, columns)

    def _group(self, times_ns: list[int], columns: Iterable[Column]) -> Group:
        told = [column for column in columns if column.cells_sent()]
        return Group(self.name, times_ns, tuple(told))

    def clear(self) -> None:
        """Begin a new batch."""
        self.times_ns = []
        self.in_segments = 0
        for channel in self.channels.values():
            channel.clear()
