from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.bus.sysfs import SysfsTree
from edge_agent.errors import BusDenied, BusError, BusGone

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    devices = tmp_path / "devices"
    (devices / "28-0123456789ab").mkdir(parents=True)
    (devices / "28-0123456789ab" / "w1_slave").write_text("text\n")
    (tmp_path / "secret").write_text("secret")
    return devices


def test_text_is_read_and_written_below_the_root(root: Path) -> None:
    tree = SysfsTree(str(root))
    assert tree.names() == ["28-0123456789ab"]
    assert tree.read("28-0123456789ab/w1_slave") == "text\n"
    tree.write("28-0123456789ab/w1_slave", "go\n")
    assert tree.read("28-0123456789ab/w1_slave") == "go\n"
    tree.close()


def test_an_entry_that_is_a_link_out_of_the_root_is_followed_as_sysfs_needs(root: Path) -> None:
    (root / "link").symlink_to(root.parent)
    assert SysfsTree(str(root)).read("link/secret") == "secret"


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../secret", "..", "", "a\0b"])
def test_a_path_that_leaves_the_root_is_refused(root: Path, path: str) -> None:
    tree = SysfsTree(str(root))
    with pytest.raises(BusDenied):
        tree.read(path)
    with pytest.raises(BusDenied):
        tree.write(path, "x")
    assert (root.parent / "secret").read_text() == "secret"


@given(st.text())
def test_any_path_below_nothing_is_an_error_of_the_bus(path: str) -> None:
    with pytest.raises(BusError):  # there is nothing below this root, and nothing above it may be reached
        SysfsTree("/nonexistent").read(path)


def test_what_is_not_there_is_gone_and_never_created(root: Path) -> None:
    tree = SysfsTree(str(root))
    with pytest.raises(BusGone) as caught:
        tree.read("28-000000000000/w1_slave")
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(BusGone):
        tree.write("new", "x")
    assert not (root / "new").exists()
    assert SysfsTree(str(root / "nowhere")).names() == []
    assert SysfsTree(str(root.parent / "secret")).names() == []


def test_folders_in_the_tree_can_be_listed_and_their_true_place_told(root: Path) -> None:
    (root / "iio:device0").symlink_to(root / "28-0123456789ab")
    tree = SysfsTree(str(root))
    assert tree.names("iio:device0") == ["w1_slave"]
    assert tree.names("nowhere") == []
    assert tree.resolve("iio:device0") == str(root / "28-0123456789ab")
    with pytest.raises(BusGone):
        tree.resolve("nowhere")
    with pytest.raises(BusDenied):
        tree.resolve("../secret")
    with pytest.raises(BusDenied):
        tree.names("..")


def test_a_link_that_leads_nowhere_is_gone(root: Path) -> None:
    (root / "iio:device0").symlink_to(root / "unplugged")
    with pytest.raises(BusGone):
        SysfsTree(str(root)).resolve("iio:device0")


def test_at_most_one_page_is_read_in_one_call(root: Path) -> None:
    (root / "long").write_text("x" * 10_000)
    assert len(SysfsTree(str(root)).read("long")) == 4096


def test_bytes_that_are_not_text_do_not_raise(root: Path) -> None:
    (root / "odd").write_bytes(b"\xff\xfe25.0")
    assert SysfsTree(str(root)).read("odd").endswith("25.0")


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.EACCES, BusDenied), (errno.ENODEV, BusGone), (errno.EIO, BusError), (errno.EAGAIN, BusError)],
)
def test_a_failing_kernel_driver_is_told_with_its_reason_and_the_file_is_closed(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[BusError]
) -> None:
    closed: list[int] = []
    real_close = os.close

    def fail(*_: object) -> bytes:
        raise OSError(number, os.strerror(number))

    def close(descriptor: int) -> None:
        closed.append(descriptor)
        real_close(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "read", fail)
        patched.setattr(os, "close", close)
        with pytest.raises(BusError) as caught:
            SysfsTree(str(root)).read("28-0123456789ab/w1_slave")
    assert type(caught.value) is kind
    assert caught.value.errno == number
    assert len(closed) == 1


def test_a_folder_that_may_not_be_listed_is_denied(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "listdir", fail)
    with pytest.raises(BusDenied):
        SysfsTree(str(root)).names()


def test_messages_name_the_label_instead_of_the_root(root: Path) -> None:
    tree = SysfsTree(str(root), label="/sys/bus/w1/devices")
    with pytest.raises(BusGone, match=r"^/sys/bus/w1/devices/28-0/w1_slave is not there"):
        tree.read("28-0/w1_slave")
    with pytest.raises(BusDenied, match="not a path below /sys/bus/w1/devices"):
        tree.read("../secret")
