from __future__ import annotations

import ssl
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from edge_agent.errors import Unavailable
from edge_agent.uplink.mqtt import LinkDown, LinkUp, lacks_key_usage, tls_context

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Mosquitto
    from tests.uplink.conftest import Connect

    FakeBroker = Callable[[Callable[[socket.socket], object]], int]


def _openssl(folder: Path, arguments: str) -> None:
    subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds authority, certificate for localhost, key; and another authority. Neither says what its key is for."""
    for name in ("ca", "other"):
        _openssl(tmp_path, f"req -x509 -newkey ed25519 -nodes -keyout {name}.key -out {name}.pem -subj /CN={name}")
    _openssl(tmp_path, "req -newkey ed25519 -nodes -keyout srv.key -out srv.csr -subj /CN=localhost")
    (tmp_path / "san").write_text("subjectAltName=DNS:localhost\n", encoding="ascii")
    _openssl(
        tmp_path, "x509 -req -in srv.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out srv.pem -extfile san -days 2"
    )
    _openssl(tmp_path, "pkey -in srv.key -aes256 -passout pass:secret -out locked.key")
    return tmp_path


def _shake_hands(client: ssl.SSLContext, folder: Path, host: str) -> None:
    """Let `client` connect to a server at `host` that has the certificate in `folder`."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "srv.pem", folder / "srv.key")
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(back, there, server_hostname=host)
    theirs = server.wrap_bio(there, back, server_side=True)
    for _ in range(3):
        for end in (ours, theirs):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    assert ours.version() == "TLSv1.3"


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python is as strict as it is from 3.13 on."""
    lax = ssl.create_default_context

    def create(**options: Any) -> ssl.SSLContext:
        context = lax(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr("edge_agent.uplink.mqtt.ssl.create_default_context", create)


@pytest.mark.usefixtures("strict")
def test_a_home_made_authority_is_accepted_for_what_it_signed_and_no_other(folder: Path) -> None:
    ours, theirs = (tls_context(str(folder / name), None, None) for name in ("ca.pem", "other.pem"))
    _shake_hands(ours, folder, "localhost")
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        _shake_hands(theirs, folder, "localhost")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        _shake_hands(ours, folder, "elsewhere")
    ours.verify_flags |= ssl.VERIFY_X509_STRICT
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake_hands(ours, folder, "localhost")


@pytest.mark.usefixtures("strict")
def test_the_authorities_of_the_system_are_checked_as_strictly_as_python_does() -> None:
    assert tls_context(None, None, None).verify_flags & ssl.VERIFY_X509_STRICT


def test_an_authority_without_key_usage_is_noticed(folder: Path) -> None:
    _openssl(
        folder,
        "req -x509 -newkey ed25519 -nodes -keyout k -out said.pem -subj /CN=said -addext keyUsage=critical,keyCertSign",
    )
    assert lacks_key_usage(str(folder / "ca.pem"))
    assert not lacks_key_usage(str(folder / "said.pem"))


@pytest.mark.broker
# The TLS socket of a failed handshake is closed by its destructor: paho lets go of it without closing it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_the_broker_must_be_who_it_says(
    folder: Path, start_mosquitto: Callable[[str], Mosquitto], connect: Connect
) -> None:
    broker = start_mosquitto(
        f"allow_anonymous true\ncafile {folder}/ca.pem\ncertfile {folder}/srv.pem\nkeyfile {folder}/srv.key"
    )
    ours, theirs = (tls_context(str(folder / name), None, None) for name in ("ca.pem", "other.pem"))
    connect(broker.port, host="localhost", tls=ours).expect(LinkUp)
    wrong_authority = connect(broker.port, host="localhost", tls=theirs).expect(LinkDown).reason
    assert wrong_authority.startswith(f"the certificate of localhost:{broker.port} is not accepted: ")
    assert wrong_authority.endswith(" (check ca_file and the clock)")
    assert "127.0.0.1" in connect(broker.port, host="127.0.0.1", tls=ours).expect(LinkDown).reason
    connect(broker.port, host="localhost").expect(LinkDown)  # plain TCP at a TLS port


def test_files_that_cannot_be_used_are_named(folder: Path) -> None:
    for ca, cert, key, blamed in (
        ("missing.pem", None, None, "missing.pem"),
        ("san", None, None, "san"),
        ("ca.pem", "missing.pem", None, "missing.pem"),
        ("ca.pem", "srv.pem", "ca.key", "ca.key"),
        ("ca.pem", "srv.pem", "locked.key", "locked.key"),
    ):
        with pytest.raises(Unavailable, match=blamed):
            tls_context(
                str(folder / ca),
                None if cert is None else str(folder / cert),
                None if key is None else str(folder / key),
            )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_link_that_hangs_in_its_handshake_can_be_closed_and_ends_by_itself(
    fake_broker: FakeBroker, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.uplink.mqtt.CONNECT_TIMEOUT_S", 0.3)
    greeted = threading.Event()

    def say_nothing(connection: socket.socket) -> None:
        while connection.recv(4096):
            greeted.set()

    port = fake_broker(say_nothing)
    link = connect(port, tls=tls_context(None, None, None))
    assert greeted.wait(10)
    link.link.close()
    assert link.expect(LinkDown) == LinkDown(f"127.0.0.1:{port} does not answer")
    link.join()
