"""The stages of all sensors at once, over blocks of (time × channel).

Where many readings of many channels wait, a numpy call for all of them costs less than a loop over each. Sensors of
which equally many measurements wait are put side by side, and those channels are taken together that have nothing
odd about them: every reading there, in range and later than the one before, no change that asks for a rate, a
calibration that is a line. Everything else goes the road of `OpenBatch` itself, which is the reference: what is done
here agrees with it to 1e-9, and where rounding could tell even that, the reference decides.
"""

from __future__ import annotations

from array import array
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.pipeline.channel import Ready
from edge_agent.pipeline.rounding import WHOLE
from edge_agent.reading import Flag
from edge_agent.stages.filters.fleet import sail
from edge_agent.wire.floats import Decimals, Scaled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from edge_agent.pipeline.channel import Channel
    from edge_agent.pipeline.sensor_batch import OpenBatch
    from edge_agent.stages.filters.auto import Odd

    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

LEAST_ROWS: Final = 8
LEAST_CELLS: Final = 600
"""Fewer readings are taken one by one sooner."""
SLAB_CELLS: Final = 3000
"""With all that is computed from so many readings, they stay in the cache of a core, and memory does not grow."""
_NO_FLAG: Final = Flag(0)
_LONG_AGO_NS: Final = -(1 << 62)
_EXACT_END: Final = float(1 << 53)
# Estimates so near to the middle between two multiples of the resolution, as a share of it, are left to the reference.
_TIE: Final = 0.5 - 1e-6


class _Block(NamedTuple):
    """What waits of one sensor.

    Attributes:
        times_ns: of each row.
        channels: those that may go together.
        readings: (rows × those channels).
        ready: what was found, by quantity.
    """

    name: str
    times_ns: list[int]
    channels: list[Channel]
    readings: Floats
    ready: dict[str, Ready]


def process_all(batches: Sequence[OpenBatch], time_step_ns: int) -> None:
    """Take what waits in all of them through the stages, as `OpenBatch.process` of each in turn would."""
    slabs = {batch.name: slab for slab in _slabs(batches) for batch in slab}
    blocks: dict[str, _Block] = {}
    for batch in batches:
        # Only now, so that what was found is still in the cache when it is used; once for all of a slab.
        slab = slabs.get(batch.name, [])
        if slab:
            found = [block for block in map(_block_of, slab) if block is not None]
            slab.clear()
            blocks = {block.name: block for block in found} | blocks
            if found:
                _prepare(found, time_step_ns)
        block = blocks.pop(batch.name, None)
        if block is None:
            batch.process()
        else:
            batch.process_ready(block.times_ns, block.ready)


