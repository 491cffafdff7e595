"""Serving stack `production-stack`: a Helm Release per model deployment, and what the chart lacks beside it.

A Release of its own for each model: a change of one touches no other, and a name is free of the others' limits. The
chart brings the engines' Deployment and Service (and LMCache, LoRA, claims where the values ask for them). Beside
it are made: a ServiceAccount without a token, a PodDisruptionBudget, the router that holds requests while the model
is at zero (the chart's own answers 503), the route and the ScaledObject, and a patch of the Deployment with what the
chart has no values for: the drain on deletion and the time for it.
"""

from __future__ import annotations

import pulumi
from pulumi_kubernetes.apps.v1 import DeploymentPatch, DeploymentSpecPatchArgs
from pulumi_kubernetes.core.v1 import (
    ContainerPatchArgs,
    LifecycleHandlerPatchArgs,
    LifecyclePatchArgs,
    PodSpecPatchArgs,
    PodTemplateSpecPatchArgs,
    SleepActionPatchArgs,
)
from pulumi_kubernetes.helm.v3 import Release
from pulumi_kubernetes.meta.v1 import ObjectMetaPatchArgs

from components.autoscaling.model_scaling import create_model_scaling
from components.base import Component
from components.pods import SKIP_AWAIT
from components.serving import engine, router
from components.serving.base import ModelDeploymentArgs, ServingContext
from components.serving.production_stack.chart import ChartSource
from components.serving.production_stack.render import chart_values, deployment_name, engine_service
from components.serving.scaling import scaling_of
from components.serving.topologies import Workers
from components.timing import PRE_STOP_SECONDS

RELEASE_TIMEOUT_SECONDS = 600
"""Longest install or upgrade: objects are made, pods are not waited for (a model may be at zero)."""

CONTAINER = "vllm"
"""The engine's container in the chart's Deployment."""


class ProductionStackModel(Component):
    """One served model.

    Attributes:
        model: the name that clients send.
        engine_deployment: name of the Deployment that is scaled; of several kinds of workers, the last one's.
        service: name of the Service that takes the model's requests.
        engine_service: name of the chart's Service of those engines.
    """

    def __init__(
        self,
        name: str,
        context: ServingContext,
        args: ModelDeploymentArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("serving", name, opts, after=context.after)
        self.model = args.name
        self.engine_deployment = deployment_name(args.name, args.workers[-1].kind)
        self.engine_service = engine_service(args.name, args.workers[-1].kind)
        self.service = router.service_of(context, args.name)
        account = engine.create_account(self, name, context, args.name)
        before: list[pulumi.Resource] = [account]
        if context.preload:
            from components.serving.weights_download import create_download

            before.append(create_download(self, name, context, args))
        release = self._release(name, context, args, before)
        groups = []
        for workers in args.workers:
            patch = self._patch(workers.logical(name), context, args, release, workers)
            engine.create_disruption_budget(self, name, context, args.name, workers)
            # The chart leaves `replicas` out, so the API server makes one: it goes at once unless somebody asks.
            scaling = scaling_of(context, args, workers, deployment_name(args.name, workers.kind), self.service, 0)
            groups.append((workers.logical(name), scaling, patch))
        if not context.shared_router:
            router.create_router(self, name, context, args)
        create_model_scaling(self, name, groups)
        self.register_outputs(
            {
                "model": self.model,
                "engineDeployment": self.engine_deployment,
                "engineService": self.engine_service,
                "service": self.service,
            }
        )

    def _release(
        self, name: str, context: ServingContext, args: ModelDeploymentArgs, before: list[pulumi.Resource]
    ) -> Release:
        values = chart_values(context, args, runtime_class=context.cluster.runtime_class, extra=args.chart_values)
        return Release(
            f"{name}-release",
            name=args.name,
            namespace=context.labels.namespace,
            **ChartSource(**context.chart_source).release_inputs(),
            values=values.render(),
            timeout=RELEASE_TIMEOUT_SECONDS,
            cleanup_on_fail=True,
            # At zero replicas there is nothing to wait for; a first engine may take longer than any sensible timeout.
            skip_await=True,
            opts=self.child(*before, *context.cluster.autoscaling),
        )

    def _patch(
        self, name: str, context: ServingContext, args: ModelDeploymentArgs, release: Release, workers: Workers
    ) -> DeploymentPatch:
        """What the chart has no values for. Helm leaves alone what its own manifests do not name."""
        sleep = LifecycleHandlerPatchArgs(sleep=SleepActionPatchArgs(seconds=PRE_STOP_SECONDS))
        return DeploymentPatch(
            f"{name}-drain",
            metadata=ObjectMetaPatchArgs(
                name=deployment_name(args.name, workers.kind),
                namespace=context.labels.namespace,
                annotations={**SKIP_AWAIT, "pulumi.com/patchForce": "true"},
            ),
            spec=DeploymentSpecPatchArgs(
                template=PodTemplateSpecPatchArgs(
                    spec=PodSpecPatchArgs(
                        automount_service_account_token=False,
                        enable_service_links=False,
                        termination_grace_period_seconds=args.timing.grace_period_seconds,
                        containers=[ContainerPatchArgs(name=CONTAINER, lifecycle=LifecyclePatchArgs(pre_stop=sleep))],
                    )
                )
            ),
            # Taking the patch back would roll engines out that the release removes in the next moment.
            opts=pulumi.ResourceOptions.merge(self.child(release), pulumi.ResourceOptions(retain_on_delete=True)),
        )


class ProductionStack:
    """The serving stack."""

    def __init__(self, context: ServingContext) -> None:
        self._context = context

    def deploy(self, args: ModelDeploymentArgs) -> ProductionStackModel:
        """Serve a model."""
        opts = pulumi.ResourceOptions(provider=self._context.cluster.provider)
        return ProductionStackModel(args.name, self._context, args, opts)
