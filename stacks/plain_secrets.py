"""What looks like a secret, by its name or by its form.

It is refused where it would be kept in plain text, and never repeated in a message.

A name or a form is all that can be known of a text: a password in a field that has nothing to do with passwords is not
recognised.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

Location = tuple[str | int, ...]

_NAMES: Final = re.compile(
    r"(?:^|[_\-.])(?:token|password|passwd|passphrase|api[_\-]?key|access[_\-]?key(?:[_\-]?id)?|private[_\-]?key"
    r"|(?:client|shared|access|app|webhook)[_\-]secret|credential)s?$",
    re.IGNORECASE,
)
_HIDDEN_NAMES: Final = re.compile(
    r"(?:^|[_\-.])(?:secret|key[_\-]?hash|key[_\-]?hashe|kubeconfig|string[_\-]?data)s?$", re.IGNORECASE
)
"""Names of references and of hashes: what stands there by mistake is often the secret itself."""

_NO_SECRETS: Final = re.compile(
    r"(?:^|[_\-.])(?:max|min|num|per|count|automount|secret[_\-]?name|secret[_\-]?key)(?:$|[_\-.])", re.IGNORECASE
)
_FORMS: Final = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_\-]{20,}|nvapi-[\w\-]{20,}|AIza[\w\-]{30,}|xox[abposr]-[\w\-]{10,}"
    r"|A(?:KIA|SIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{20,}|glpat-[\w\-]{16,}"
    r"|eyJ[\w\-]{10,}\.eyJ[\w\-]{10,}\.[\w\-]+)"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|\bclient-key-data:|\n\s*(?:token|password):\s*\S"
    r"|://[^/\s:@]*:[^/\s@]+@"
)
"""Tokens of Hugging Face, OpenAI-like APIs, NVIDIA, Google, Slack, AWS, GitHub and GitLab, JSON web tokens, private
keys, kubeconfigs, and addresses with a password in them."""

_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_LAST_NAME: Final = re.compile(r"(?:\['([^']*)'\]|([^.\[\]]+))(?:\[\d+\])*$")
_REFERENCES: Final = ("$(", "/", "file:")


def looks_secret(name: str, value: object) -> bool:
    """Whether a text is a secret in plain text.

    Args:
        name: of the field, the variable or the flag that it is given to; "" if it has none.
        value: anything; only texts can be secrets.
    """
    if not isinstance(value, str) or not value:
        return False
    return has_form_of_secret(value) or (
        names_secret(name) and not value.startswith(_REFERENCES) and not value.replace(".", "", 1).isdigit()
    )


def has_form_of_secret(value: str) -> bool:
    """Whether a text has the form of a token, a private key or an address with a password."""
    return _FORMS.search(value) is not None


def names_secret(name: str) -> bool:
    """Whether a field of this name holds a secret: `HF_TOKEN`, `apiKey`, `db-password`."""
    words = _CAMEL.sub("_", name)
    return _NAMES.search(words) is not None and _NO_SECRETS.search(words) is None


def must_not_be_shown(path: str, value: object) -> bool:
    """Whether a message about a field may not repeat what stands there.

    Args:
        path: of the field, e.g. `tenancy.api_key_hashes[0]`.
        value: what stands there; in lists and mappings everything counts.
    """
    last = _LAST_NAME.search(path)
    name = _CAMEL.sub("_", last[1] or last[2] or "") if last else ""
    if isinstance(value, str):
        return looks_secret(name, value) or _HIDDEN_NAMES.search(name) is not None
    return next(find_secrets(value, name), None) is not None


def find_secrets(value: object, name: str = "") -> Iterator[Location]:
    """Where secrets stand in plain text in a value of mappings, lists and texts.

    A variable (``{name: HF_TOKEN, value: ...}``), a flag (``--api-key=...``, or two items of a list), an assignment
    (``HF_TOKEN=...``) and a Secret object count as well as a key with a text.

    Args:
        value: anything that JSON can hold; an object inside itself is looked at once.
        name: that the value itself is given to.
    """
    seen: set[int] = set()
    pending: list[tuple[Location, str, object]] = [((), name, value)]
    while pending:
        where, asked, item = pending.pop()
        if isinstance(item, str):
            if looks_secret(asked, item) or _assigns_secret(item):
                yield where
            continue
        if not isinstance(item, (Mapping, list, tuple)) or id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, Mapping):
            if item.get("kind") == "Secret" and (item.get("data") or item.get("stringData")):
                yield where
                continue
            pending.extend(
                ((*where, str(key)), _asked(item, key), child) for key, child in reversed(list(item.items()))
            )
        else:
            flags = ["", *(child.lstrip("-") if _is_flag(child) else "" for child in item)]
            pending.extend(
                ((*where, index), flags[index] or asked, child) for index, child in reversed(list(enumerate(item)))
            )


def _asked(item: Mapping[object, object], key: object) -> str:
    """What a text of a mapping is given to: its key, or the variable whose value it is."""
    variable = item.get("name")
    return variable if key == "value" and isinstance(variable, str) else str(key)


def _is_flag(item: object) -> bool:
    return isinstance(item, str) and item.startswith("--") and "=" not in item


def _assigns_secret(text: str) -> bool:
    name, equals, value = text.partition("=")
    return bool(equals) and re.fullmatch(r"-{0,2}[\w\-.]+", name) is not None and looks_secret(name.lstrip("-"), value)
