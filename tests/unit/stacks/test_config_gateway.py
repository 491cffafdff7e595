"""The gateway's configuration: certificate, name and limits."""

from __future__ import annotations

from typing import Any

import pytest

from stacks.config import load_environment
from stacks.errors import ConfigError
from tests.unit.stacks.config_samples import sample

pytestmark = pytest.mark.unit

HOST = "inference.example.com"
SECRETS = [{"name": "certificate", "keys": ["token"]}]


@pytest.mark.parametrize(
    ("gateway", "others", "line"),
    [
        ({"tls": {}}, {}, "gateway.tls: has no source of a certificate; choose from secret, issuer. Name a Secret"),
        (
            {"tls": {"secret": "a", "issuer": "b"}, "host": HOST},
            {},
            "gateway.tls: has two sources of a certificate; choose from secret, issuer. Keep one.",
        ),
        ({"tls": {"issuer": "b"}}, {}, "gateway.host: required, but not given, with gateway.tls.issuer. Add it"),
        (
            {"tls": {"secret": "a", "gateway_class": "c"}},
            {},
            "gateway.host: required, but not given, with gateway.tls.gateway_class. Add it",
        ),
        ({"host": HOST}, {}, f"gateway.host: is the name in a certificate, and there is none (got '{HOST}'). Give"),
        (
            {"host": "Not A Host", "tls": {"secret": "a"}},
            {},
            "gateway.host: must be a host name with a dot, in lower case, such as models.example.com",
        ),
        (
            {"tls": {"secret": "certificate"}},
            {"secrets": SECRETS},
            "gateway.tls.secret: the Secret of `secrets` has not the keys tls.crt and tls.key",
        ),
        (
            {"limits": {"requests_per_minute": 5}},
            {},
            "gateway.limits: are per API key, and the gateway asks for none. Give tenancy.api_key_hashes",
        ),
        (
            {"limits": {"requests_per_minute": 0}},
            {"tenancy": {"api_key_hashes": ["0" * 64]}},
            "gateway.limits.requests_per_minute: must be a whole number from 1 to 1000000 (got 0)",
        ),
    ],
)
def test_what_cannot_be(gateway: dict[str, Any], others: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_environment(sample(gateway=gateway, **others), "dev")
    assert [error.line()[: len(line)] for error in caught.value.errors] == [line]


def test_a_key_that_a_secret_does_not_have() -> None:
    token = {"secret": "certificate", "key": "tokn"}
    raw = sample(secrets=SECRETS, model_deployments__0__source__token=token)
    with pytest.raises(ConfigError) as caught:
        load_environment(raw, "dev")
    (line,) = [error.line() for error in caught.value.errors]
    assert line == (
        "model_deployments[0].source.token.key: the Secret certificate of `secrets` has no such key; choose from token."
    )


def test_a_broken_secret_beside_a_certificates() -> None:
    raw = sample(
        gateway={"host": HOST, "tls": {"secret": "certificate"}}, secrets=[{"name": "certificate", "keys": []}]
    )
    with pytest.raises(ConfigError) as caught:
        load_environment(raw, "dev")
    assert [error.line() for error in caught.value.errors] == ["secrets[0].keys: must have at least one item (got [])."]


def test_two_secrets_of_one_name() -> None:
    with pytest.raises(ConfigError, match=r"secrets\[1\]\.name: is there twice"):
        load_environment(sample(secrets=[*SECRETS, *SECRETS]), "dev")


def test_everything_that_can_be() -> None:
    raw = sample(
        gateway={
            "host": HOST,
            "tls": {"issuer": "letsencrypt", "gateway_class": "external"},
            "limits": {"requests_per_minute": 60, "concurrent_requests": 8, "tokens_per_minute": 100_000},
        },
        tenancy={"api_key_hashes": ["0" * 64]},
    )
    config = load_environment(raw, "dev")
    assert config.gateway.tls is not None
    assert config.gateway.tls.issuer_kind == "ClusterIssuer"
