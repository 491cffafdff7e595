"""The Pulumi program: the configuration of a stack, built."""

from __future__ import annotations

import gc

import pulumi


def main() -> None:
    """Build the environment of this stack; what the user has to mend is said without a traceback."""
    # What is imported stays: looking through it again and again is a sixth of the start of a preview.
    gc.disable()
    from components.cluster import ClusterUnreachableError
    from stacks.config import load_environment
    from stacks.environment import build_environment
    from stacks.errors import ConfigError
    from stacks.sdk_messages import drop_debug_messages
    from stacks.secret_values import secret_values

    gc.freeze()
    gc.enable()
    drop_debug_messages()
    stack = pulumi.get_stack()
    try:
        config = load_environment(pulumi.Config().require_object("environment"), stack)
        build_environment(config, stack, secret_values(config, stack)).export()
    except (ConfigError, ClusterUnreachableError) as error:
        raise pulumi.RunError(str(error)) from None


main()
