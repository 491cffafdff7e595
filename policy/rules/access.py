"""Who can reach what: public endpoints, network policies, secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from policy.rule import Doubts, Finding, Findings, NoSettings, Rule, Severity, setting
from policy.view import Resource, at, items, known, mapping, text
from policy.workloads import helm_values, pod_of

INTERNAL: Final[Mapping[str, frozenset[str]]] = {
    "service.beta.kubernetes.io/aws-load-balancer-scheme": frozenset({"internal"}),
    "service.beta.kubernetes.io/aws-load-balancer-internal": frozenset({"true"}),
    "service.beta.kubernetes.io/azure-load-balancer-internal": frozenset({"true"}),
    "networking.gke.io/load-balancer-type": frozenset({"Internal"}),
    "cloud.google.com/load-balancer-type": frozenset({"Internal"}),
}
"""Annotations that make a load balancer private, per cloud."""

TLS_ANNOTATIONS: Final = (
    "service.beta.kubernetes.io/aws-load-balancer-ssl-cert",
    "service.beta.kubernetes.io/aws-load-balancer-ssl-ports",
)
API_KEYS: Final = "inference.platform/api-keys"
"""Annotation of an endpoint: name of the Secret with the keys that it asks for."""


@dataclass(frozen=True)
class EndpointSettings:
    """What a public endpoint must have."""

    require_keys: bool = setting(True, f"Whether it must name its API keys by the annotation {API_KEYS}.")


def public_endpoints(resource: Resource, settings: EndpointSettings) -> Findings:
    """What can be reached from the internet has TLS and asks for a key."""
    for what, notes, has_tls in _public(resource):
        if not has_tls:
            yield Finding(f"{what}: is reachable from outside the network and has no TLS")
        if settings.require_keys and not known(notes.get(API_KEYS)):
            yield Finding(f"{what}: is reachable from outside the network and asks for no API key")


def _public(resource: Resource) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """What is public, its annotations, and whether it has TLS."""
    if not resource.in_kubernetes:
        return
    annotations, spec = resource.annotations, mapping(resource.at("spec"))
    if resource.kind == "Service" and text(spec.get("type")) == "LoadBalancer":
        if not any(text(annotations.get(name)) in values for name, values in INTERNAL.items()):
            tls = any(annotations.get(name) is not None for name in TLS_ANNOTATIONS) or all(
                text(at(port, "name")).startswith(("https", "tls")) for port in items(spec.get("ports"))
            )
            yield f"Service {resource.object_name}", annotations, tls
    elif resource.kind == "Ingress":
        yield f"Ingress {resource.object_name}", annotations, bool(items(spec.get("tls")))
    elif resource.kind == "Gateway" and "gateway.networking.k8s.io" in resource.type:
        protocols = [text(at(listener, "protocol")) for listener in items(spec.get("listeners"))]
        yield f"Gateway {resource.object_name}", annotations, all(item in {"HTTPS", "TLS"} for item in protocols)
    values = helm_values(resource)
    if values is not None and text(at(values, "routerSpec", "serviceType")) == "LoadBalancer":
        notes = mapping(at(values, "routerSpec", "serviceAnnotations"))
        if not any(text(notes.get(name)) in accepted for name, accepted in INTERNAL.items()):
            has_tls = any(notes.get(name) is not None for name in TLS_ANNOTATIONS)
            keys = at(values, "servingEngineSpec", "vllmApiKey")
            yield "values.routerSpec", {**notes, **({API_KEYS: "set"} if keys else {})}, has_tls


def network_policy_present(resources: Sequence[Resource], _: NoSettings) -> Findings:
    """Every namespace that the stack makes and runs pods in is closed unless opened."""
    doubts = Doubts()
    made: dict[str, str] = {}
    closed, used = set(), set()
    for resource in resources:
        with doubts:
            if resource.type == "kubernetes:core/v1:Namespace":
                made[resource.object_name] = resource.urn
            elif resource.type == "kubernetes:networking.k8s.io/v1:NetworkPolicy" and _denies_all(resource):
                closed.add(resource.namespace)
            elif pod_of(resource) is not None:
                used.add(resource.namespace)
            elif helm_values(resource) is not None:
                used.add(text(resource.at("namespace")))
    for namespace in sorted(made.keys() & used - closed):
        yield Finding(
            f"namespace {namespace}: no NetworkPolicy closes all of its pods, so any pod of the cluster reaches them",
            made[namespace],
        )
    doubts.settle()


def _denies_all(resource: Resource) -> bool:
    spec = mapping(resource.at("spec"))
    selects_all = not mapping(at(spec, "podSelector", "matchLabels")) and not items(
        at(spec, "podSelector", "matchExpressions")
    )
    kinds = [text(item) for item in items(spec.get("policyTypes"))] or ["Ingress"]
    # A rule that names neither peers nor ports lets everybody in.
    opens_all = any(not mapping(rule) for rule in items(spec.get("ingress")))
    return selects_all and "Ingress" in kinds and not opens_all


SECRET_NAMES: Final = re.compile(
    r"(?:^|[_\-.])(?:token|password|passwd|secret|api[_\-]?key|access[_\-]?key|private[_\-]?key|credential)s?$",
    re.IGNORECASE,
)
CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
SECRET_VALUES: Final = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_\-]{20,}|AKIA[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{30,}|nvapi-[\w\-]{20,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
NAMES_NOT_SECRETS: Final = re.compile(r"(?i)(?:secret[_\-]?name|existing[_\-]?secret|max|min|num|per|count|automount)")


def secrets_by_reference(resource: Resource, _: NoSettings) -> Findings:
    """No secret stands in an object, an argument or a chart's values; the message never repeats one."""
    if not resource.in_kubernetes or resource.kind == "Secret":
        return
    pod = pod_of(resource)
    if pod is not None:
        for path, container in pod.containers(init=True):
            for index, variable in enumerate(items(container.get("env"))):
                name, value = text(at(variable, "name")), mapping(variable).get("value")
                if _looks_secret(name, value):
                    yield Finding(f"{path}.env[{index}]: {name} is given in plain text")
            yield from _secret_words([*items(container.get("command")), *items(container.get("args"))], path)
    values = helm_values(resource)
    if values is not None:
        yield from _secrets_in(values, "values")
    if resource.kind == "ConfigMap":
        yield from _secrets_in(mapping(resource.at("data")), "data")


