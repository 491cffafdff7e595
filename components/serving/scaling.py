"""A model deployment's workers as the autoscaler sees them."""

from __future__ import annotations

from components.autoscaling.model_scaling import ModelScalingArgs
from components.serving import router
from components.serving.base import ModelDeploymentArgs, ServingContext
from components.serving.engines import program_of
from components.serving.topologies import Workers


def scaling_of(  # noqa: PLR0917 - what a serving stack has at hand
    context: ServingContext,
    args: ModelDeploymentArgs,
    workers: Workers,
    deployment: str,
    service: str,
    initial_cooldown_seconds: int | None = None,
) -> ModelScalingArgs:
    """What is scaled, by what.

    Args:
        context: where.
        args: the model deployment.
        workers: the kind that is scaled.
        deployment: name of their Deployment.
        service: that gets the model's requests.
        initial_cooldown_seconds: how long a replica stays that is there before any request; None: the cooldown.
    """
    return ModelScalingArgs(
        model=args.name,
        scaling=workers.scaling,
        labels=context.labels,
        cluster=context.cluster,
        gateway_host=context.gateway_host,
        deployment=deployment,
        service=service,
        port=router.PORT,
        response_header_seconds=args.timing.response_header_seconds,
        initial_cooldown_seconds=initial_cooldown_seconds,
        role=workers.role,
        waiting_query="" if workers.role else _waiting_query(context, args, deployment),
    )


def _waiting_query(context: ServingContext, args: ModelDeploymentArgs, deployment: str) -> str:
    """The engine's own; workers of a role are vLLM's, told apart by their pods."""
    return program_of(args.engine).waiting_query(context.labels.namespace, args.name, f"{deployment}-.+")