def _slabs(batches: Sequence[OpenBatch]) -> list[list[OpenBatch]]:
    """Put together what goes together: equally many rows, and not more than the cache takes."""
    alike: dict[int, list[OpenBatch]] = {}
    for batch in batches:
        alike.setdefault(len(batch.waiting), []).append(batch)
    slabs = []
    for rows, together in alike.items():
        widest = max(batch.width for batch in together)
        if rows >= LEAST_ROWS and rows * widest * len(together) >= LEAST_CELLS:
            step = max(1, SLAB_CELLS // (rows * widest))
            slabs += [together[first : first + step] for first in range(0, len(together), step)]
    return slabs


def _block_of(batch: OpenBatch) -> _Block | None:
    """What waits of a sensor, if all of it has numbers and no flags."""
    waiting, rows = batch.waiting, len(batch.waiting)
    quantities = waiting[0].quantities
    if [each.quantities for each in waiting].count(quantities) < rows:
        return None
    if [each.flags for each in waiting].count(_NO_FLAG) < rows:
        return None
    channels = [batch.channels[quantity] for quantity in quantities]
    try:
        numbers = array("d", chain.from_iterable([each.values for each in waiting]))  # type: ignore[type-var] # None raises
    except TypeError:  # None is rare
        return None
    if len(numbers) != rows * len(channels):
        return None
    readings = np.frombuffer(numbers).reshape(rows, -1)
    chosen = [place for place, channel in enumerate(channels) if channel.is_linear]
    if len(chosen) < len(channels):
        channels, readings = [channels[place] for place in chosen], readings[:, chosen]
    return _Block(batch.name, [each.boot_ns for each in waiting], channels, readings, {}) if chosen else None


def _prepare(blocks: Sequence[_Block], time_step_ns: int) -> None:
    """Find what comes of blocks of equally many rows, as far as it can be found for many at once."""
    numbers = array("q", chain.from_iterable([block.times_ns for block in blocks]))
    stamps = np.array(numbers).reshape(len(blocks), -1)
    stamps -= stamps % time_step_ns
    for block, times_ns in zip(blocks, stamps.tolist(), strict=True):
        block.times_ns[:] = times_ns
    channels = [channel for block in blocks for channel in block.channels]
    owners = np.repeat(np.arange(len(blocks)), [len(block.channels) for block in blocks])
    readings = np.concatenate([block.readings for block in blocks], axis=1)
    with np.errstate(all="ignore"):  # what is not finite is found afterwards
        plain = _are_plain(channels, stamps, owners, readings)
        raws = _calibrated(channels, readings)
        plain &= np.isfinite(raws).all(axis=0)
        (chosen,) = np.nonzero(plain)
        if len(chosen) < len(channels):
            readings, raws, owners = readings[:, chosen], raws[:, chosen], owners[chosen]
            channels = [channels[place] for place in chosen.tolist()]
        if channels:
            made = _ready(channels, readings[-1], raws, _filtered(channels, stamps[owners].T, raws))
            for owner, channel, each in zip(owners.tolist(), channels, made, strict=True):
                if each is not None:
                    blocks[owner].ready[channel.quantity] = each


def _are_plain(channels: Sequence[Channel], stamps: Ints, owners: Ints, readings: Floats) -> Bools:
    """`Validator._is_plain` of each."""
    last_ns = [channel.validator.last_ns for channel in channels]
    before_ns = np.array([_LONG_AGO_NS if each is None else each for each in last_ns])
    low, high, previous, step = np.array([channel.validator.bounds() for channel in channels]).T
    ascending: Bools = np.all(stamps[:, 1:] > stamps[:, :-1], axis=1)
    plain: Bools = ascending[owners] & (stamps[owners, 0] > before_ns)
    plain &= (readings >= low).all(axis=0) & (readings <= high).all(axis=0)
    if np.isfinite(step).any():
        plain &= np.abs(np.diff(readings, axis=0, prepend=previous[None])).max(axis=0) <= step
    return plain


def _calibrated(channels: Sequence[Channel], readings: Floats) -> Floats:
    lines = [channel.line for channel in channels]
    if lines.count((1.0, 0.0)) == len(lines):
        return readings
    gain, offset = np.array(lines).T
    return np.where((gain == 1.0) & (offset == 0.0), readings, gain * readings + offset)


class _Filtered(NamedTuple):
    """Estimates of channels (rows × channels), of which each has so many as are `done`; the rest goes to `Ready`."""

    values: Floats
    innovations: Floats
    done: list[int]
    ends: list[Sequence[float]]
    odd: list[Sequence[Odd]]
    sigmas: list[Callable[[], list[float | None]]]


def _filtered(channels: Sequence[Channel], stamps: Ints, raws: Floats) -> _Filtered:
    """Filter as far as that goes for many at once."""
    count, autos = len(channels), [channel.auto for channel in channels]
    calm = [(place, auto) for place, auto in enumerate(autos) if auto is not None and auto.is_calm()]
    done = [len(raws) if auto is None else 0 for auto in autos]
    found = _Filtered(raws, raws, done, [()] * count, [()] * count, [list] * count)
    if not calm:
        return found
    places = [place for place, _ in calm]
    if len(calm) < count:
        stamps, readings = stamps[:, places], raws[:, places]
    else:
        readings = raws
    steps_ns = np.empty_like(stamps)
    steps_ns[0] = stamps[0] - np.array([auto.at_ns for _, auto in calm])
    np.subtract(stamps[1:], stamps[:-1], out=steps_ns[1:])
    sailed = sail([auto for _, auto in calm], steps_ns, readings)
    odd: list[Sequence[Odd]] = [sailed.odd.get(index, ()) for index in range(len(calm))]
    sigmas = [partial(sailed.sigmas_of, index) for index in range(len(calm))]
    if len(calm) == count:
        return _Filtered(sailed.values, sailed.innovations, sailed.done, list(sailed.ends), odd, list(sigmas))
    found = found._replace(values=raws.copy(), innovations=raws.copy())
    found.values[:, places], found.innovations[:, places] = sailed.values, sailed.innovations
    for index, place in enumerate(places):
        found.done[place], found.ends[place] = sailed.done[index], sailed.ends[index]
        found.odd[place], found.sigmas[place] = odd[index], sigmas[index]
    return found


def _ready(channels: Sequence[Channel], last: Floats, raws: Floats, filtered: _Filtered) -> list[Ready | None]:
    """Round, and put together what was found of each channel; None where rounding is in doubt."""
    both = np.empty((2, *raws.shape))
    both[0], both[1] = filtered.values, raws
    per_unit, unit = np.array([channel.grid for channel in channels]).T.reshape(2, 2, 1, -1)
    scaled = both * per_unit / unit
    whole = scaled + WHOLE - WHOLE
    shown = whole / per_unit * unit
    unrounded = [
        [channel.resolution is None for channel in channels],
        [channel.raw_resolution is None for channel in channels],
    ]
    if True in unrounded[0] or True in unrounded[1]:
        shown = np.where(np.array(unrounded)[:, None], both, shown)
    near = np.abs(scaled[0] - whole[0]) > _TIE
    near &= (np.arange(len(raws))[:, None] < np.array(filtered.done)) & ~np.array(unrounded[0])
    values, shown_raws = shown.transpose(0, 2, 1).tolist()
    alike = (shown[0] == shown[1]).all(axis=0).tolist()
    decimals = _decimals(channels, filtered.done, whole, alike)
    innovations = filtered.innovations.T.tolist()
    columns = (last.tolist(), raws.T.tolist(), shown_raws, values, innovations, filtered.done, decimals)
    made: list[Ready | None] = list(map(Ready, *columns, filtered.ends, filtered.odd, filtered.sigmas))
    for place in np.nonzero(near.any(axis=0))[0].tolist():
        if channels[place].auto is not None:  # else it is the same number that the reference rounds
            made[place] = None
    return made


def _decimals(
    channels: Sequence[Channel], done: Sequence[int], whole: Floats, alike: Sequence[bool]
) -> list[Decimals | None]:
    """What the encoder wants to know of channels of which all is done; `whole` are multiples of the resolutions."""
    rows = whole.shape[1]
    if float(np.abs(whole).max()) >= _EXACT_END:
        return [None] * len(channels)
    values, raws = whole.transpose(0, 2, 1).astype(np.int64, order="C")
    return [
        None
        if channel.decimals is None or channel.raw_decimals is None or gone < rows
        else Decimals(Scaled(channel.decimals, value), Scaled(channel.raw_decimals, raw), same)
        for channel, gone, value, raw, same in zip(channels, done, values, raws, alike, strict=True)
    ]
