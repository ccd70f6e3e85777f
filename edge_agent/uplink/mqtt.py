"""MQTT by paho. The only door to it.

Each connection is a client of its own that is thrown away when it ends: paho keeps unacknowledged messages in memory
and sends them again by itself, and the outbox must be the only one that remembers. Callbacks do nothing but `emit`.
A connection ends in exactly one `LinkDown`, whatever ended it.
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
from paho.mqtt.properties import Properties, VariableByteIntegers
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S: Final = 5.0
_USER_TIMEOUT_MS: Final = 20_000
"""TCP gives a connection up when sent bytes stay unacknowledged for so long: half-open links show themselves."""
_LARGEST_PACKET: Final = 268_435_455
_UNSUPPORTED_VERSION: Final = 0x84
_KEEP_ALIVE_TIMEOUT: Final = 0x8D
_KEY_USAGE: Final = bytes.fromhex("0603551d0f")
"""Identifier of that extension in the DER of a certificate (RFC 5280, 4.2.1.3): 2.5.29.15."""
_DISCONNECT_WITH_WILL: Final = ReasonCode(PacketTypes.DISCONNECT, identifier=0x04)


@dataclass(frozen=True, slots=True)
class LinkUp:
    """The broker accepted us, and takes up to `receive_maximum` unacknowledged publishes."""

    receive_maximum: int


@dataclass(frozen=True, slots=True)
class LinkDown:
    """The connection ended, or was never made.

    Attributes:
        reason: one sentence.
        wrong_version: the broker may not speak this version of MQTT.
        refused: it said so; otherwise it closed without a word, as old ones do, and others when they are in trouble.
    """

    reason: str
    wrong_version: bool = False
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Puback:
    """The broker acknowledged or refused the publish that `Link.publish` numbered `mid`; code 0 in MQTT 3.1.1."""

    mid: int
    code: int


class TooLarge(ValueError):
    """The broker takes no packet of this size; the text says both sizes."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message came on the topic that commands come on."""

    payload: bytes


LinkEvent = LinkUp | LinkDown | Puback | Received


@dataclass(frozen=True, slots=True)
class Broker:
    """Where and as whom to connect.

    Attributes:
        host, port: where.
        tls: None for plain TCP.
        client_id: as whom; unique per broker.
        username, password: None if the broker asks for none.
        keepalive_s: silence after which the link is probed; a dead one is noticed after twice this.
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
    """What the broker publishes if we vanish.

    Attributes:
        topic, payload: what, and where.
        retain: whether the broker keeps it for those who come later.
        at_goodbye: whether it is to be published as well when we say goodbye; MQTT 3.1.1 cannot say so.
    """

    topic: str
    payload: bytes
    retain: bool = True
    at_goodbye: bool = False


def tls_context(ca_file: str | None, cert_file: str | None, key_file: str | None) -> ssl.SSLContext:
    """Verify the broker's certificate and name, by the given authority alone or by the system's.

    An authority in `ca_file` may lack what RFC 5280 asks of one, such as its key usage, as home-made ones do: Python
    refuses that by default from 3.13 on, and a link must outlive an upgrade of Python.

    Raises:
        Unavailable: a file cannot be read, or is not what it should be.
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
            # Without the answer OpenSSL would ask for the pass phrase of an encrypted key on the terminal, and wait.
            context.load_cert_chain(cert_file, key_file, password="")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            where = cert_file if key_file is None else f"{cert_file} or {key_file}"
            raise Unavailable(f"the certificate or key in {where} cannot be used: {reason}") from None
    return context


def lacks_key_usage(ca_file: str) -> bool:
    """Tell whether a certificate in the file does not say what its key is for, which strict programs refuse.

    Raises:
        Unavailable: the file cannot be read, or is not what it should be.
    """
    return any(_KEY_USAGE not in der for der in tls_context(ca_file, None, None).get_ca_certs(binary_form=True))


