"""Values that a preview cannot know yet."""

from __future__ import annotations

from typing import Any, NoReturn


class UnknownValueError(Exception):
    """A rule needed a value that is not known before the deployment.

    Attributes:
        path: of the value, e.g. `spec.minReplicas`.
    """

    def __init__(self, path: str) -> None:
        super().__init__(f"the value of {path or 'a property'} is not known before the deployment")
        self.path = path


class Unknown:
    """Stands where a value is not known: that it is there can be asked, any use of it raises.

    A rule can so not take it for something that it is not; `policy.view` raises where a rule only asks for its type.

    Args:
        path: of the value.
    """

    __slots__ = ("path",)

    def __init__(self, path: str = "") -> None:
        self.path = path

    def _raise(self, *_: Any) -> NoReturn:
        raise UnknownValueError(self.path)

    __bool__ = __len__ = __iter__ = __getitem__ = __contains__ = __int__ = __float__ = __str__ = _raise
    __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = __hash__ = __add__ = __radd__ = _raise

    def __repr__(self) -> str:
        return f"<unknown {self.path}>"