def _secret_words(words: Sequence[Any], path: str) -> Findings:
    """Arguments that hold a secret: `--api-key=...`, `--api-key` and the next one, or a token wherever it stands."""
    before = ""
    for index, word in enumerate(text(item) for item in words):
        flag, sign, value = word.partition("=")
        name, asked = (flag, value) if sign and not SECRET_VALUES.search(flag) else (before, word)
        if _looks_secret(name.lstrip("-"), asked):
            yield Finding(f"{path}: argument {index}{f' ({name[:40]})' if name else ''} holds a secret in plain text")
        before = word if word.startswith("-") and not sign else ""


def _secrets_in(value: Any, path: str) -> Findings:
    if isinstance(value, Mapping):
        named = value.get("name")
        for key, child in value.items():
            where = f"{path}.{key}"
            # An environment variable in a chart's values: {name: HF_TOKEN, value: ...}.
            asks = str(named) if key == "value" and isinstance(named, str) else str(key)
            if isinstance(child, str) and _looks_secret(asks, child):
                yield Finding(f"{where}: {asks} is given in plain text")
            else:
                yield from _secrets_in(child, where)
    elif isinstance(value, (list, tuple)):
        yield from _secret_words([child if isinstance(child, str) else "" for child in value], path)
        for index, child in enumerate(value):
            yield from _secrets_in(child, f"{path}[{index}]")


def _looks_secret(name: str, value: Any) -> bool:
    if not isinstance(value, str) or not value or value.startswith(("$(", "/", "file:")):
        return False
    if SECRET_VALUES.search(value):
        return True
    words = CAMEL.sub("_", name)
    return bool(SECRET_NAMES.search(words)) and not NAMES_NOT_SECRETS.search(words)


RULES: Final[tuple[Rule[Any], ...]] = (
    Rule(
        name="public-endpoint-protected",
        description="What can be reached from outside the network has TLS and asks for an API key: an open endpoint is "
        "somebody else's free GPU.",
        fix="keep the load balancer internal (the default), or give the endpoint TLS and API keys",
        severity=Severity.CRITICAL,
        settings=EndpointSettings,
        resource=public_endpoints,
    ),
    Rule(
        name="network-policy-present",
        description="Every namespace with pods has a NetworkPolicy that selects all of them: closed unless opened.",
        fix="add a NetworkPolicy with an empty podSelector and policyTypes [Ingress] to the namespace",
        severity=Severity.HIGH,
        settings=NoSettings,
        stack=network_policy_present,
    ),
    Rule(
        name="secrets-by-reference",
        description="Secrets are referred to by name, never written into environment variables, arguments, ConfigMaps "
        "or Helm values: those land in state, in the API and in logs.",
        fix="put it into a Secret and refer to that (valueFrom.secretKeyRef, or the chart's secretName)",
        severity=Severity.CRITICAL,
        settings=NoSettings,
        resource=secrets_by_reference,
    ),
)
