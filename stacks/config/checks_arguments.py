"""The engine's further arguments, checked against what the pinned engine's own parser takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from planner.alternatives import Placement
from planner.sizing import DoesNotFitError, EngineLimits, SizingError
from stacks.config.engine_flags import flags_of
from stacks.config.models import ModelDeployment, NodePool
from stacks.config.placement import engine_limits, gpu_of, place
from stacks.config.salvage import has
from stacks.config.vocabulary import Cloud
from stacks.errors import MISSING, FieldError

if TYPE_CHECKING:
    from planner.flags.catalogue import Catalogue
    from planner.flags.errors import FlagError
    from planner.flags.words import Value


def engine_catalogue(deployment: ModelDeployment) -> Catalogue | None:
    """The flags of the engine that would run; None if the engine is broken or has no catalogue."""
    if not has(deployment, "engine") or not has(deployment.engine, "name"):
        return None
    from planner.flags.catalogue import UnknownEngineError, catalogue

    image = flags_of(deployment.engine).image
    try:
        return catalogue(deployment.engine.name.value, image.rpartition(":")[2]) if image else None
    except UnknownEngineError:
        return None


def check_arguments(
    cloud: Cloud | None, pool: NodePool | None, deployment: ModelDeployment, arguments: Mapping[str, Value], path: str
) -> Iterator[FieldError]:
    """What the engine would refuse, or silently not do.

    Args:
        cloud: None if it is not known.
        pool: the deployment's node pool, None if there is no such pool.
        deployment: valid, or salvaged.
        arguments: those of `engine.extra_args` that the user may give.
        path: of the engine.
    """
    known = engine_catalogue(deployment)
    if known is None:
        return
    # Most deployments have no arguments of their own: whoever has none does not wait for this.
    from planner.flags.check import check_engine_arguments
    from planner.flags.surroundings import Surroundings

    placement = None if pool is None else place(cloud, pool, deployment)
    around = Surroundings(
        model=None if placement is None else placement.model,
        gpu=None if pool is None else gpu_of(pool),
        # Nobody who only leaves the default should have to argue with it: see warnings.py.
        router_policy=deployment.router_policy.value if "router_policy" in deployment.model_fields_set else None,
    )
    written = _written_by_the_platform(pool, placement, deployment)
    for error in check_engine_arguments(known.engine, known.version, {**written, **arguments}, around):
        yield _field_error(error, path, flags_of(deployment.engine).limits)


def _written_by_the_platform(
    pool: NodePool | None, placement: Placement | None, deployment: ModelDeployment
) -> dict[str, Value]:
    """The limits that the engine gets beside the user's arguments: configured, or derived by the plan."""
    engine, fields = deployment.engine, flags_of(deployment.engine).limits
    limits: EngineLimits | None = None
    if pool is not None and placement is not None and has(engine, *fields.values()):
        with contextlib.suppress(SizingError, DoesNotFitError):
            limits = engine_limits(pool, deployment)
    source: object = engine if limits is None else limits
    values = {flag: getattr(source, field, None) for flag, field in fields.items()}
    return {flag: value for flag, value in values.items() if value is not None}


def _field_error(error: FlagError, path: str, fields: Mapping[str, str]) -> FieldError:
    field = fields.get(error.flag)
    where = f"{path}.{field}" if field else f"{path}.extra_args.{error.flag}"
    value = MISSING if error.value is None else error.value
    return FieldError(where, value, error.message, error.choices, error.fix)
