"""Our own topics, for every format without topics of its own: `…/live`, `…/backlog`, `…/event`, retained `…/status`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.uplink.action import way_of
from edge_agent.uplink.dialect import Notice, Occasion, Publication
from edge_agent.uplink.mqtt import Will

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.reading import Lane, Record
    from edge_agent.uplink.command import Command
    from edge_agent.uplink.dialects.announcer import Announcer
    from edge_agent.wire.formats.base import Rewrite


class OwnTopics:
    """Records by lane, and the status as JSON.

    Args:
        prefix: first levels of every topic.
        encode: the record as one of our own messages.
        rewrite: such a message in the format that is sent.
        status: the JSON of the retained status, given its state: `online`, `stopped`, `offline`.
        announcer: chooses the form of our own messages; None: each stands alone.
    """

    command_topic = None

    def __init__(
        self,
        prefix: str,
        *,
        encode: Callable[[Record], bytes],
        rewrite: Rewrite,
        status: Callable[[str], bytes],
        announcer: Announcer | None = None,
    ) -> None:
        self._prefix = prefix
        self._encode = encode
        self._rewrite = rewrite
        self._status = status
        self._announcer = announcer

    def will(self) -> Will:
        """That we are offline."""
        return Will(self._status_topic, self._status("offline"))

    def notices(self, occasion: Occasion) -> Sequence[Notice]:
        """The status, retained."""
        if self._announcer is not None and occasion is Occasion.BIRTH:
            self._announcer.begin()
        elif self._announcer is not None and occasion is Occasion.HEARTBEAT:
            self._announcer.refresh()
        state = "stopped" if occasion is Occasion.FAREWELL else "online"
        return (Notice(self._status_topic, self._status(state), retain=True),)

    def publication(self, lane: Lane, record: Record) -> Publication:
        """The record in the chosen format. Its identity travels beside it, so that a bridge drops duplicates."""
        written = self._rewrite(self._encode(record))
        topic = f"{self._prefix}/{written.topic or way_of(lane, record).value}"
        payload = written.payload
        if self._announcer is not None:
            payload = self._announcer.message(topic, record, payload)
        identity = (("epoch", str(record.epoch)), ("seq", str(record.seq)))
        properties = (*identity, ("n", str(record.readings)), ("v", written.version))
        return Publication(topic, payload, written.content_type, properties)

    def answered(self, record: Record, *, taken: bool) -> None:
        """Later messages may go by what this one taught."""
        if self._announcer is not None:
            self._announcer.answered(record, taken=taken)

    def heard(self, payload: bytes) -> Sequence[Command]:  # noqa: ARG002 there are no commands
        """Nothing."""
        return ()

    @property
    def _status_topic(self) -> str:
        return f"{self._prefix}/status"
