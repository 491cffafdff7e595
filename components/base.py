"""The base of all components: type tokens, child options and their order, in one place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pulumi

PROJECT: Final = "inference-platform"


class Component(pulumi.ComponentResource):
    """A component of this project.

    The caller's options go to the engine with the component itself and nowhere else: children inherit provider and
    protection through their parent, and would otherwise also get the caller's aliases and parent.

    Subclasses name children ``f"{name}-..."``, assign their public attributes and then call `register_outputs`.
    """

    def __init__(
        self,
        module: str,
        name: str,
        opts: pulumi.ResourceOptions | None = None,
        after: Sequence[pulumi.Resource] = (),
    ) -> None:
        """Register the component.

        Args:
            module: middle part of the type token ``inference-platform:<module>:<Class>``.
            name: logical name, unique among the components of its type.
            opts: the caller's.
            after: what every child is created after, and so destroyed before. A dependency of the component alone
                would not be recorded with its children.
        """
        super().__init__(f"{PROJECT}:{module}:{type(self).__name__}", name, None, opts)
        self._after = tuple(after)

    def child(
        self, *after: pulumi.Resource, ignore_changes: Sequence[str] = (), timeout: str | None = None
    ) -> pulumi.ResourceOptions:
        """Options of a child.

        Args:
            after: what this child is created after, besides the component's own.
            ignore_changes: property paths that others own; nested ones in the API's camelCase.
            timeout: longest wait for the child to be created or updated, e.g. ``2m``; default: the provider's.
        """
        return pulumi.ResourceOptions(
            parent=self,
            depends_on=[*self._after, *after],
            ignore_changes=list(ignore_changes) or None,
            custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout) if timeout else None,
        )
