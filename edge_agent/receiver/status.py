"""What a node says of itself on its status topic, read from JSON of any origin. Pure."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from edge_agent.errors import WireError
from edge_agent.wire.announcement import announcement_in_text
from edge_agent.wire.limits import MAX_TEXT_BYTES

if TYPE_CHECKING:
    from edge_agent.wire.announcement import Announcement

MOST_STATUS_BYTES: Final = 1 << 19
MOST_LISTED: Final = 4096
"""Epochs of a status that are read."""
_COUNT_END: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class ListedEpoch:
    """An epoch of which a node still holds records.

    Attributes:
        epoch, boot: as in an envelope.
        upto: highest seq that it has committed.
    """

    epoch: int
    boot: int
    upto: int


@dataclass(frozen=True, slots=True)
class Status:
    """A status message.

    Attributes:
        node: id of the gateway.
        state: `online`, or `stopped` and `offline` of one that is gone.
        epoch: the present one; None: not said.
        epochs: all that the node holds records of, oldest first, the present one last; None: the node does not list
            them, so nothing follows from an epoch that is not there.
        volatile_upto: highest seq of the present epoch, which is in memory only; None: it is not.
        announcement: as in a message.
    """

    node: str
    state: str
    epoch: int | None = None
    epochs: tuple[ListedEpoch, ...] | None = None
    volatile_upto: int | None = None
    announcement: Announcement | None = None


def parse_status(payload: bytes) -> Status:
    """Read a status message.

    Raises:
        WireError: it is something else, or too large.
    """
    if len(payload) > MOST_STATUS_BYTES:
        raise WireError(f"a status holds at most {MOST_STATUS_BYTES} bytes, not {len(payload)}")
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError):
        raise WireError("a status is not JSON") from None
    if not isinstance(fields, dict):
        raise WireError("a status is not a JSON object")
    announcement = None
    with suppress(WireError):  # a broken one is asked for when it is needed
        announcement = announcement_in_text(fields.get("announcement"))
    epoch = fields.get("epoch")
    listed = fields.get("epochs")
    volatile = fields.get("volatile")
    return Status(
        _text(fields.get("node"), "node"),
        _text(fields.get("state"), "state"),
        None if epoch is None else _count(epoch, "epoch"),
        None if listed is None else _listed(listed),
        None if not isinstance(volatile, dict) else _count(volatile.get("upto"), "volatile.upto"),
        announcement,
    )


def _listed(field: Any) -> tuple[ListedEpoch, ...]:
    if not isinstance(field, list) or len(field) > MOST_LISTED:
        raise WireError(f"epochs of a status are not an array of at most {MOST_LISTED}")
    found: list[ListedEpoch] = []
    for entry in field:
        if not isinstance(entry, dict):
            raise WireError("an epoch of a status is not an object")
        found.append(ListedEpoch(*(_count(entry.get(key), key) for key in ("epoch", "boot", "upto"))))
    return tuple(found)


def _count(field: Any, what: str) -> int:
    if type(field) is not int or not 0 <= field < _COUNT_END:
        raise WireError(f"{what} of a status is not an integer from 0 to {_COUNT_END - 1}")
    return field


def _text(field: Any, what: str) -> str:
    try:
        if isinstance(field, str) and len(field.encode()) <= MAX_TEXT_BYTES:
            return field
    except UnicodeEncodeError:  # half a surrogate pair
        pass
    raise WireError(f"{what} of a status is not a text of at most {MAX_TEXT_BYTES} bytes")
