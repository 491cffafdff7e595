"""Serving stack `manifests`: plain Deployments and the vLLM router. One component per model deployment."""

from __future__ import annotations

import pulumi

from components.autoscaling.model_scaling import ModelScalingArgs, create_model_scaling
from components.base import Component
from components.serving import router
from components.serving.base import ModelDeploymentArgs, ServingContext
from components.serving.engine import create_engine, engine_name


class ModelDeployment(Component):
    """Engines, router and scaling of one served model.

    It has no components of its own: with fifty models each further level is paid fifty times.

    Attributes:
        model: the name that clients send.
        engine_deployment: name of the Deployment that is scaled.
        service: name of the Service that takes the model's requests.
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
        self.engine_deployment = engine_name(args.name)
        self.service = router.router_name(args.name)
        deployment = create_engine(self, name, context, args)
        router.create_router(self, name, context, args)
        create_model_scaling(
            self,
            name,
            ModelScalingArgs(
                model=args.name,
                scaling=args.scaling,
                labels=context.labels,
                cluster=context.cluster,
                gateway_host=context.gateway_host,
                deployment=self.engine_deployment,
                service=self.service,
                port=router.PORT,
                response_header_seconds=args.timing.response_header_seconds,
            ),
            deployment,
        )
        self.register_outputs(
            {"model": self.model, "engineDeployment": self.engine_deployment, "service": self.service}
        )


class Manifests:
    """The serving stack."""

    def __init__(self, context: ServingContext) -> None:
        self._context = context

    def deploy(self, args: ModelDeploymentArgs) -> ModelDeployment:
        """Serve a model."""
        opts = pulumi.ResourceOptions(provider=self._context.cluster.provider)
        return ModelDeployment(args.name, self._context, args, opts)
