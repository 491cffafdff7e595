"""An order: the ten lines that a team writes, and the environment that comes of them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError

from stacks.config.base import FlagName, FlagValue, HuggingFaceId, Int, Name, Region, Strictly
from stacks.config.load import load_environment
from stacks.config.models_tenancy import KeyHash
from stacks.config.vocabulary import Cloud
from stacks.selfservice.catalog import Catalog, Template, problems, read_yaml
from stacks.selfservice.exits import CommandError, Exit

HOURS = {"h": 1, "d": 24, "w": 168}
Duration = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,4}[hdw]$")]


class OrderedModel(Strictly):
    """A model that a team wants served."""

    name: Name = Field(description="What clients send as `model`.")
    model: HuggingFaceId = Field(description="organisation/model on Hugging Face.")
    max_replicas: Int = Field(default=1, ge=1, description="Most replicas.")
    min_replicas: Int = Field(default=0, ge=0, description="Fewest replicas; 0 lets an idle model cost nothing.")
    engine: Mapping[FlagName, FlagValue] = Field(default_factory=dict, description="engine of the configuration.")


class Order(Strictly):
    """What a team writes."""

    name: Name = Field(description="Of the environment.")
    team: Name = Field(description="A team of the catalogue.")
    template: Name = Field(description="A template of the catalogue.")
    models: tuple[OrderedModel, ...] = Field(min_length=1, description="What is served.")
    region: Region | None = Field(default=None, description="One of those that the template allows.")
    ttl: Duration | None = Field(default=None, description="Life: 12h, 5d, 2w.")
    api_key_hashes: tuple[KeyHash, ...] = Field(default=(), description="Written by the commands that make keys.")


@dataclass(frozen=True)
class Rendered:
    """What an order comes to.

    Attributes:
        environment: for Pulumi.<name>.yaml.
        dollars_per_hour: what it costs at its largest; its share where it has no cluster of its own.
        ttl_hours: its life.
    """

    environment: dict[str, Any]
    dollars_per_hour: float
    ttl_hours: float


def read_order(path: Path) -> Order:
    """Read an order from a file.

    Raises:
        CommandError: with every mistake.
    """
    return check_order(read_yaml(path), str(path))


def check_order(data: object, origin: str) -> Order:
    """An order from plain data.

    Raises:
        CommandError: with every mistake.
    """
    try:
        return Order.model_validate(data)
    except ValidationError as error:
        lines = "\n  ".join(problems(error))
        raise CommandError(f"{origin}: the order has mistakes:\n  {lines}") from None


def hours(duration: str) -> float:
    """A duration (12h, 5d, 2w) in hours."""
    amount = re.fullmatch(r"(\d+)([hdw])", duration)
    assert amount is not None, duration  # noqa: S101 - the type of the field has checked it
    return int(amount[1]) * HOURS[amount[2]]


def render(order: Order, catalog: Catalog) -> Rendered:
    """The environment of an order, within what the template allows.

    Raises:
        CommandError: it asks for more than the template allows (every reason at once).
        ConfigError: the environment that comes of it cannot be.
    """
    template = catalog.template(order.template)
    team = catalog.team(order.team)
    reasons = list(_beyond(order, template))
    if team.templates and order.template not in team.templates:
        reasons.append(f"team {order.team} may order {', '.join(team.templates)}, not {order.template}")
    if reasons:
        raise CommandError(f"{order.name} is refused:\n  " + "\n  ".join(reasons), Exit.REFUSED)
    environment = _environment(order, template)
    cost = _cost(environment, order.name)
    if cost > template.dollars_per_hour:
        raise CommandError(
            f"{order.name} is refused: it may cost ${cost:.2f} per hour, template {order.template} allows "
            f"${template.dollars_per_hour:.2f}. Order fewer replicas.",
            Exit.REFUSED,
        )
    return Rendered(environment, cost, hours(order.ttl) if order.ttl else template.ttl_hours)


def _beyond(order: Order, template: Template) -> Any:  # noqa: ANN401 - an iterator of texts
    choices = template.choices
    if len(order.models) > choices.max_models:
        yield f"models: {len(order.models)} are ordered, {choices.max_models} are allowed"
    for item in order.models:
        if not any(fnmatch.fnmatchcase(item.model, pattern) for pattern in choices.models):
            yield f"models.{item.name}: {item.model} is not one of {', '.join(choices.models)}"
        if item.max_replicas > choices.max_replicas:
            yield f"models.{item.name}.max_replicas: {item.max_replicas} is above {choices.max_replicas}"
        if item.min_replicas and not choices.always_on:
            yield f"models.{item.name}.min_replicas: {item.min_replicas}; an idle model goes to zero here"
    if order.region and order.region not in choices.regions:
        allowed = ", ".join(choices.regions) or "those that may be chosen: it is the template's"
        yield f"region: {order.region} is not one of {allowed}"
    if order.ttl and hours(order.ttl) > template.ttl_hours:
        yield f"ttl: {order.ttl} is longer than {template.ttl_hours:g} hours"


def _environment(order: Order, template: Template) -> dict[str, Any]:
    base = dict(template.environment)
    deployments = [
        {
            "name": item.name,
            "source": {"hugging_face": item.model},
            "node_pool": template.node_pool,
            "engine": dict(item.engine),
            "scaling": {
                **template.scaling,
                "min_replicas": item.min_replicas,
                "max_replicas": item.max_replicas,
            },
        }
        for item in order.models
    ]
    tenancy: dict[str, Any] = {**base.get("tenancy", {})}
    if template.quota:
        tenancy["quota"] = template.quota.model_dump(exclude_none=True)
    if order.api_key_hashes:
        tenancy["api_key_hashes"] = list(order.api_key_hashes)
    return {
        **base,
        **({"region": order.region} if order.region else {}),
        "model_deployments": deployments,
        "tenancy": tenancy,
        "tags": {**base.get("tags", {}), "owner": order.team},
    }


def _cost(environment: dict[str, Any], name: str) -> float:
    from stacks.plan import plan_config

    config = load_environment(environment, name)
    plan = plan_config(config, name).to_json()
    if config.cloud is not Cloud.EXISTING:
        return float(plan["hourly_max"])
    # The cluster's nodes belong to all who share it: an environment pays for what its replicas take.
    return float(sum((row["price_per_replica_hour"] or 0) * row["replicas_max"] for row in plan["models"]))
