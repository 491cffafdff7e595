"""Two thousand random environments on AWS: each is a plan, or errors that name their fields.

Does not prove that a plan is right, nor that AWS would take what is made of it (tests/contract).
"""

from __future__ import annotations

import pytest

from stacks.config import EnvironmentConfig
from stacks.plan import plan_config
from tests.unit.components.aws.aws_configs import random_environment
from tests.unit.components.random_environments import check_environments

pytestmark = pytest.mark.unit

FIELDS = ("cloud", "serving_stack", "region", "node_pools", "model_deployments", "weights", "cluster", "tags", "aws")


def test_a_plan_or_a_clear_error() -> None:
    def use(seed: int, config: EnvironmentConfig) -> None:
        if seed % 8 == 0:
            assert len(plan_config(config, "dev").lines()) > 1, seed

    check_environments(random_environment, 0.02, FIELDS, use)
