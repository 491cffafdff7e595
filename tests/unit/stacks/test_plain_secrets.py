"""No secret in plain text gets past the configuration, and no message repeats one.

Does not prove that every secret is recognised: a password under an innocent name looks like any other text.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stacks.config import load_environment
from stacks.config.load import load_stack_file
from stacks.errors import ConfigError, FieldError
from stacks.plain_secrets import find_secrets, looks_secret
from tests.unit.stacks.config_samples import sample

pytestmark = pytest.mark.unit

TOKEN = "hf_PlantedPlantedPlantedPlanted0123"
PASSWORD = "planted-password-7361"
KEY = "-----BEGIN EC PRIVATE KEY-----\nplanted\n-----END EC PRIVATE KEY-----"
KUBECONFIG = "apiVersion: v1\nusers:\n- name: me\n  user:\n    token: planted-7361\n"
MODEL = "model_deployments__0__"
ENGINE_VALUES = {"servingEngineSpec": {"modelSpec": {"env": [{"name": "HF_TOKEN", "value": PASSWORD}]}}}

PLACES: dict[str, dict[str, Any]] = {
    "a key of our own": {"hf_token": TOKEN},
    "a key by its name": {"grafana_password": PASSWORD},
    "the model's source": {MODEL + "source__token": TOKEN},
    "the token's Secret": {MODEL + "source__token": {"secret": TOKEN}},
    "the token's key": {MODEL + "source__token": {"secret": "hugging-face", "key": TOKEN}},
    "another key of the source": {MODEL + "source__api_key": PASSWORD},
    "the engine's token": {MODEL + "engine__extra_args": {"hf-token": PASSWORD}},
    "the engine's key": {MODEL + "engine__extra_args": {"api-key": PASSWORD}},
    "another flag": {MODEL + "engine__extra_args": {"tokenizer": TOKEN}},
    "a variable of the chart": {"serving_stack": "production-stack", MODEL + "chart_values": ENGINE_VALUES},
    "values of a chart that is not used": {"serving_stack": "manifests", MODEL + "chart_values": ENGINE_VALUES},
    "the chart's own key": {
        "serving_stack": "production-stack",
        MODEL + "chart_values": {"servingEngineSpec": {"vllmApiKey": PASSWORD}},
    },
    "an argument of the chart": {
        "serving_stack": "production-stack",
        MODEL + "chart_values": {"routerSpec": {"extraArgs": ["--api-key", PASSWORD]}},
    },
    "an argument with its value": {
        "serving_stack": "production-stack",
        MODEL + "chart_values": {"routerSpec": {"extraArgs": [f"--api-key={PASSWORD}"]}},
    },
    "arguments that are ours": {
        "serving_stack": "production-stack",
        MODEL + "chart_values": {
            "servingEngineSpec": {"modelSpec": {"vllmConfig": {"extraArgs": [f"--api-key={PASSWORD}"]}}}
        },
    },
    "a Secret beside the chart": {
        "serving_stack": "production-stack",
        MODEL + "chart_values": {"extraObjects": [{"kind": "Secret", "stringData": {"anything": PASSWORD}}]},
    },
    "the chart's address": {"production_stack": {"repository": f"https://me:{PASSWORD}@charts.example.com"}},
    "a mirror's address": {"production_stack": {"oci": f"oci://me:{PASSWORD}@registry.example.com/chart"}},
    "a kubeconfig's contents": {"cloud": "existing", "existing": {"kubeconfig": KUBECONFIG}},
    "a key instead of its hash": {"tenancy": {"api_key_hashes": [PASSWORD]}},
    "the certificate's key": {"gateway": {"tls": {"secret": KEY}}},
    "something where a mapping belongs": {"gateway": {"tls": {"password": PASSWORD}}},
    "Grafana's password": {"observability": {"grafana_admin_secret": KEY}},
    "Grafana's password under a name of one's own": {"observability": {"grafana_admin_password": PASSWORD}},
    "another stack's kubeconfig": {"cloud": "existing", "existing": {"stack": KUBECONFIG}},
    "a kubeconfig as a stack's output": {"cloud": "existing", "existing": {"stack_output": KUBECONFIG}},
    "a tag": {"tags": {"token": PASSWORD}},
    "a name": {MODEL + "name": TOKEN},
}


@pytest.mark.parametrize("place", PLACES)
def test_what_is_pasted_is_refused_and_not_repeated(place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_environment(sample(**PLACES[place]), "dev")
    text = caught.value.text() + json.dumps([error.to_json() for error in caught.value.errors])
    for planted in (TOKEN, PASSWORD, "planted", "token: planted-7361"):
        assert planted not in text.lower() or planted not in text, text


def test_the_message_says_where_and_what_to_do() -> None:
    with pytest.raises(ConfigError) as caught:
        load_environment(sample(hf_token=TOKEN, tags={"team": TOKEN}), "dev")
    assert [error.path for error in caught.value.errors] == ["hf_token", "tags.team"]
    assert "Put it into a Secret and name that" in caught.value.text()


def test_a_field_that_often_gets_a_secret_is_not_repeated() -> None:
    """A hash of the wrong length may be the key itself."""
    with pytest.raises(ConfigError) as caught:
        load_environment(sample(tenancy={"api_key_hashes": ["my-key-is-swordfish"]}), "dev")
    (error,) = caught.value.errors
    assert error.path == "tenancy.api_key_hashes[0]"
    assert "swordfish" not in error.line()
    assert error.to_json()["value"] is None
    assert "a value that may be a secret and is not shown" in error.line()


def test_other_values_are_shown() -> None:
    assert "got 'abc'" in FieldError("node_pools[0].min_nodes", "abc", "must be a number").line()


REFERENCES = {
    "secrets": [{"name": "hugging-face", "keys": ["token"]}],
    "gateway": {"host": "inference.example.com", "tls": {"secret": "certificate"}},
    MODEL + "source__token": {"secret": "hugging-face"},
    MODEL + "engine__extra_args": {"max-num-batched-tokens": 8192},
}


def test_references_are_no_secrets() -> None:
    config = load_environment(sample(**REFERENCES), "dev")
    token = config.model_deployments[0].source.token
    assert token is not None
    assert (token.secret, token.key) == ("hugging-face", "token")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("HF_TOKEN", "swordfish", True),
        ("apiKey", "swordfish", True),
        ("client-secret", "swordfish", True),
        ("db.password", "swordfish", True),
        ("HF_TOKEN", "$(FROM_ELSEWHERE)", False),
        ("token_file", "swordfish", False),
        ("password", "/run/secrets/password", False),
        ("max-num-batched-tokens", "8192", False),
        ("secretName", "swordfish", False),
        ("tokenizer", "mistral", False),
        ("anything", TOKEN, True),
        ("anything", "AKIAIOSFODNN7EXAMPLE", True),
        ("url", "postgres://me:swordfish@db/x", True),
        ("url", "https://db.example.com:5432/x@y", False),
        ("HF_TOKEN", "", False),
        ("HF_TOKEN", 5, False),
    ],
)
def test_what_looks_like_a_secret(name: str, value: object, expected: bool) -> None:
    assert looks_secret(name, value) is expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["a", "on", "8", "x y"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=12,
)


@given(JSON, st.lists(st.sampled_from(["a", "b", 0]), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_a_token_is_found_however_deep(around: object, path: list[str | int]) -> None:
    """In any mapping or list, beside anything."""
    value: object = TOKEN
    for part in reversed(path):
        value = [around, value] if part == 0 else {"z": around, str(part): value}
    assert list(find_secrets(value))
    assert not list(find_secrets(around))


def stack_file(tmp_path: Any, values: str) -> Any:
    path = tmp_path / "Pulumi.dev.yaml"
    environment = sample(secrets=[{"name": "hugging-face", "keys": ["token"]}])
    document = {"config": {"inference-platform:environment": environment, **yaml.safe_load(values)}}
    path.write_text(yaml.safe_dump(document))
    return path


def test_encrypted_values_are_where_they_belong(tmp_path: Any) -> None:
    path = stack_file(tmp_path, "'inference-platform:secrets': {hugging-face: {token: {secure: 'v1:abc'}}}")
    assert load_stack_file(path).secrets[0].keys == ("token",)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            "{}",
            "inference-platform:secrets.hugging-face.token: required, but not given: the Secret's value. pulumi config "
            'set --secret --path \'inference-platform:secrets["hugging-face"]["token"]\'.',
        ),
        (
            f"'inference-platform:secrets': {{hugging-face: {{token: {PASSWORD}}}}}",
            "inference-platform:secrets.hugging-face.token: is not encrypted. Set it with pulumi config set --secret "
            '--path \'inference-platform:secrets["hugging-face"]["token"]\', and replace what stood there: it has been '
            "in a file.",
        ),
    ],
)
def test_values_that_are_missing_or_in_plain_text(tmp_path: Any, values: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_stack_file(stack_file(tmp_path, values))
    assert [error.line() for error in caught.value.errors] == [line]
