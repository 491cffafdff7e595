"""Secrets that a test has planted: whether a text contains one, in any form that it may be written in."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping


def forms(secret: str) -> list[str]:
    """How a secret may be written: as it is, as JSON within JSON, in base64 at any offset."""
    raw = secret.encode()
    encoded = [base64.b64encode(b"x" * shift + raw).decode()[4:-4] for shift in range(3)]
    return [secret, json.dumps(secret)[1:-1], *encoded]


def found_in(text: str, planted: Mapping[str, str]) -> list[str]:
    """Names of the secrets that a text contains."""
    return [name for name, secret in planted.items() if any(form in text for form in forms(secret))]
