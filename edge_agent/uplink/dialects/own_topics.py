"""Topics for all formats without topics of their own: `…/live`, `…/backlog`, `…/event`, retained `…/status`."""

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
    """Records on the topic of their lane, and the status as retained JSON.

    Args:
        prefix: first levels of every topic.
        encode: encodes a record in edge-agent's own format.
        rewrite: converts such a message to the format that is sent.
        status: makes the JSON of the status; its argument is the state `online`, `stopped` or `offline`.
        announcer: chooses the form of messages in the own format; None: every one is self-contained.
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
        """The status `offline`, retained."""
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
        """The record in the configured format. User properties hold its identity, so that a bridge can deduplicate."""
        written = self._rewrite(self._encode(record))
        topic = f"{self._prefix}/{written.topic or way_of(lane, record).value}"
        payload = written.payload
        if self._announcer is not None:
            payload = self._announcer.message(topic, record, payload)
        identity = (("epoch", str(record.epoch)), ("seq", str(record.seq)))
        properties = (*identity, ("n", str(record.readings)), ("v", written.version))
        return Publication(topic, payload, written.content_type, properties)

    def answered(self, record: Record, *, taken: bool) -> None:
        """Pass the result to the announcer."""
        if self._announcer is not None:
            self._announcer.answered(record, taken=taken)

    def heard(self, payload: bytes) -> Sequence[Command]:  # noqa: ARG002 there are no commands
        """No commands."""
        return ()

    @property
    def _status_topic(self) -> str:
        return f"{self._prefix}/status"
