"""A user's own values of the chart, checked before anything is rendered; without Pulumi."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from components.serving.production_stack.values.base import SecretRef
from components.serving.production_stack.values.chart import ChartValues

SKELETON: Final[Mapping[str, Any]] = {
    "servingEngineSpec": {
        "labels": {},
        "strategy": {},
        "runtimeClassName": "",
        "modelSpec": [
            {
                "name": "engine",
                "repository": "repository",
                "tag": "tag",
                "modelURL": "model",
                "replicaCount": 0,
                "resources": {},
                "vllmConfig": {"enablePrefixCaching": True},
            }
        ],
    },
    "routerSpec": {"enableRouter": False},
}
"""The least that the types want: what we always set."""

OWNED: Final[Mapping[tuple[str, ...], str]] = {
    ("servingEngineSpec", "labels"): "they select one environment's pods of one model",
    ("servingEngineSpec", "containerPort"): "every engine listens on 8000",
    ("servingEngineSpec", "enableEngine"): "remove the model deployment instead",
    ("servingEngineSpec", "modelSpec", "name"): "it is part of names that others rely on",
    ("servingEngineSpec", "modelSpec", "modelURL"): "set source.hugging_face",
    ("servingEngineSpec", "modelSpec", "replicaCount"): "the autoscaler owns it: set scaling.min_replicas",
    ("servingEngineSpec", "modelSpec", "keda"): "set scaling: the chart's own trigger never fires",
    ("servingEngineSpec", "modelSpec", "raySpec"): (
        "with it the chart makes a RayCluster, and no Deployment to be scaled, drained and rolled out; a replica runs "
        "on one node"
    ),
    ("servingEngineSpec", "modelSpec", "resources"): "they follow from node_pool and engine.tensor_parallel",
    ("servingEngineSpec", "modelSpec", "nodeSelectorTerms"): "set node_pool",
    ("servingEngineSpec", "modelSpec", "affinity"): "with it the chart forgets the node pool: set node_pool",
    ("servingEngineSpec", "modelSpec", "serviceAccountName"): "the engines' account has no token and stays so",
    ("servingEngineSpec", "modelSpec", "pdb"): "there is one already",
    ("servingEngineSpec", "modelSpec", "vllmConfig", "maxModelLen"): "set engine.max_model_len",
    ("servingEngineSpec", "modelSpec", "vllmConfig", "maxNumSeqs"): "set engine.max_num_seqs",
    ("servingEngineSpec", "modelSpec", "vllmConfig", "gpuMemoryUtilization"): "set engine.gpu_memory_utilization",
    ("servingEngineSpec", "modelSpec", "vllmConfig", "tensorParallelSize"): "set engine.tensor_parallel",
    ("servingEngineSpec", "modelSpec", "vllmConfig", "extraArgs"): "set engine.extra_args, which is checked",
    ("servingEngineSpec", "modelSpec", "lmcacheConfig", "enablePD"): (
        "it gives engines the node's processes and memory segments; set topology: {kind: disaggregated}"
    ),
    ("kube-prometheus-stack",): "the cluster has its own Prometheus",
    ("prometheus-adapter",): "KEDA is there",
}
"""Values that the platform writes itself, and where they come from."""


BY_REFERENCE: Final = "Values are kept in the state and in the release: put it into a Secret and name that."


@dataclass(frozen=True)
class ValueProblem:
    """Something wrong with a value.

    Attributes:
        path: keys from the top of the values.
        value: what stands there.
        message: what is wrong; a clause.
        choices: what could stand there instead, the nearest first.
        fix: what to do; a sentence, or "".
    """

    path: tuple[str | int, ...]
    value: object
    message: str
    choices: tuple[str, ...] = ()
    fix: str = ""


def overlay(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Maps are merged, everything else is replaced. `modelSpec`, given as a map, is laid over each of ours."""
    merged = dict(base)
    for key, value in extra.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = overlay(old, value)
        elif key == "modelSpec" and isinstance(value, Mapping) and isinstance(old, list):
            merged[key] = [overlay(item, value) for item in old]
        else:
            merged[key] = value
    return merged


