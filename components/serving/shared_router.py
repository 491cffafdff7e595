"""One router for all models of an environment, instead of one for each.

`vllm-router` knows several models in its mode ``--enable-igw``: it asks a worker which model it serves when it finds
it, and sends a request to the workers of its model. Measured on 0.1.17: a request for a model that has no worker goes
to another model's, which answers 404 (without ``--enable-igw`` half of all requests do, with two models); the hold of
a router of its own is not there. So whoever uses it keeps at least one worker of each model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pulumi

from components.base import Component
from components.labels import EnvironmentLabels, Workload
from components.serving import router
from components.serving.base import ModelDeploymentArgs, ServingContext
from components.serving.topologies import selector_words
from components.timing import RequestTiming

NAME: Final = str(Workload.ROUTER)


def shared_router_args(labels: EnvironmentLabels, deployments: Sequence[ModelDeploymentArgs]) -> router.RouterArgs:
    """A router that is as patient as the slowest model, and drains for as long as the longest drain.

    Raises:
        ValueError: the models want different policies.
    """
    policies = sorted({item.router_policy for item in deployments})
    if len(policies) != 1:
        raise ValueError(f"one router has one policy, and the models want {', '.join(policies)}")
    return router.RouterArgs(
        name=NAME,
        labels=labels.of(Workload.ROUTER),
        selector=labels.selector(Workload.ROUTER),
        policy=policies[0],
        timing=RequestTiming(
            max(item.timing.startup_budget_seconds for item in deployments),
            max(item.timing.drain_seconds for item in deployments),
        ),
        discovery=["--enable-igw", "--service-discovery", "--selector", *selector_words(labels, None)],
    )


def shared_router_words(labels: EnvironmentLabels, deployments: Sequence[ModelDeploymentArgs]) -> list[str]:
    """Its command line."""
    args = shared_router_args(labels, deployments)
    return router.router_arguments(labels, args.policy, args.timing, args.discovery)


class SharedRouter(Component):
    """The router of all models.

    Attributes:
        service: name of the Service that takes all models' requests.
    """

    def __init__(
        self,
        name: str,
        context: ServingContext,
        deployments: Sequence[ModelDeploymentArgs],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("serving", name, opts, after=context.after)
        self.service = NAME
        router.create_router_objects(self, name, context, shared_router_args(context.labels, deployments))
        self.register_outputs({"service": self.service})
