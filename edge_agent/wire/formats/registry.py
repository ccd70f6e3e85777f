"""Formats by their name in the configuration: those of this package, and those of others by entry point.

A package offers a `Format` by an entry point of any name in the group `edge_agent.formats`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from edge_agent.wire.decode import decode_message
from edge_agent.wire.formats.base import Rewrite, Rewritten

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.wire.batch import Message

log = logging.getLogger(__name__)

ENTRY_POINT_GROUP: Final = "edge_agent.formats"
_MOST_CELLS: Final = 4000
"""So that a batch of the most verbose format stays below 1 MiB, which is all that some brokers take."""


@dataclass(frozen=True, slots=True)
class Format:
    """How records are written when they leave.

    Attributes:
        name: as in `[uplink] format`.
        load: returns the function that rewrites one of our messages, importing what it needs; None for a format with
            topics of its own, which a dialect writes.
        max_cells: number of readings at which a batch is sealed early, so that its message stays small; None: no limit.
        may_refer: whether a batch may refer to an announcement instead of naming its channels.
        is_text: whether payloads can be shown as they are.
    """

    name: str
    load: Callable[[], Rewrite] | None
    max_cells: int | None = _MOST_CELLS
    may_refer: bool = False
    is_text: bool = True


def find_format(name: str) -> Format | None:
    """The format of that name; None if there is none."""
    return _OURS.get(name) or _of_other_packages().get(name)


def known_formats() -> tuple[str, ...]:
    """Names of all formats, ours first."""
    return tuple(dict.fromkeys((*_OURS, *_of_other_packages())))


def rewriter(name: str) -> Rewrite:
    """The function that rewrites our messages in a format that has no topics of its own.

    Raises:
        KeyError: there is no such format.
    """
    form = find_format(name)
    if form is None or form.load is None:
        raise KeyError(name)
    return form.load()


def _module(name: str) -> Rewrite:
    """The function `rewrite` of a module of this folder, for encoded messages."""
    rewrite: Callable[[Message], Rewritten] = import_module(f"{__package__}.{name}").rewrite
    return lambda message: rewrite(decode_message(message))


def _unchanged(message: bytes) -> Rewritten:
    version = str(message[0])
    return Rewritten(message, f"application/vnd.edge-agent.batch;v={version}", version)


_ALL: Final = (
    Format("batch", lambda: _unchanged, max_cells=None, may_refer=True, is_text=False),
    Format("json", partial(_module, "json_document")),
    Format("influx", partial(_module, "influx_line")),
    Format("senml", partial(_module, "senml_pack")),
    Format("sparkplug-b", None, is_text=False),
)
_OURS: Final = {form.name: form for form in _ALL}


@cache
def _of_other_packages() -> dict[str, Format]:
    """Formats of other packages by their names. One that cannot be loaded is logged, and costs no other."""
    found = {}
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            form = entry_point.load()
        except Exception as error:  # noqa: BLE001 whatever the code of another package does when it is loaded
            log.warning("the format %s of another package cannot be loaded: %r", entry_point.value, error)
            continue
        if isinstance(form, Format):
            found[form.name] = form
        else:
            log.warning("the format %s of another package is no Format", entry_point.value)
    return found
