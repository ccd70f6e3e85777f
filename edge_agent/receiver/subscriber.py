"""MQTT connection of a receiver, by paho.

A door of its own beside `uplink.mqtt`: a receiver has a session that outlives the connection, subscribes, and
acknowledges a message to the broker only after it is durable. A gateway does none of that.
Callbacks do nothing but `emit`. Every connection has its own client and ends with exactly one `Down`.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_agent.receiver.link import Arrived, Down, LinkEvent, Up
from edge_agent.wire.limits import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paho.mqtt.reasoncodes import ReasonCode

    from edge_agent.uplink.mqtt import Broker

log = logging.getLogger(__name__)

RECEIVE_MAXIMUM: Final = 64
"""Messages that the broker may send before one is acknowledged. With MAX_MESSAGE_BYTES it bounds the memory that a
hostile sender can take."""
_SESSION_S: Final = 0xFFFF_FFFF
"""The session never expires: what comes while the receiver is away waits at the broker."""
_TOPIC_ROOM: Final = 65_536 + 1024
_UNSUPPORTED_VERSION: Final = 0x84
_FAILED: Final = 0x80
_CONNECT_TIMEOUT_S: Final = 5.0


class Subscriber:
    """One connection.

    Args:
        broker: address and identity.
        topics: filters to subscribe to.
        version: 5, or 4 for MQTT 3.1.1.
        emit: called with each event, from the thread of the connection.
    """

    def __init__(
        self, broker: Broker, topics: Sequence[str], version: int, emit: Callable[[LinkEvent], object]
    ) -> None:
        self._broker = broker
        self._topics = topics
        self._is_v5 = version == paho.MQTTv5
        self._emit = emit
        self._down = Down("the broker closed the connection without a word", wrong_version=True)
        self._is_subscribed = False
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            protocol=paho.MQTTv5 if self._is_v5 else paho.MQTTv311,
            clean_session=None if self._is_v5 else False,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = _CONNECT_TIMEOUT_S
        client.max_queued_messages_set(0)
        client.max_inflight_messages_set(65_535)
        if broker.tls is not None:
            client.tls_set_context(broker.tls)
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_socket_open = _set_up_tcp
        client.on_socket_register_write = _ignore_register_write
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def open(self) -> None:
        """Start to connect."""
        self._thread.start()

    def acknowledge(self, token: int) -> None:
        """Tell the broker that a message is durable here."""
        self._client.ack(token, 1)

    def publish(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish with QoS 1."""
        self._client.publish(topic, payload, qos=1, retain=retain)

    def close(self) -> None:
        """Disconnect, and wait at most a second for the thread."""
        self._client.disconnect()
        if self._thread.ident is not None:
            self._thread.join(1.0)

    def _run(self) -> None:
        client, broker = self._client, self._broker
        try:
            if self._is_v5:
                properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
                properties.SessionExpiryInterval = _SESSION_S
                properties.ReceiveMaximum = RECEIVE_MAXIMUM
                properties.MaximumPacketSize = MAX_MESSAGE_BYTES + _TOPIC_ROOM
                client.connect(broker.host, broker.port, broker.keepalive_s, clean_start=False, properties=properties)
            else:
                client.connect(broker.host, broker.port, broker.keepalive_s)
            while client.loop() is MQTTErrorCode.MQTT_ERR_SUCCESS:
                pass
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._down = Down(f"{broker.host}:{broker.port}: {reason}")
        except Exception as error:
            log.exception("the MQTT library failed; the connection starts anew")
            self._down = Down(f"internal error: {error}")
        finally:
            client.on_connect = client.on_disconnect = client.on_subscribe = client.on_message = None
            with contextlib.suppress(OSError):
                client.disconnect()
            self._emit(self._down)

    def _on_connect(self, _client: Any, _data: Any, flags: Any, code: ReasonCode, _properties: Any) -> None:
        if code.is_failure:
            wrong_version = code.value in {_UNSUPPORTED_VERSION, 1}
            self._down = Down(f"the broker refuses us: {str(code).lower()}", wrong_version=wrong_version)
            return
        self._down = Down("the broker closed the connection")
        self._is_subscribed = bool(flags.session_present)
        if self._is_subscribed:  # what has waited comes before the answer to the subscription
            self._emit(Up(has_session=True))
        self._client.subscribe([(topic, 1) for topic in self._topics])

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, codes: Sequence[ReasonCode], _properties: Any) -> None:
        refused = [topic for topic, code in zip(self._topics, codes, strict=False) if code.value >= _FAILED]
        if refused:
            self._down = Down(f"the broker refuses the subscription to {refused[0]}; look at its access list")
            self._client.disconnect()
            return
        if not self._is_subscribed:
            self._is_subscribed = True
            self._emit(Up(has_session=False))

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, code: ReasonCode, _properties: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self._down = Down(f"the broker says: {str(code).lower()}")

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        token = message.mid if message.qos else None
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        self._emit(Arrived(topic, bytes(message.payload), bool(message.retain), token))


def _ignore_register_write(_client: Any, _data: Any, _sock: Any) -> None:
    """Do nothing. If this callback is set, paho wakes the thread of the connection instead of writing in ours."""


def _set_up_tcp(_client: Any, _data: Any, sock: Any) -> None:
    if isinstance(sock, socket.socket) and sock.family in {socket.AF_INET, socket.AF_INET6}:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
