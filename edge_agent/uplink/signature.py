"""Checks the signatures of receivers. Pure. What is signed, and how, is in docs/confirmation.md."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from edge_agent.errors import WireError

_START: Final = b',"hmac":"'
_DIGEST_BYTES: Final = 64
_END: Final = b'"}'
_TAIL_BYTES: Final = len(_START) + _DIGEST_BYTES + len(_END)


def verified(topic: str, payload: bytes, key: str) -> bytes:
    """Return a message without its signature.

    Args:
        topic: topic on which it came.
        payload: a JSON object whose last member is `hmac`.
        key: secret that the receiver has, too.

    Raises:
        WireError: it has no signature, or one by another key, of another topic, or of another content.
    """
    tail = payload[-_TAIL_BYTES:]
    if len(tail) < _TAIL_BYTES or not tail.startswith(_START) or not tail.endswith(_END):
        raise WireError("it has no signature, and ack_key_file demands one")
    message = payload[:-_TAIL_BYTES] + b"}"
    digest = hmac.new(key.encode(), topic.encode() + b"\0" + message, hashlib.sha256).hexdigest().encode()
    if not hmac.compare_digest(digest, tail[len(_START) : -len(_END)]):
        raise WireError("its signature is not by the key in ack_key_file")
    return message
