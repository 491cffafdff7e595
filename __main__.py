"""The Pulumi program: the configuration of a stack, built."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from importlib import import_module
from pathlib import Path

import pulumi

FEW_COLLECTIONS = 200_000
"""Objects that are made before Python looks for garbage. The process lives for one run and keeps what it makes, so that
looking after every 700 objects, as usual, is a fifth of its time and finds next to nothing."""


async def main() -> None:
    """Build the environment of this stack; what the user has to mend is said before anything is registered.

    What takes long to import is imported in a thread, when the engine has work: it starts the cluster's provider, and
    asks it about the nodes, in the time.
    """
    from components.clouds import CloudSdkMissingError
    from components.cluster import ClusterUnreachableError
    from stacks.cluster import create_cluster
    from stacks.config import load_environment
    from stacks.errors import ConfigError
    from stacks.node_pools import create_node_pools
    from stacks.sdk_messages import drop_debug_messages
    from stacks.secret_values import secret_values

    drop_debug_messages()
    stack = pulumi.get_stack()
    try:
        config = load_environment(pulumi.Config().require_object("environment"), stack)
        secrets = secret_values(config, stack)
        cluster = create_cluster(config, stack)
    except (ConfigError, ClusterUnreachableError, CloudSdkMissingError) as error:
        raise pulumi.RunError(str(error)) from None
    await asyncio.to_thread(import_module, "pulumi_kubernetes.core.v1")
    node_pools = create_node_pools(config, stack, cluster)
    await asyncio.to_thread(import_module, "stacks.environment")
    from stacks.environment import build_on

    build_on(cluster, node_pools, config, stack, secrets).export()


gc.set_threshold(FEW_COLLECTIONS)
# Pydantic would read what every installed package offers, to find plugins for itself; there are none here.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
# The folder of the program, which Python takes off the path again at the end of this file: main comes after it.
sys.path.insert(0, str(Path(__file__).parent))
pulumi.run(main)
