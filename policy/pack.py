"""The rules as a pack of the engine's own kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyConfigSchema,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE
from pulumi_policy.proxy import UnknownValueError as EngineUnknownValueError

from policy.rule import Findings, Rule, read_settings, schema
from policy.rules import RULES
from policy.unknown import UnknownValueError
from policy.view import Resource

NAME = "inference-platform"


def policies() -> list[Policy]:
    """All policies; advisory unless the configuration says otherwise."""
    return [as_policy(rule) for rule in RULES]


def as_policy(rule: Rule[Any]) -> Policy:
    """A rule as the engine's kind of policy."""
    properties = schema(rule.settings)
    common: dict[str, Any] = {
        "name": rule.name,
        "description": rule.description,
        "enforcement_level": EnforcementLevel.ADVISORY,
        "config_schema": PolicyConfigSchema(properties=properties) if properties else None,
        "severity": Severity(rule.severity.value),
        "remediation_steps": rule.fix,
    }
    if rule.stack is not None:
        return StackValidationPolicy(validate=_judge_stack(rule), **common)
    return ResourceValidationPolicy(validate=_judge_resource(rule), **common)


def _judge_resource(rule: Rule[Any]) -> Callable[[ResourceValidationArgs, ReportViolation], None]:
    settings, judge = _Settings(rule), rule.resource or _nothing

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        resource = Resource(
            type=args.resource_type,
            name=args.name,
            inputs=args.props,
            urn=args.urn,
            provider_inputs=args.provider.props if args.provider else {},
        )
        with _EngineUnknowns():
            for finding in judge(resource, settings.of(args.get_config())):
                report(rule.message(finding), finding.urn or None)

    return validate


def _judge_stack(rule: Rule[Any]) -> Callable[[StackValidationArgs, ReportViolation], None]:
    settings, judge = _Settings(rule), rule.stack or _nothing

    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        resources = [
            Resource(type=item.resource_type, name=item.name, inputs=item.props, urn=item.urn)
            for item in args.resources
        ]
        with _EngineUnknowns():
            for finding in judge(resources, settings.of(args.get_config())):
                report(rule.message(finding), finding.urn or None)

    return validate


class _Settings:
    """A rule's settings, read once: they do not change during a run."""

    def __init__(self, rule: Rule[Any]) -> None:
        self._rule = rule
        self._given: Mapping[str, Any] | None = None
        self._read: Any = None

    def of(self, given: Mapping[str, Any]) -> Any:
        if self._given is None or dict(given) != self._given:
            self._given = dict(given)
            self._read = read_settings(self._rule, self._given)
        return self._read


class _EngineUnknowns:
    """Turns our word for an unknown value into the SDK's, which makes an advisory note of it."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UnknownValueError):
            raise EngineUnknownValueError(UNKNOWN_STRING_VALUE, [error.path]) from error


def _nothing(_: object, __: object) -> Findings:
    yield from ()
