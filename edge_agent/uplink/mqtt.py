"""MQTT connection by paho. The only module that imports paho.

Each connection has its own client, which is discarded at the end: paho keeps unacknowledged messages in memory and
sends them again by itself, but only the outbox may repeat records. Callbacks do nothing but `emit`. Every connection
ends with exactly one `LinkDown`, for whatever reason.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.errors import Unavailable
from edge_agent.uplink.ends import Ending
from edge_agent.uplink.packet import publish_bytes
from edge_agent.uplink.terms import LARGEST_PACKET_BYTES, Terms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S: Final = 20.0
"""For TCP, and again for TLS: certificates of 6 kB take 6 s at 8 kbit/s."""
_SEND_BUFFER_BYTES: Final = 65_536
_UNSENT_BYTES: Final = 16_384
"""The socket takes more only when fewer bytes than this were not sent yet, so that the kernel hides no long queue."""
_TCP_NOTSENT_LOWAT: Final = 25
"""Option of Linux that Python does not name (linux/tcp.h)."""
CONNACK_LOOPS: Final = 30
"""Turns of the loop, of a second at most, in which the broker has to answer the CONNECT."""
_USER_TIMEOUT_MS: Final = 20_000
"""TCP closes a connection if sent bytes stay unacknowledged for this time: detects half-open links."""
_LARGEST_RECEIVED_BYTES: Final = 65_536
"""A broker with MQTT 5 sends no larger packets, whatever somebody publishes on our topics."""
_UNSUPPORTED_VERSION: Final = 0x84
_KEEP_ALIVE_TIMEOUT: Final = 0x8D
_TAKEN_OVER: Final = 0x8E
_KEY_USAGE: Final = bytes.fromhex("0603551d0f")
"""DER encoding of the identifier of the key usage extension (RFC 5280, 4.2.1.3): 2.5.29.15."""
_DISCONNECT_WITH_WILL: Final = ReasonCode(PacketTypes.DISCONNECT, identifier=0x04)


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The broker accepted the connection, on these terms."""

    terms: Terms


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The connection ended, or could not be made.

    Attributes:
        reason: one sentence.
        wrong_version: whether the broker may not support this version of MQTT.
        refused: whether it refused the version explicitly. Otherwise it closed the connection without an answer, as old
            brokers do, and others when they fail or shut down; or it ignored the CONNECT.
        ending: how a connection ended that the broker had accepted.
    """

    reason: str
    wrong_version: bool = False
    refused: bool = False
    ending: Ending = Ending.OTHER


@dataclass(frozen=True, slots=True)
class Puback:
    """The broker acknowledged or refused the publish for which `Link.publish` returned `mid`; code 0 in MQTT 3.1.1."""

    mid: int
    code: int


class TooLarge(ValueError):
    """A packet is larger than the broker accepts; the text contains both sizes.

    Attributes:
        size_bytes: size of the packet.
        limit_bytes: what the broker accepts.
        overhead_bytes: those of the packet besides the payload.
    """

    def __init__(self, size_bytes: int, limit_bytes: int, overhead_bytes: int = 0) -> None:
        super().__init__(f"{size_bytes} bytes, and the broker takes {limit_bytes}")
        self.size_bytes, self.limit_bytes, self.overhead_bytes = size_bytes, limit_bytes, overhead_bytes


@dataclass(frozen=True, slots=True)
class Received:
    """A message arrived on a topic of the subscription."""

    topic: str
    payload: bytes


LinkEvent = LinkUp | LinkDown | Puback | Received


@dataclass(frozen=True, slots=True)
class Broker:
    """Address of the broker and identity of the client.

    Attributes:
        host, port: address of the broker.
        tls: TLS settings; None for plain TCP.
        client_id: MQTT client id, unique per broker.
        username, password: None if the broker needs none.
        keepalive_s: time without packets after which the link is probed, seconds; a dead link is detected after twice
            this.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    client_id: str
    username: str | None
    password: str | None
    keepalive_s: int


@dataclass(frozen=True, slots=True)
class Will:
    """Message that the broker publishes if the connection is lost (MQTT will).

    Attributes:
        topic, payload: topic and content of the message.
        retain: whether the broker keeps it for later subscribers.
        at_goodbye: whether it is also published at a regular disconnect; has no effect with MQTT 3.1.1.
    """

    topic: str
    payload: bytes
    retain: bool = True
    at_goodbye: bool = False


