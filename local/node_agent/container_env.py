"""A container's environment, with the order and the errors of the kubelet.

Source of the rules: pkg/kubelet/kubelet_pods.go, makeEnvironmentVariables. Variables
of Services (`enableServiceLinks`) are left out: names are resolved through DNS.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from lightkube.models.core_v1 import (
    ConfigMapKeySelector,
    Container,
    EnvFromSource,
    EnvVarSource,
    SecretKeySelector,
)

from local.node_agent.expansion import expand
from local.node_agent.fields import ContainerConfigError, PodFields, meta
from local.node_agent.kubernetes import ObjectReader


async def container_environment(container: Container, fields: PodFields, objects: ObjectReader) -> dict[str, str]:
    """The variables that the container's ``envFrom`` and ``env`` define.

    ``env`` wins over ``envFrom``, the later over the earlier. ``$(NAME)`` in a literal value
    sees the variables before it; values from elsewhere are not expanded.

    Raises:
        ContainerConfigError: a ConfigMap, Secret or key is missing and not optional.
    """
    namespace = meta(fields.pod).namespace or ""
    variables: dict[str, str] = {}
    for source in container.envFrom or []:
        variables |= await _from_whole_object(source, namespace, objects)
    for variable in container.env or []:
        if variable.value:
            value: str | None = expand(variable.value, variables)
        elif variable.valueFrom is not None:
            value = await _from_source(variable.valueFrom, container, fields, objects)
        else:
            value = ""
        if value is not None:
            variables[variable.name] = value
    return variables


async def _from_whole_object(source: EnvFromSource, namespace: str, objects: ObjectReader) -> Mapping[str, str]:
    prefix = source.prefix or ""
    data: Mapping[str, str] = {}
    if source.configMapRef is not None:
        name = source.configMapRef.name or ""
        data = await _config_map(objects, namespace, name, optional=bool(source.configMapRef.optional)) or {}
    elif source.secretRef is not None:
        name = source.secretRef.name or ""
        data = await _secret(objects, namespace, name, optional=bool(source.secretRef.optional)) or {}
    # The kubelet leaves out keys that cannot be names of variables, and so do we.
    return {prefix + key: value for key, value in data.items() if _can_be_name(prefix + key)}


async def _from_source(
    source: EnvVarSource, container: Container, fields: PodFields, objects: ObjectReader
) -> str | None:
    """The value; None where an optional object or key is missing, which leaves the variable out."""
    if source.fieldRef is not None:
        return fields.field(source.fieldRef.fieldPath)
    if source.resourceFieldRef is not None:
        return fields.resource(source.resourceFieldRef, container)
    namespace = meta(fields.pod).namespace or ""
    if source.configMapKeyRef is not None:
        selector: ConfigMapKeySelector | SecretKeySelector = source.configMapKeyRef
        data = await _config_map(objects, namespace, selector.name or "", optional=bool(selector.optional))
        return _pick(data, selector, f"ConfigMap {namespace}/{selector.name}")
    if source.secretKeyRef is not None:
        selector = source.secretKeyRef
        data = await _secret(objects, namespace, selector.name or "", optional=bool(selector.optional))
        return _pick(data, selector, f"Secret {namespace}/{selector.name}")
    raise ContainerConfigError("env: this kind of valueFrom is not built on the local cloud")


def _pick(data: Mapping[str, str] | None, selector: ConfigMapKeySelector | SecretKeySelector, where: str) -> str | None:
    if data is not None and selector.key in data:
        return data[selector.key]
    if selector.optional:
        return None
    raise ContainerConfigError(f"couldn't find key {selector.key} in {where}")


async def _config_map(objects: ObjectReader, namespace: str, name: str, *, optional: bool) -> Mapping[str, str] | None:
    found = await objects.config_map(namespace, name)
    if found is None and not optional:
        raise ContainerConfigError(f'configmap "{name}" not found')
    return None if found is None else found.data or {}


async def _secret(objects: ObjectReader, namespace: str, name: str, *, optional: bool) -> Mapping[str, str] | None:
    found = await objects.secret(namespace, name)
    if found is None:
        if optional:
            return None
        raise ContainerConfigError(f'secret "{name}" not found')
    return {key: _text(name, key, value) for key, value in (found.data or {}).items()}


def _text(secret: str, key: str, encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ContainerConfigError(f"key {key} in Secret {secret} is not text, mount it as a file") from None


def _can_be_name(name: str) -> bool:
    return bool(name) and name.isascii() and name.isprintable() and "=" not in name
