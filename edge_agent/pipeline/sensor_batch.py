"""Open batch of one sensor. Only for one thread at a time.

Measurements wait here until their result is needed: for a prompt tap, to secure rows, or to seal the batch. Then they
run through the stages as blocks, because a call costs more time than the work on one reading. `SensorBatch._take` is
the path of every reading.
"""

from __future__ import annotations

from functools import reduce
from itertools import groupby
from operator import attrgetter, or_
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from edge_agent.clock import NS_PER_S
from edge_agent.pipeline.channel import Channel
from edge_agent.reading import Flag
from edge_agent.stages.derive import derive
from edge_agent.wire.batch import Group

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge_agent.pipeline.counts import Counts
    from edge_agent.pipeline.findings import Watch
    from edge_agent.pipeline.open_rows import OpenGroup
    from edge_agent.pipeline.settings import ChannelSettings
    from edge_agent.pipeline.taps import Taps
    from edge_agent.reading import Measurement

_NO_FLAG: Final = Flag(0)
_TOGETHER_NS: Final = NS_PER_S
"""Stamps that go back by less are repeated ones, moved before."""
_QUANTITIES: Final = attrgetter("quantities")


class SensorBatch:
    """Waiting measurements of a sensor, and the rows of its open batch.

    Args:
        name: id of the sensor.
        settings: settings of its channels.
        counts: counts to which its readings are added.
        time_step_ns: stamps are rounded down to multiples of this, nanoseconds; no two are the same.
        taps: receivers of the blocks of its channels.
        watches: watches of its channels, by quantity.

    Attributes:
        waiting: measurements that were not processed yet.
        channels: its channels, by quantity.
        times_ns: stamps of the rows of the open batch, nanoseconds since boot.
        secured: number of these rows that are in the store already.
        width: number of channels, which is the number of cells of a row.
    """

    def __init__(
        self,
        name: str,
        settings: Sequence[ChannelSettings],
        counts: Counts,
        time_step_ns: int,
        taps: Taps,
        watches: Mapping[str, Watch] = MappingProxyType({}),
    ) -> None:
        self.name = name
        self.waiting: list[Measurement] = []
        self.channels = {
            channel.quantity: Channel(
                name, channel, counts, watches.get(channel.quantity), taps.of_channel(name, channel.quantity)
            )
            for channel in settings
        }
        self.times_ns: list[int] = []
        self.secured = 0
        self.width = len(self.channels)
        self._derived = [(channel, channel.derived) for channel in self.channels.values() if channel.derived]
        self._time_step_ns = time_step_ns
        self._last_ns = -(1 << 63)

    def process(self) -> None:
        """Run the waiting measurements through the stages."""
        if self.waiting:
            waiting, self.waiting = self.waiting, []
            _, stamps_ns, names, values, flags = zip(*waiting)  # noqa: B905 all have five fields; strict takes longer
            if names.count(names[0]) == len(names):  # nearly always
                self._take(names[0], stamps_ns, values, flags)
                return
            for quantities, block in groupby(waiting, _QUANTITIES):
                _, stamps_ns, _, values, flags = zip(*block, strict=True)
                self._take(quantities, stamps_ns, values, flags)

    def _take(
        self,
        quantities: tuple[str, ...],
        stamps_ns: Sequence[int],
        values: Sequence[tuple[float | None, ...]],
        flags: Sequence[Flag],
    ) -> None:
        """Add measurements of the same quantities to the open batch: judge, derive, then take channel by channel."""
        step_ns = self._time_step_ns
        times_ns = [boot_ns // step_ns * step_ns for boot_ns in stamps_ns]
        if times_ns[0] <= self._last_ns or len(set(times_ns)) < len(times_ns):
            times_ns = set_apart(times_ns, self._last_ns, step_ns)
        self._last_ns = times_ns[-1]
        seen = flags if flags.count(_NO_FLAG) < len(flags) else None
        columns = zip(*values, strict=True)
        judged = {
            quantity: self.channels[quantity].judge(times_ns, measured, seen)
            for quantity, measured in zip(quantities, columns, strict=True)
        }
        for channel, derived in self._derived:
            if judged.keys() >= set(derived.inputs):
                inputs = [judged[quantity] for quantity in derived.inputs]
                # A derived reading has the flags of all its inputs.
                joined = [reduce(or_, row) for row in zip(*[flags for flags, _ in inputs], strict=True)]
                judged[channel.quantity] = channel.judge(
                    times_ns, derive(derived, [raws for _, raws in inputs]), joined
                )
        for quantity, channel in self.channels.items():
            if quantity not in judged:
                channel.pad(len(times_ns))
                continue
            channel.take(times_ns, *judged[quantity])
        self.times_ns += times_ns

    def unsecured(self) -> OpenGroup:
        """Return rows that are not in the store yet."""
        first = self.secured
        return self.name, self.times_ns[first:], [channel.rows(first) for channel in self.channels.values()]

    def mark_secured(self) -> None:
        """Note that all rows are in the store."""
        self.secured = len(self.times_ns)

    def sealed(self, *, describe: bool) -> Group:
        """Return the whole batch as it is sent, with features if `describe`, and start a new one."""
        for channel in self.channels.values():
            channel.smooth(self.times_ns)
        columns = [channel.reduced(self.times_ns, describe=describe) for channel in self.channels.values()]
        group = Group(self.name, self.times_ns, tuple([column for column in columns if column.cells_sent()]))
        self.times_ns, self.secured = [], 0
        for channel in self.channels.values():
            channel.clear()
        return group


def set_apart(times_ns: Sequence[int], last_ns: int, step_ns: int) -> list[int]:
    """Move stamps that repeat the one before to the next step: many databases keep one reading per stamp.

    A stamp far before the last one is left alone: it is of a recording that goes back.

    Args:
        times_ns: stamps, multiples of `step_ns`.
        last_ns: stamp before them.
        step_ns: least distance.
    """
    apart = []
    for time_ns in times_ns:
        last_ns = last_ns + step_ns if last_ns - _TOGETHER_NS < time_ns <= last_ns else time_ns
        apart.append(last_ns)
    return apart
