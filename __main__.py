"""The Pulumi program: the configuration of a stack, built."""

from __future__ import annotations

import pulumi

from components.cluster import ClusterUnreachableError
from stacks.config import load_environment
from stacks.environment import build_environment
from stacks.errors import ConfigError
from stacks.sdk_messages import drop_debug_messages


def main() -> None:
    """Build the environment of this stack; what the user has to mend is said without a traceback."""
    drop_debug_messages()
    stack = pulumi.get_stack()
    try:
        config = load_environment(pulumi.Config().require_object("environment"), stack)
        build_environment(config, stack).export()
    except (ConfigError, ClusterUnreachableError) as error:
        raise pulumi.RunError(str(error)) from None


main()
