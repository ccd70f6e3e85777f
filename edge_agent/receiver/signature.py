"""Signs what a receiver says, so that a gateway need not trust everybody who may publish at the broker. Pure.

A copy of an old acknowledgement is harmless: it is a lower bound, and stays true.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

SIGNATURE_BYTES: Final = len(b',"hmac":""') + 64
"""How much longer a message becomes."""


def signed(topic: str, message: bytes, key: str | None) -> bytes:
    """Append a signature to a JSON object.

    Args:
        topic: that it is published on.
        message: the object, without spaces at its end.
        key: secret that the gateway has too; None: the message stays as it is.

    Returns:
        The object with a last member `hmac`: HMAC-SHA256 (RFC 2104), in hexadecimal, with the UTF-8 of the key, of the
        topic, a zero byte and the message as it was given.
    """
    if key is None:
        return message
    digest = hmac.new(key.encode(), topic.encode() + b"\0" + message, hashlib.sha256).hexdigest()
    return message[:-1] + f',"hmac":"{digest}"}}'.encode()
