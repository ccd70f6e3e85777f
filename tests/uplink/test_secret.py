from __future__ import annotations

import errno
from pathlib import Path

import pytest

from edge_agent.errors import Unavailable
from edge_agent.uplink.secret import read_password


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("päss word \n", encoding="utf-8")
    path.chmod(0o600)
    return path


def test_no_password_is_none() -> None:
    assert read_password(None, None) is None


def test_the_end_of_line_that_editors_add_is_no_part_of_it(file: Path) -> None:
    assert read_password(str(file), None) == "päss word "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_file_that_others_may_touch_is_refused_with_the_fix(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(Unavailable, match=f"chmod 600 {file}"):
        read_password(str(file), None)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"x" * 65_536])
def test_what_can_be_no_password_is_refused_by_name(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(Unavailable, match=str(file)):
        read_password(str(file), None)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="nowhere cannot be read: No such file"):
        read_password(str(tmp_path / "nowhere"), None)
    with pytest.raises(Unavailable, match="Is a directory"):
        read_password(str(tmp_path), None)
    with pytest.raises(Unavailable, match=r"Not a directory|No such file"):
        read_password(str(tmp_path / "nowhere" / "below"), None)


def test_a_file_that_we_may_not_read_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:  # root may read everything, so the kernel's answer is played
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(Unavailable, match="Permission denied"):
        read_password(str(file), None)


def test_a_credential_comes_from_the_folder_that_systemd_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mqtt").write_text("secret\n", encoding="ascii")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_password("/not/looked/at", "mqtt") == "secret"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(Unavailable, match="LoadCredential=mqtt"):
        read_password(None, "mqtt")