def check_values(extra: Mapping[str, Any]) -> Iterator[ValueProblem]:
    """Everything wrong with a user's own values.

    Args:
        extra: as in the chart's values.yaml, `modelSpec` as a map (there is one model per release).
    """
    for path, reason in OWNED.items():
        found = _at(extra, path)
        if found is not None:
            yield ValueProblem(path, found, "is written by the platform", fix=f"Remove it: {reason}.")
    spec = _at(extra, ("servingEngineSpec", "modelSpec"))
    if spec is not None and not isinstance(spec, Mapping):
        message = "must be a map: a release has one model"
        yield ValueProblem(("servingEngineSpec", "modelSpec"), spec, message, fix="Write its keys without the dash.")
        return
    try:
        ChartValues.model_validate(overlay(SKELETON, extra))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            problem = _problem(detail["type"], tuple(detail["loc"]), detail["input"], detail["msg"])
            if problem.path[:3] not in {("servingEngineSpec", "modelSpec", "replicaCount")}:
                yield problem


def _at(values: Mapping[str, Any], path: Sequence[str]) -> object:
    found: Any = values
    for key in path:
        if not isinstance(found, Mapping) or key not in found:
            return None
        found = found[key]
    return found


def _problem(kind: str, location: tuple[str | int, ...], value: object, text: str) -> ValueProblem:
    # The one item of modelSpec is not in the user's path.
    path = tuple(part for part in location if not isinstance(part, int) or location[0] != "servingEngineSpec")
    owner, name = _owner(location[:-1]), str(location[-1]) if location else ""
    if kind == "extra_forbidden" and owner is not None:
        keys = tuple(info.alias or key for key, info in owner.model_fields.items())
        near = difflib.get_close_matches(name, keys, 1, 0.6)
        choices = (*near, *(key for key in sorted(keys) if key not in near))
        fix = f"Did you mean {near[0]}?" if near else "Remove it."
        return ValueProblem(path, value, "unknown key; the chart would ignore it in silence", choices, fix)
    message = text.removeprefix("Value error, ")
    if owner is SecretRef or _takes_secret(owner, name):
        # What stands there may be the secret itself: it is not repeated.
        return ValueProblem(path, None, "must name a Secret: {secretName: ..., secretKey: ...}", fix=BY_REFERENCE)
    if kind == "literal_error" and owner is not None:
        words = _words(owner, name)
        near = difflib.get_close_matches(str(value), words, 1, 0.4)
        fix = f"Did you mean {near[0]}?" if near else ""
        return ValueProblem(path, value, "not one of the words that can stand here", words, fix)
    if kind == "string_pattern_mismatch":
        message = "must be a quantity such as 50Gi"
    if kind == "value_error":
        message, _, fix = message.rpartition("; ")
        shown = value if isinstance(value, str) else None
        return ValueProblem(path, shown, message, fix=f"{fix[:1].upper()}{fix[1:]}.")
    return ValueProblem(path, value, message[:1].lower() + message[1:])


def _owner(location: Sequence[str | int]) -> type[BaseModel] | None:
    """The type that holds what stands at a location."""
    current: Any = ChartValues
    for part in location:
        if isinstance(part, int):
            continue
        if not (isinstance(current, type) and issubclass(current, BaseModel)):
            return None
        fields = current.model_fields
        info = next((item for key, item in fields.items() if part in {key, item.alias}), None)
        if info is None:
            return None
        current = _model_in(info.annotation)
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _model_in(annotation: Any) -> Any:  # noqa: ANN401 - annotations have no common type
    """The model inside an annotation such as ``Sequence[Model] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _model_in(inner)
        if found is not None:
            return found
    return None


def _takes_secret(owner: type[BaseModel] | None, name: str) -> bool:
    if owner is None:
        return False
    info = next((item for key, item in owner.model_fields.items() if name in {key, item.alias}), None)
    return info is not None and _model_in(info.annotation) is SecretRef


def _words(owner: type[BaseModel], name: str) -> tuple[str, ...]:
    info = next((item for key, item in owner.model_fields.items() if name in {key, item.alias}), None)
    pending, words = [info.annotation if info else None], []
    while pending:
        annotation = pending.pop()
        if get_origin(annotation) is Literal:
            words += [str(word) for word in get_args(annotation)]
        elif get_origin(annotation) in {Union, types.UnionType, Annotated} or get_args(annotation):
            pending += list(get_args(annotation))
    return tuple(words)
