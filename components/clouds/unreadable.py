"""Why a kubeconfig cannot be read, without a word of what is in it: any line of it may be a key."""

from __future__ import annotations

import yaml


def reason(error: Exception) -> str:
    """The reason in a few words; YAML's own errors quote the line, which this does not.

    Args:
        error: what reading the file raised.
    """
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        return f"not YAML in line {mark.line + 1}" if mark else "not YAML"
    if isinstance(error, yaml.YAMLError):
        return "not YAML"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text"
    if isinstance(error, KeyError):
        return f"no {error.args[0]!r}" if error.args and error.args[0] in EXPECTED else "something is missing"
    return "not as it should be"


EXPECTED = frozenset({"name", "cluster", "context", "server", "clusters", "contexts", "user", "users"})
"""Keys of a kubeconfig that are named when they are missing."""
