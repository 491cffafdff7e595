"""What random environments of every cloud have in common, and the check that each is a plan or errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from planner.catalog import gpus, instances, models
from planner.sizing import computes
from stacks.config import EnvironmentConfig, load_environment
from stacks.errors import ConfigError

Raw = dict[str, Any]

TIMES = 2000
SMALL = "meta-llama/Llama-3.2-1B-Instruct"


def random_sharing(random: Random, gpu: str) -> Raw:
    """A way of splitting this GPU, that it has."""
    profiles = sorted(gpus()[gpu].mig_profiles)
    mode = random.choice(["none", "none", "time-slicing", "mps", *(["mig"] if profiles else [])])
    if mode == "mig":
        return {"mode": mode, "profile": random.choice(profiles)}
    return {"mode": mode} if mode == "none" else {"mode": mode, "replicas": random.randint(2, 4)}


def random_deployment(random: Random, index: int, pool: Raw) -> Raw:
    """A small model that fits this pool, in a type that its GPU computes."""
    gpu = pool.get("accelerator") or instances()[pool["instance_type"]].gpu
    half = not computes(gpus()[gpu], models()[SMALL].dtype)
    share = round(0.84 / pool["sharing"].get("replicas", 1), 2)
    words = {"extra_args": {"dtype": "half"}} if half else {}
    return {
        "name": f"model-{index}",
        "source": {"hugging_face": SMALL},
        "engine": {"max_model_len": 1024, "gpu_memory_utilization": share, **words},
        "node_pool": pool["name"],
        "scaling": {"min_replicas": random.randint(0, 1), "max_replicas": random.randint(1, 8)},
    }


def spoil(random: Random, value: Any, share: float, wrong: tuple[Any, ...]) -> None:
    """Put wrong values into a share of the fields."""
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        if random.random() < share:
            value[key] = random.choice(wrong)
        else:
            spoil(random, value[key], share, wrong)


def check_environments(
    make: Callable[[Random, float], Raw],
    wrong: float,
    fields: tuple[str, ...],
    use: Callable[[int, EnvironmentConfig], None],
) -> None:
    """Load environments, every second one spoiled: each is a plan, or errors of which each names its field.

    Args:
        make: makes one; the second argument is the share of its fields that it spoils.
        wrong: that share.
        fields: what an error's path may begin with.
        use: what is asserted of each that loads, with its seed.
    """
    ends: Counter[str] = Counter()
    for seed in range(TIMES):
        raw = make(Random(seed), wrong if seed % 2 else 0.0)
        try:
            config = load_environment(raw, "dev")
        except ConfigError as error:
            ends["errors"] += 1
            for item in error.errors:
                assert item.path.startswith(fields), (seed, item)
                assert item.message, (seed, item)
                assert "\n" not in item.line(), (seed, item)
            continue
        ends["plans"] += 1
        use(seed, config)
    # Both ends are reached often enough to mean something.
    assert ends["plans"] > TIMES / 4, ends
    assert ends["errors"] > TIMES / 4, ends
