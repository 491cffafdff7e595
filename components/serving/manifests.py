"""Serving stack `manifests`: plain Deployments and the vLLM router. One component per model deployment."""

from __future__ import annotations

import pulumi

from components.autoscaling.model_scaling import create_model_scaling
from components.base import Component
from components.serving import router
from components.serving.base import ModelDeploymentArgs, ServingContext
from components.serving.engine import create_engines
from components.serving.scaling import scaling_of


class ModelDeployment(Component):
    """Engines, router and scaling of one served model.

    It has no components of its own: with fifty models each further level is paid fifty times.

    Attributes:
        model: the name that clients send.
        engine_deployment: name of the Deployment that is scaled; of several kinds of workers, the last one's.
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
        self.engine_deployment = args.workers[-1].name(args.name)
        self.service = router.service_of(context, args.name)
        deployments = create_engines(self, name, context, args)
        if not context.shared_router:
            router.create_router(self, name, context, args)
        create_model_scaling(
            self,
            name,
            [
                (
                    workers.logical(name),
                    scaling_of(context, args, workers, workers.name(args.name), self.service),
                    deployments[workers.kind],
                )
                for workers in args.workers
            ],
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
