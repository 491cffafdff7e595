"""`$(NAME)` in a container's command, args and env, exactly as Kubernetes expands it.

Source of the rules: k8s.io/kubernetes/third_party/forked/golang/expansion/expand.go.
"""

from __future__ import annotations

from collections.abc import Mapping


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace each ``$(NAME)`` by its value.

    ``$$`` is one ``$`` (so ``$$(NAME)`` stays ``$(NAME)``); a name that is not
    defined, an unclosed ``$(`` and a ``$`` before anything else stay as they are.
    A value is not expanded again.
    """
    parts: list[str] = []
    position = 0
    while True:
        dollar = text.find("$", position)
        if dollar < 0 or dollar == len(text) - 1:
            parts.append(text[position:])
            return "".join(parts)
        parts.append(text[position:dollar])
        piece, position = _read(text, dollar, variables)
        parts.append(piece)


def _read(text: str, dollar: int, variables: Mapping[str, str]) -> tuple[str, int]:
    """What the `$` at this position stands for, and where the text goes on."""
    following = text[dollar + 1]
    if following == "$":
        return "$", dollar + 2
    if following == "(":
        end = text.find(")", dollar + 2)
        if end >= 0:
            name = text[dollar + 2 : end]
            return variables.get(name, f"$({name})"), end + 1
    return text[dollar : dollar + 2], dollar + 2
