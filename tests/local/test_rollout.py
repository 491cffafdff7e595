"""A new version of a model under load: with a spare GPU and without, no request fails.

The engine is a simulator with a start-up of 1.5 s. Does not prove how long a real model's rollout takes. Runs after the
tests that leave the environment as it was, and gives it its first configuration back.
"""

from __future__ import annotations

import concurrent.futures
import copy
from collections.abc import Iterator
from typing import Any

import pytest
from lightkube.resources.apps_v1 import Deployment

from tests.local.client import Answer, ask_many
from tests.local.conftest import CONFIG, NAME, Environment, engine_labels, write_config

pytestmark = pytest.mark.local


@pytest.fixture
def changeable(environment: Environment) -> Iterator[Environment]:
    """The environment; afterwards as it was."""
    yield environment
    write_config(environment.files, CONFIG)
    environment.pulumi.run("up", "--yes", "--skip-preview", "--stack", NAME)


def apply_under_load(environment: Environment, config: dict[str, Any]) -> list[Answer]:
    """Bring a configuration up while clients stream, and one round more."""
    answers: list[Answer] = []
    with concurrent.futures.ThreadPoolExecutor() as pool:
        write_config(environment.files, config)
        update = pool.submit(environment.pulumi.run, "up", "--yes", "--skip-preview", "--stack", NAME)
        while not (update.done() and rolled_out(environment)):
            answers += ask_many(environment.url, "chat", 12, stream=True, tokens=40)
        update.result()
    return answers + ask_many(environment.url, "chat", 12, stream=True, tokens=40)


def rolled_out(environment: Environment) -> bool:
    """Whether every wanted replica is of the newest version and ready."""
    (engine,) = environment.client.list(Deployment, namespace=environment.namespace, labels=engine_labels("chat"))
    assert engine.metadata is not None
    assert engine.spec is not None
    assert engine.status is not None
    seen = engine.status.observedGeneration == engine.metadata.generation
    wanted = engine.spec.replicas or 0
    return seen and (engine.status.updatedReplicas or 0) == wanted == (engine.status.readyReplicas or 0)


@pytest.mark.parametrize("rollout", ["rolling", "surge"])
def test_a_new_version_under_load_fails_no_request(changeable: Environment, rollout: str) -> None:
    config = copy.deepcopy(CONFIG)
    config["model_deployments"][0]["rollout"] = rollout
    config["model_deployments"][0]["engine"]["max_num_seqs"] = 6 if rollout == "rolling" else 7
    answers = apply_under_load(changeable, config)
    (pod, *_) = changeable.engine_pods("chat")
    assert pod.spec is not None
    assert f"--max-num-seqs={6 if rollout == 'rolling' else 7}" in (pod.spec.containers[0].args or [])
    failed = [answer for answer in answers if not answer.complete]
    print(f"{rollout}: {len(answers)} requests, {len(failed)} failed")
    assert failed == []
