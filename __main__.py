"""The Pulumi program: the configuration of a stack, built."""

from __future__ import annotations

import gc

import pulumi

FEW_COLLECTIONS = 200_000
"""Objects that are made before Python looks for garbage. The process lives for one run and keeps what it makes, so that
looking after every 700 objects, as usual, is a fifth of its time and finds next to nothing."""


def main() -> None:
    """Build the environment of this stack; what the user has to mend is said without a traceback."""
    gc.set_threshold(FEW_COLLECTIONS)
    from components.cluster import ClusterUnreachableError
    from stacks.config import load_environment
    from stacks.environment import build_environment
    from stacks.errors import ConfigError
    from stacks.sdk_messages import drop_debug_messages
    from stacks.secret_values import secret_values

    drop_debug_messages()
    stack = pulumi.get_stack()
    try:
        config = load_environment(pulumi.Config().require_object("environment"), stack)
        build_environment(config, stack, secret_values(config, stack)).export()
    except (ConfigError, ClusterUnreachableError) as error:
        raise pulumi.RunError(str(error)) from None


main()
