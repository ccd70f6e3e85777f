"""Passwords come from files: a systemd credential, or a file that only its owner can read."""

from __future__ import annotations

import os
from pathlib import Path

from edge_agent.errors import Unavailable


def read_password(file: str | None, credential: str | None) -> str | None:
    """The password, or None if neither is given.

    Args:
        file: path of a file that group and others may not read.
        credential: name below $CREDENTIALS_DIRECTORY, as systemd's LoadCredential= provides.

    Raises:
        Unavailable: it cannot be read, or others could read it too.
    """
    if credential is not None:
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if directory is None:
            raise Unavailable(f"the credential {credential!r} is missing: add LoadCredential={credential} to the unit")
        return _read(Path(directory) / credential)
    if file is None:
        return None
    path = Path(file)
    if path.exists() and path.stat().st_mode & 0o077:
        raise Unavailable(f"{path} can be read by others: chmod 600 {path}")
    return _read(path)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"the password in {path} cannot be read: {error}") from None
