"""What an environment's rules and dashboards need to know, from its configuration and its plan."""

from __future__ import annotations

from components.labels import EnvironmentLabels
from components.observability.objects import EnvironmentFacts, ModelFacts, PoolFacts
from planner.plan import EnvironmentPlan
from stacks.config import EnvironmentConfig


def environment_facts(config: EnvironmentConfig, plan: EnvironmentPlan, labels: EnvironmentLabels) -> EnvironmentFacts:
    """Prices are the plan's, so that what the rules record can be held against what the plan says."""
    prices = {model.name: model.price_per_replica_hour for model in plan.models}
    return EnvironmentFacts(
        namespace=labels.namespace,
        models=[
            ModelFacts(
                name=deployment.name,
                node_pool=deployment.node_pool,
                price_per_replica_hour=prices[deployment.name],
                startup_budget_seconds=deployment.scaling.startup_budget_seconds,
                slo=deployment.slo.as_slo(),
            )
            for deployment in config.model_deployments
        ],
        pools=[PoolFacts(name=pool.name, price_per_node_hour=pool.price_per_hour) for pool in plan.pools],
    )