class Link:
    """One connection, from its first packet to its last.

    Only the link's own thread touches the socket: paho, left alone, also writes from whoever publishes, and two
    writers would mix up their packets when the socket takes only part of one.

    Args:
        broker: where to.
        will: what is published if we vanish.
        version: 5, or 4 for MQTT 3.1.1.
        emit: called from the link's thread with each event.
        commands: topic to listen to, subscribed to before anything is published; None: we only speak.
    """

    def __init__(
        self,
        broker: Broker,
        will: Will,
        version: int,
        emit: Callable[[LinkEvent], object],
        commands: str | None = None,
    ) -> None:
        self._emit = emit
        self._broker = broker
        self._will = will
        self._version = version
        self._commands = commands
        self._down = LinkDown("the broker closed the connection without a word", wrong_version=True)
        self._maximum_packet = _LARGEST_PACKET
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
        client.max_inflight_messages_set(65_535)  # the session's own limit is the only one
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
        client.on_socket_register_write = _leave_to_the_thread
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def open(self) -> None:
        """Begin to connect; a `LinkUp` or a `LinkDown` will follow."""
        self._thread.start()

    def publish(self, topic: str, payload: bytes, content_type: str, user_properties: Sequence[tuple[str, str]]) -> int:
        """Publish with QoS 1; MQTT 3.1.1 knows no properties. Returns the number that its `Puback` will bear.

        Raises:
            TooLarge: the broker said that it takes no packet of this size.
        """
        properties: Properties | None = None
        if self._version == paho.MQTTv5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ContentType = content_type
            properties.UserProperty = list(user_properties)
            size = _packet_bytes(topic, payload, properties)
            if size > self._maximum_packet:
                raise TooLarge(f"{size} bytes, and the broker takes {self._maximum_packet}")
        return self._client.publish(topic, payload, qos=1, properties=properties).mid

    def notify(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Publish with QoS 0: it must not take up what the broker's Receive Maximum leaves for records.

        paho reports it as published when it has left, by a `Puback` whose number nobody waits for.
        """
        self._client.publish(topic, payload, qos=0, retain=retain)

    def close(self) -> None:
        """Say goodbye, so that the will is not published unless it is meant for that, too, and end the thread.

        A thread that is still connecting ends as soon as it notices; it is waited for only shortly.
        """
        self._closing.set()
        with_will = self._will.at_goodbye and self._version == paho.MQTTv5
        self._client.disconnect(_DISCONNECT_WITH_WILL if with_will else None)
        if self._thread.ident is not None:
            self._thread.join(1.0)

    def abandon(self) -> None:
        """Give up a connection that does not answer: no goodbye, so that the will tells of it. A `LinkDown` follows."""
        self._closing.set()
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):
                # Not close(): the thread is using the descriptor. Not the method of SSLSocket: it changes the object.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _run(self) -> None:
        client = self._client
        try:
            client.connect(  # returns when TCP and TLS stand
                self._broker.host,
                self._broker.port,
                keepalive=self._broker.keepalive_s,
                clean_start=True if self._version == paho.MQTTv5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
            )
            if self._closing.is_set():
                return  # `close` came too early to find a connection
            while client.loop() is MQTTErrorCode.MQTT_ERR_SUCCESS:
                pass
        except (OSError, ValueError) as error:
            self._down = LinkDown(_explain(error, self._broker))
        except Exception as error:
            log.exception("the MQTT library failed; the link starts anew")
            self._down = LinkDown(f"internal error: {error}")
        finally:
            # The callbacks tie client and link into a ring, which would keep the sockets until the next collection.
            client.on_connect = client.on_disconnect = client.on_publish = client.on_message = None
            self._emit(self._down)

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: ReasonCode, properties: Any) -> None:
        if code.is_failure:
            wrong_version = code.value in {_UNSUPPORTED_VERSION, 1}
            reason = f"the broker refuses us: {str(code).lower()}"
            self._down = LinkDown(reason, wrong_version=wrong_version, refused=wrong_version)
            return
        self._down = LinkDown("the broker closed the connection")
        self._maximum_packet = getattr(properties, "MaximumPacketSize", _LARGEST_PACKET)
        if self._commands is not None:
            self._client.subscribe(self._commands, qos=1)
        self._emit(LinkUp(receive_maximum=getattr(properties, "ReceiveMaximum", 65_535)))

    def _on_disconnect(self, _client: Any, _data: Any, flags: Any, code: ReasonCode, _properties: Any) -> None:
        if flags.is_disconnect_packet_from_server:
            self._down = LinkDown(f"the broker says: {str(code).lower()}")
        elif code.value == _KEEP_ALIVE_TIMEOUT:
            self._down = LinkDown("the broker does not answer any more")

    def _on_publish(self, _client: Any, _data: Any, mid: int, code: ReasonCode, _properties: Any) -> None:
        self._emit(Puback(mid, code.value))

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        self._emit(Received(bytes(message.payload)))


def _leave_to_the_thread(_client: Any, _data: Any, _sock: Any) -> None:
    """That it is set keeps paho from writing in the thread that publishes; it wakes the link's thread by itself."""


def _packet_bytes(topic: str, payload: bytes, properties: Properties) -> int:
    """Size of a QoS 1 PUBLISH (MQTT 5.0, 3.3): fixed header, topic, packet identifier, properties, payload."""
    packed: bytes = properties.pack()  # type: ignore[no-untyped-call]
    remaining = 2 + len(topic.encode()) + 2 + len(packed) + len(payload)
    return 1 + len(VariableByteIntegers.encode(remaining)) + remaining  # type: ignore[no-untyped-call]


def _set_up_tcp(_client: Any, _data: Any, sock: Any) -> None:
    if isinstance(sock, socket.socket) and sock.family in {socket.AF_INET, socket.AF_INET6}:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
        # Else a record behind a status message waits 40 ms, until the broker's kernel acknowledges the first.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _explain(error: Exception, broker: Broker) -> str:  # noqa: PLR0911 a table
    """One sentence from whatever the network said."""
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
