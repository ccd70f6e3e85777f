"""A simulated broker with one subscriber. The campaign sets its faults."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_agent.runtime import Inbox
from tests.campaign.link import SimulatedLink
from tests.campaign.network import HALF_OPEN_NS, HOPELESS, Network, Sent

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from edge_agent.clock import Clock, SimulatedClock
    from tests.campaign.history import History


@dataclass(order=True, slots=True)
class _Due:
    at_ns: int
    number: int
    act: Callable[[], object] = field(compare=False)


class SimulatedBroker:
    """A worker on the simulated timeline, put before all others.

    Args:
        clock: of the life in which it is used.
        history: is told what was accepted and delivered.
        elapsed_ns: the campaign's own time, which no boot resets.
    """

    name = "broker"

    def __init__(self, clock: Clock, history: History, elapsed_ns: Callable[[], int]) -> None:
        self.inbox: Inbox[Any] = Inbox(1 << 20)
        self.network = Network()
        self.links: list[SimulatedLink] = []
        self.elapsed_ns = elapsed_ns
        self.kept: list[Sent] = []
        """Accepted, and not delivered to the subscriber yet."""
        self._clock = clock
        self._history = history
        self._dues: list[_Due] = []
        self._number = 0
        self.calls = 0
        self.fail_call: Callable[[str], object] = lambda _call: None

    def use(self, clock: Clock) -> None:
        """Go on in the next life: nobody hears of earlier links."""
        self._clock = clock
        for link in self.links:
            link.dead = True
        self.links.clear()
        self._dues.clear()
        self.inbox.take_all()

    def link(self, *arguments: Any) -> SimulatedLink:
        """The factory of links for the agent."""
        return SimulatedLink(self, *arguments)

    def now_ns(self) -> int:
        """Time of the present life."""
        return self._clock.now_ns()

    def after(self, delay_ns: int, act: Callable[[], object]) -> None:
        """Do something later."""
        self._number += 1
        heapq.heappush(self._dues, _Due(self._clock.now_ns() + delay_ns, self._number, act))
        self.inbox.put(None)

    @property
    def due_ns(self) -> int | None:
        """When something is to be done."""
        return self._dues[0].at_ns if self._dues else None

    def step(self) -> int | None:
        """Do what is due."""
        self.inbox.take_all()
        while self._dues and self._dues[0].at_ns <= self._clock.now_ns():
            heapq.heappop(self._dues).act()
        return self.due_ns

    # ---- faults

    def break_links(self, reason: str) -> None:
        """End every connection at once."""
        for link in list(self.links):
            link.down(reason)

    def deafen(self) -> None:
        """Let every connection be half open: what is sent vanishes, and nothing comes."""
        for link in list(self.links):
            if not link.mute:
                link.mute = True
                self.after(HALF_OPEN_NS, link.unanswered)

    def stop_answering(self) -> None:
        """Acknowledge nothing more on the present connections, as a broker whose disk is full."""
        for link in self.links:
            link.answers = False

    def wipe(self) -> None:
        """Lose what was accepted and not delivered."""
        for sent in self.kept:
            self._history.lost_by_broker(sent)
        self.kept.clear()

    def read(self) -> None:
        """Deliver what was kept for the subscriber."""
        kept, self.kept = self.kept, []
        for sent in kept:
            self._history.deliver(sent)

    # ---- messages

    def take(self, link: SimulatedLink, mid: int, sent: Sent) -> None:
        """A PUBLISH with QoS 1 arrives."""
        if link.dead or link.mute:
            return
        network = self.network
        code = network.code
        self.after(network.rtt_ns // 2, lambda: link.answer(mid, code))
        if code == 0:
            self._history.accept(sent)
            self.keep(sent)
        elif code in HOPELESS:
            self._history.refuse(sent)

    def said(self, payload: bytes) -> None:
        """The agent publishes a status, whether it arrives or not."""
        self._history.said(payload)

    def keep(self, sent: Sent) -> None:
        """Pass a message on to the subscriber, now or when it is there."""
        if self.network.reader:
            self._history.deliver(sent)
        else:
            self.kept.append(sent)


class NetworkClock:
    """Lets simulated time pass while the agent drains. Implements `Clock`."""

    def __init__(self, clock: SimulatedClock, broker: SimulatedBroker) -> None:
        self._clock = clock
        self._broker = broker
        self.now_ns, self.anchor, self.boot_id = clock.now_ns, clock.anchor, clock.boot_id

    def wait(self, event: threading.Event, deadline_ns: int | None) -> None:
        """Let the broker work until it has an answer or the deadline has passed."""
        while not event.is_set():
            due_ns = self._broker.due_ns
            if due_ns is None and deadline_ns is None:
                return
            stops = [time_ns for time_ns in (due_ns, deadline_ns) if time_ns is not None]
            self._clock.advance_to(min(stops))
            self._broker.step()
            if deadline_ns is not None and self._clock.now_ns() >= deadline_ns:
                return