def tls_context(ca_file: str | None, cert_file: str | None, key_file: str | None) -> ssl.SSLContext:
    """Make TLS settings that verify certificate and name of the broker, by the given authority or by the system's.

    An authority in `ca_file` may lack extensions that RFC 5280 requires, such as key usage; private ones often do.
    Python refuses them by default from 3.13 on; here they are accepted, so that an upgrade of Python does not break a
    link.

    Args:
        ca_file: certificates of the authority; None: those of the system.
        cert_file: certificate of the client; None: no client certificate.
        key_file: its key; None: the key is in `cert_file`.

    Raises:
        Unavailable: a file cannot be read, or has wrong content.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise Unavailable(f"the authority in {ca_file} cannot be used: {error.strerror or error}") from None
    if ca_file is not None:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert_file is not None:
        try:
            # Without a password, OpenSSL would prompt for that of an encrypted key on the terminal, and wait.
            context.load_cert_chain(cert_file, key_file, password="")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            where = cert_file if key_file is None else f"{cert_file} or {key_file}"
            raise Unavailable(f"the certificate or key in {where} cannot be used: {reason}") from None
    return context


def lacks_key_usage(ca_file: str) -> bool:
    """Whether a certificate in the file has no key usage extension; strict programs refuse such an authority.

    Raises:
        Unavailable: the file cannot be read, or has wrong content.
    """
    return any(_KEY_USAGE not in der for der in tls_context(ca_file, None, None).get_ca_certs(binary_form=True))


class Link:
    """One MQTT connection, from its first packet to its last.

    Only the thread of the link writes to the socket. By default paho also writes from the thread that publishes; two
    writers would interleave their packets when the socket takes only part of one.

    Args:
        broker: address and identity.
        will: message that the broker publishes if the connection is lost.
        version: 5, or 4 for MQTT 3.1.1.
        emit: called with each event, from the thread of the link.
        topics: filters to subscribe to before anything is published.
    """

    def __init__(
        self,
        broker: Broker,
        will: Will,
        version: int,
        emit: Callable[[LinkEvent], object],
        topics: Sequence[str] = (),
    ) -> None:
        self._emit = emit
        self._broker = broker
        self._will = will
        self._version = version
        self._topics = topics
        self._down = LinkDown("the broker closed the connection without a word", wrong_version=True)
        self._maximum_packet = LARGEST_PACKET_BYTES
        self._answered = False  # whether the broker has answered the CONNECT
        self._closing = threading.Event()
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            protocol=paho.MQTTv5 if version == paho.MQTTv5 else paho.MQTTv311,
            clean_session=None if version == paho.MQTTv5 else True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_queued_messages_set(0)
        client.max_inflight_messages_set(65_535)  # only the limit of the session counts
        client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        if broker.tls is not None:
            client.tls_set_context(broker.tls)
        if broker.username is not None:
            client.username_pw_set(broker.username, broker.password)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_socket_open = _set_up_tcp
        client.on_socket_register_write = _ignore_register_write
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def open(self) -> None:
        """Start to connect; a `LinkUp` or a `LinkDown` follows."""
        self._thread.start()

    def publish(self, topic: str, payload: bytes, content_type: str, user_properties: Sequence[tuple[str, str]]) -> int:
        """Publish with QoS 1; properties are left out with MQTT 3.1.1. Returns the `mid` of the later `Puback`.

        Raises:
            TooLarge: the packet exceeds the MaximumPacketSize of the broker.
        """
        properties: Properties | None = None
        if self._version == paho.MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ContentType = content_type
            properties.UserProperty = list(user_properties)
            packed: bytes = properties.pack()  # type: ignore[no-untyped-call]
            size = publish_bytes(topic, payload, len(packed), with_identifier=True)
            if size > self._maximum_packet:
                raise TooLarge(size, self._maximum_packet, size - len(payload))
        return self._client.publish(topic, payload, qos=1, properties=properties).mid

    def notify(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish with QoS 0, so that the broker's Receive Maximum is left to records.

        paho reports it as published when it was sent, by a `Puback` that the worker ignores.
        """
        self._client.publish(topic, payload, qos=0, retain=retain)

    def close(self) -> None:
        """Disconnect and end the thread. The will is not published, unless it is `at_goodbye`.

        Waits at most a second for the thread; one that is still connecting ends later by itself.
        """
        self._closing.set()
        with_will = self._will.at_goodbye and self._version == paho.MQTTv5
        self._client.disconnect(_DISCONNECT_WITH_WILL if with_will else None)
        if self._thread.ident is not None:
            self._thread.join(1.0)

    def abandon(self) -> None:
        """Close a connection that does not answer, without DISCONNECT: the will is published. A `LinkDown` follows."""
        self._closing.set()
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):
                # Not close(): the thread uses the descriptor. Not SSLSocket.shutdown: it changes the object.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _run(self) -> None:
        client = self._client
        try:
            limits: Properties | None = None
            if self._version == paho.MQTTv5:
                limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
                limits.MaximumPacketSize = _LARGEST_RECEIVED_BYTES
            client.connect(  # returns when TCP and TLS are established
                self._broker.host,
                self._broker.port,
                keepalive=self._broker.keepalive_s,
                clean_start=True if self._version == paho.MQTTv5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
                properties=limits,
            )
            if self._closing.is_set():
                return  # `close` was called before there was a connection
            loops = 0
            while client.loop() is MQTTErrorCode.MQTT_ERR_SUCCESS:
                loops += 1
                if loops >= CONNACK_LOOPS and not self._answered:
                    self._down = LinkDown("the broker does not answer the CONNECT", wrong_version=True)
                    return
        except (OSError, ValueError) as error:
            self._down = LinkDown(_explain(error, self._broker))
        except Exception as error:
            log.exception("the MQTT library failed; the link starts anew")
            self._down = LinkDown(f"internal error: {error}")
        finally:
            # The callbacks make a reference cycle, which would keep the sockets open until the next garbage collection.
            client.on_connect = client.on_disconnect = client.on_publish = client.on_message = None
            sock = client.socket()
            if isinstance(sock, socket.socket):
                sock.close()  # one that paho has not closed by itself
            self._emit(self._down)

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: ReasonCode, properties: Any) -> None:
        self._answered = True
        if code.is_failure:
            wrong_version = code.value in {_UNSUPPORTED_VERSION, 1}
            reason = f"the broker refuses us: {str(code).lower()}"
            self._down = LinkDown(reason, wrong_version=wrong_version, refused=wrong_version)
            return
        self._down = LinkDown("the broker closed the connection", ending=Ending.CLOSED)
        self._maximum_packet = getattr(properties, "MaximumPacketSize", LARGEST_PACKET_BYTES)
        if self._topics:
            self._client.subscribe([(topic, 1) for topic in self._topics])
        receive_maximum = getattr(properties, "ReceiveMaximum", 65_535)
        where = f"{self._broker.host}:{self._broker.port}"
        self._emit(LinkUp(Terms(receive_maximum, self._maximum_packet, where)))

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, code: ReasonCode, _properties: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            ending = Ending.TAKEN_OVER if code.value == _TAKEN_OVER else Ending.OTHER
            self._down = LinkDown(f"the broker says: {str(code).lower()}", ending=ending)
        elif code.value == _KEEP_ALIVE_TIMEOUT:
            self._down = LinkDown("the broker does not answer any more", wrong_version=not self._answered)

    def _on_publish(self, _client: Any, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        self._emit(Puback(mid, code.value))

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # not allowed in MQTT; no reason to end the link
        self._emit(Received(topic, bytes(message.payload)))


def _ignore_register_write(_client: Any, _data: Any, _sock: Any) -> None:
    """Do nothing. If this callback is set, paho wakes the link's thread instead of writing in the publishing one."""


def _set_up_tcp(_client: Any, _data: Any, sock: Any) -> None:
    if isinstance(sock, socket.socket) and sock.family in {socket.AF_INET, socket.AF_INET6}:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
        # Otherwise a record after a status message waits 40 ms, until the broker's kernel acknowledges the latter.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _explain(error: Exception, broker: Broker) -> str:  # noqa: PLR0911 a table
    """Describe an error of the connection in one sentence."""
    where = f"{broker.host}:{broker.port}"
    match error:
        case ssl.SSLCertVerificationError():
            return f"the certificate of {where} is not accepted: {error.verify_message} (check ca_file and the clock)"
        case ssl.SSLError():
            return f"TLS with {where} failed: {error.reason or error}"
        case socket.gaierror():
            return f"the name {broker.host} cannot be resolved"
        case ConnectionRefusedError():
            return f"nothing listens at {where}"
        case TimeoutError():
            return f"{where} does not answer"
        case OSError():
            return f"{where}: {error.strerror or error}"
        case _:
            return f"{where}: {error}"
