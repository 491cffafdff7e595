"""Two thousand random environments on AWS: each is a plan, or errors that name their fields.

Does not prove that a plan is right, nor that AWS would take what is made of it (tests/contract).
"""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from stacks.config import load_environment
from stacks.errors import ConfigError
from stacks.plan import plan_config
from tests.unit.components.aws.aws_configs import random_environment

pytestmark = pytest.mark.unit

TIMES = 2000
FIELDS = ("cloud", "serving_stack", "region", "node_pools", "model_deployments", "weights", "cluster", "tags", "aws")


def test_a_plan_or_a_clear_error() -> None:
    ends: Counter[str] = Counter()
    for seed in range(TIMES):
        raw = random_environment(Random(seed), wrong=0.02 if seed % 2 else 0.0)
        try:
            config = load_environment(raw, "dev")
        except ConfigError as error:
            ends["errors"] += 1
            for item in error.errors:
                assert item.path.startswith(FIELDS), (seed, item)
                assert item.message, (seed, item)
                assert "\n" not in item.line(), (seed, item)
            continue
        if seed % 8 == 0:
            assert len(plan_config(config, "dev").lines()) > 1, seed
        ends["plans"] += 1
    # Both ends are reached often enough to mean something.
    assert ends["plans"] > TIMES / 4, ends
    assert ends["errors"] > TIMES / 4, ends
