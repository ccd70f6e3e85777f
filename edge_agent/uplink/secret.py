"""Reads passwords from files: a systemd credential, or a file that only its owner can read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from edge_agent.errors import Unavailable

_MOST_BYTES: Final = 65_535


def read_password(file: str | None, credential: str | None) -> str | None:
    """Read a password; None if neither argument is given.

    Args:
        file: path of a file that group and others must not be able to read.
        credential: name of a file in $CREDENTIALS_DIRECTORY, as systemd's LoadCredential= provides.

    Raises:
        Unavailable: it cannot be read, is empty or too long, or others can read it.
    """
    if credential is not None:
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if directory is None:
            raise Unavailable(f"the credential {credential!r} is missing: add LoadCredential={credential} to the unit")
        return _read(Path(directory) / credential)
    return None if file is None else _read(Path(file), private=True)


def _read(path: Path, *, private: bool = False) -> str:
    """Content of a file, without a final end of line."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(_MOST_BYTES + 1).decode("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise Unavailable(f"the password in {path} cannot be read: {reason}") from None
    if private and mode & 0o077:
        raise Unavailable(f"{path} can be read by others: chmod 600 {path}")
    if not 0 < len(text.encode()) <= _MOST_BYTES:
        raise Unavailable(f"{path} is empty, or longer than the {_MOST_BYTES} bytes that MQTT allows for a password")
    return text
