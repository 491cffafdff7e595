"""Secrets, encryption, limits, network paths and Pod Security of a deployed environment, on a cluster of its own.

A real `pulumi preview` and `up`, a real API server with its real admission, the real HAProxy with a real certificate.
Planted secrets are looked for in everything that Pulumi says and keeps, in the API outside of Secret objects and in all
logs. Does not prove that a network enforces the policies (their meaning is worked out from the live objects), that pods
are confined (they are processes here), nor that a cloud's Gateway API or cert-manager acts on the objects.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import ApiError, Client, KubeConfig
from lightkube.models.core_v1 import Container, PodSpec, SecurityContext
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Pod, Secret

from components.gateway.tls import TlsArgs, certificate_spec, entrance_spec, route_spec
from components.secrets import EXTERNAL_SECRETS_API, ExternalArgs, SecretArgs, external_secret
from local import cluster
from local.certificates import Identity, issue, new_authority
from local.layout import ClusterFiles, tool
from local.network_policy import Endpoint, may_connect
from local.pulumi_cli import CONFIGURED_COMMANDS, Pulumi
from tests.local.conftest import CONFIG, Environment, until, write_config
from tests.planted import found_in

pytestmark = pytest.mark.local

NAME = "secure"
HOST = "inference.example.com"
TOKEN = "hf_PlantedHuggingFaceToken0123456789"
API_KEY = "sk-planted-api-key-0123456789abcdefghij"
IN_THE_SHELL = {
    "HF_TOKEN": "hf_PlantedInTheShell0123456789abcdef",
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDINTHESHELL",
    "AWS_SECRET_ACCESS_KEY": "planted+aws/secret/access/key/0123456789",
    "AZURE_CLIENT_SECRET": "planted~azure~client~secret~0123456789",
    "GOOGLE_CREDENTIALS": '{"private_key": "planted-google-credentials-0123456789"}',
    "GITHUB_TOKEN": "ghp_PlantedInTheShell0123456789abcdefghij",
}
LIMIT = 6
"""Requests in a minute."""

NOT_SECRETS = (
    "pods,deployments,replicasets,configmaps,events,services,serviceaccounts,networkpolicies,endpointslices,jobs,"
    "scaledobjects.keda.sh,interceptorroutes.http.keda.sh,horizontalpodautoscalers,prometheusrules,namespaces"
)


@dataclass(frozen=True)
class Secure:
    """The environment, and what its commands said.

    Attributes:
        environment: deployed.
        authority: certificate that the gateway's is signed by.
        said: what each Pulumi command wrote, both streams, by its name.
        planted: secrets by where a user put them.
    """

    environment: Environment
    authority: Path
    said: dict[str, str]
    planted: dict[str, str]

    def ask(self, model: str = "chat", key: str = API_KEY) -> tuple[int, dict[str, str], str]:
        """Status, headers and text of a request over TLS, the certificate checked."""
        context = ssl.create_default_context(cafile=str(self.authority))
        body = {"model": model, "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}
        request = urllib.request.Request(
            f"{self.environment.url.replace('http://127.0.0.1', 'https://localhost')}/v1/chat/completions",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as reply:
                return reply.status, dict(reply.headers), reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read().decode()


def configuration() -> dict[str, Any]:
    """The shared one, with everything about security that a user can set."""
    chat, code = CONFIG["model_deployments"]
    return {
        **CONFIG,
        "model_deployments": [
            {
                **chat,
                "source": {**chat["source"], "token": {"secret": "hugging-face", "key": "token"}},
                # Its engine stays while it is looked at.
                "scaling": {**chat["scaling"], "cooldown_seconds": 600},
            },
            code,
        ],
        "secrets": [
            {"name": "hugging-face", "keys": ["token"]},
            {"name": "gateway-certificate", "keys": ["tls.crt", "tls.key"]},
        ],
        "gateway": {
            "host": HOST,
            "tls": {"secret": "gateway-certificate"},
            "limits": {"requests_per_minute": LIMIT, "tokens_per_minute": 100_000},
        },
        "tenancy": {"api_key_hashes": [hashlib.sha256(API_KEY.encode()).hexdigest()]},
    }


def run(engine: Pulumi, *arguments: str, succeed: bool = True, typed: str = "") -> str:
    """Everything that a command writes, with a user's credentials in its environment."""
    config = ["--config-file", str(engine.config_file)] if arguments[0] in CONFIGURED_COMMANDS else []
    where = ["--stack", engine.stack, "-C", str(engine.program)]
    command = [tool("pulumi"), *arguments, *config, "--non-interactive", *where]
    environment = {**engine.environment(), **IN_THE_SHELL}
    done = subprocess.run(command, env=environment, input=typed, capture_output=True, text=True, check=False)
    text: str = done.stdout + done.stderr
    assert (done.returncode == 0) is succeed, text[-3000:]
    return text


def set_secret(engine: Pulumi, name: str, key: str, value: str) -> None:
    """As the documentation says."""
    path = f'inference-platform:secrets["{name}"]["{key}"]'
    run(engine, "config", "set", "--secret", "--path", path, typed=value)


@pytest.fixture(scope="module")
def secure() -> Iterator[Secure]:
    """Deployed with a previewed plan, everything that was said kept."""
    root = Path(tempfile.mkdtemp(prefix="ip-"))
    files = ClusterFiles(root / NAME)
    try:
        cluster.up(files, gateway_port=0)
        authority = new_authority("planted-authority", root / "authority")
        issue(authority, root / "gateway", Identity(HOST), server=True, server_names=(HOST, "localhost"))
        chain, key = (root / "gateway.crt").read_text(), (root / "gateway.key").read_text()
        engine = Pulumi(NAME, files.root / "pulumi", files.kubeconfig, config_file=write_config(files, configuration()))
        engine.prepare()
        set_secret(engine, "hugging-face", "token", TOKEN)
        set_secret(engine, "gateway-certificate", "tls.crt", chain)
        set_secret(engine, "gateway-certificate", "tls.key", key)
        said = {
            "preview": run(engine, "preview"),
            "preview --diff": run(engine, "preview", "--diff"),
            "preview --json": run(engine, "preview", "--json"),
            "up": run(engine, "up", "--yes", "--skip-preview", "--diff", "--logtostderr", "-v=3"),
            "preview again": run(engine, "preview", "--json", "--expect-no-changes"),
            "refresh": run(engine, "refresh", "--yes", "--skip-preview", "--diff"),
            "stack output": run(engine, "stack", "output", "--json"),
            "stack export": run(engine, "stack", "export"),
            "stack history": run(engine, "stack", "history", "--json"),
            "config": run(engine, "config", "--json"),
        }
        body = "".join(key.splitlines()[1:-1])
        planted = {"source.token": TOKEN, "API key": API_KEY, "certificate's key": body[:60], **IN_THE_SHELL}
        planted["kubeconfig"] = base64.b64encode((files.certificates / "admin.key").read_bytes()).decode()[40:120]
        yield Secure(deployed(files, engine), root / "authority.crt", said, planted)
        engine.run("destroy", "--yes", "--skip-preview", "--stack", NAME)
    finally:
        cluster.stop(files)
        shutil.rmtree(root)


def deployed(files: ClusterFiles, engine: Pulumi) -> Environment:
    """The environment as other tests know it."""
    client = Client(config=KubeConfig.from_file(str(files.kubeconfig)))
    return Environment(files, engine, f"http://127.0.0.1:{cluster.ports(files).gateway}", client, f"inference-{NAME}")


def kubectl(files: ClusterFiles, *arguments: str) -> str:
    """What kubectl prints."""
    command = [tool("kubectl"), f"--kubeconfig={files.kubeconfig}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def objects(files: ClusterFiles, kinds: str) -> list[dict[str, Any]]:
    """All objects of some kinds, in all namespaces."""
    found: list[dict[str, Any]] = json.loads(kubectl(files, "get", kinds, "-A", "-o", "json"))["items"]
    return found


def test_an_engine_gets_its_token_and_a_client_its_answer(secure: Secure) -> None:
    """What is searched for below has been in use: a search that finds nothing would otherwise prove nothing."""
    status, _, text = secure.ask()
    assert status == 200, text
    stored = secure.environment.client.get(Secret, "hugging-face", namespace=secure.environment.namespace)
    assert stored.data is not None
    assert base64.b64decode(stored.data["token"]).decode() == TOKEN
    assert any(f"HF_TOKEN={TOKEN}".encode() in variables for variables in process_environments())


def process_environments() -> Iterator[bytes]:
    """Of every process that may be looked at: pods are processes here."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            yield path.read_bytes()
        except OSError:
            continue


def test_no_command_says_a_secret(secure: Secure) -> None:
    """Previews, progress, verbose logs, outputs, history, the exported state."""
    found = {name: found_in(text, secure.planted) for name, text in secure.said.items()}
    assert {name: names for name, names in found.items() if names} == {}
    assert all(len(text) > 100 for name, text in secure.said.items() if name != "refresh"), "something was said"


def test_no_secret_is_kept_in_plain_text(secure: Secure) -> None:
    """The state, its backups and history, and the stack's file, byte for byte."""
    files = secure.environment.files
    kept = [path for path in (files.root / "pulumi").rglob("*") if path.is_file()]
    state = [path for path in kept if path.name == f"{NAME}.json"]
    assert len(state) == 1
    assert "gateway-certificate" in state[0].read_text()
    kept.append(files.root / f"Pulumi.{NAME}.yaml")
    found = {str(path): found_in(path.read_text(errors="replace"), secure.planted) for path in kept}
    assert {name: names for name, names in found.items() if names} == {}


def test_no_object_but_a_secret_has_one(secure: Secure) -> None:
    """Arguments and variables of pods, ConfigMaps, events, custom resources: as the API server gives them."""
    text = kubectl(secure.environment.files, "get", NOT_SECRETS, "-A", "-o", "json", "--show-managed-fields")
    assert "hugging-face" in text
    assert found_in(text, secure.planted) == []


def test_no_log_has_one(secure: Secure) -> None:
    """Of every process of the cluster and of every pod, the gateway that saw the key included."""
    files = secure.environment.files
    logs = [*files.logs.glob("*"), *(files.state / "pods").rglob("*.log")]
    assert len(logs) > 10
    found = {str(path): found_in(path.read_text(errors="replace"), secure.planted) for path in logs}
    assert {name: names for name, names in found.items() if names} == {}


def test_refused_configurations_repeat_nothing(secure: Secure) -> None:
    """What a user pastes where it does not belong: the program refuses it, and neither it nor the engine repeats it."""
    files = secure.environment.files
    wrong = configuration()
    engine = {**wrong["model_deployments"][1]["engine"], "extra_args": {"hf-token": TOKEN, "api-key": API_KEY}}
    wrong["model_deployments"][1] = {**wrong["model_deployments"][1], "engine": engine, "hf_token": TOKEN}
    wrong["tenancy"] = {"api_key_hashes": [API_KEY]}
    wrong["production_stack"] = {"repository": f"https://user:{TOKEN}@charts.example.com"}
    config_file = files.root / "Pulumi.wrong.yaml"
    salt = yaml.safe_load((files.root / f"Pulumi.{NAME}.yaml").read_text())["encryptionsalt"]
    document = {"encryptionsalt": salt, "config": {"inference-platform:environment": wrong}}
    config_file.write_text(yaml.safe_dump(document))
    bad = Pulumi(NAME, secure.environment.pulumi.backend, files.kubeconfig, config_file=config_file)
    text = run(bad, "preview", succeed=False)
    assert "looks like a secret" in text
    assert found_in(text, secure.planted) == []


def test_the_gateway_speaks_tls_and_nothing_else(secure: Secure) -> None:
    """The certificate that was planted, TLS 1.2 or newer, the name checked; no plain HTTP, no other authority."""
    url = secure.environment.url.removeprefix("http://")
    host, port = url.split(":")
    context = ssl.create_default_context(cafile=str(secure.authority))
    address = (host, int(port))
    with (
        socket.create_connection(address) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as encrypted,
    ):
        assert encrypted.version() in {"TLSv1.2", "TLSv1.3"}
        certificate = encrypted.getpeercert()
        assert certificate is not None
        assert ("DNS", HOST) in certificate["subjectAltName"]
    with socket.create_connection(address) as plain, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(plain, server_hostname=HOST)
    with pytest.raises((urllib.error.URLError, ConnectionError, OSError)):
        urllib.request.urlopen(f"http://{url}/v1/models", timeout=5)


def test_who_has_no_key_gets_nothing(secure: Secure) -> None:
    status, _, text = secure.ask(key="sk-another")
    assert status == 401
    assert "sk-another" not in text


def test_a_client_that_asks_too_often_is_told_when_to_come_back(secure: Secure) -> None:
    """Through TLS, the Service and the real HAProxy: at most LIMIT in a minute, and then 429."""
    answers = [secure.ask() for _ in range(LIMIT + 1)]
    statuses = [status for status, _, _ in answers]
    assert set(statuses) == {200, 429}
    assert statuses == sorted(statuses)
    _, headers, text = answers[-1]
    assert 1 <= int(headers["retry-after"]) <= 60
    assert json.loads(text)["error"]["code"] == "rate_limit_exceeded"


def test_the_api_server_refuses_a_pod_that_is_not_confined(secure: Secure) -> None:
    """The namespace's level is enforced by the real admission, and our own pods passed it."""
    environment = secure.environment
    namespace = environment.client.get(Namespace, environment.namespace)
    assert namespace.metadata is not None
    assert (namespace.metadata.labels or {})["pod-security.kubernetes.io/enforce"] == "restricted"
    ours = list(environment.client.list(Pod, namespace=environment.namespace))
    kinds = {(pod.metadata.labels or {})["inference.platform/component"] for pod in ours if pod.metadata}
    assert kinds == {"engine", "gateway", "router"}
    container = Container(name="c", image="nginx:1.29", securityContext=SecurityContext(runAsUser=0))
    pod = Pod(metadata=ObjectMeta(name="bad", namespace=environment.namespace), spec=PodSpec(containers=[container]))
    with pytest.raises(ApiError, match="violates PodSecurity"):
        environment.client.create(pod)


def test_custom_resources_are_what_their_definitions_take(secure: Secure) -> None:
    """Made for a gateway class, an issuer and an outside store, held against the real definitions: nothing unknown."""
    tls = TlsArgs(host=HOST, issuer="letsencrypt", gateway_class="external")
    source = ExternalArgs(store="vault", store_kind="ClusterSecretStore", entry="ml/hugging-face")
    kept = SecretArgs(name="hugging-face", keys=("token",), values={}, external=source)
    specs = {
        ("gateway.networking.k8s.io/v1", "Gateway"): entrance_spec(tls),
        ("gateway.networking.k8s.io/v1", "HTTPRoute"): route_spec(tls, "gateway", 8080),
        ("cert-manager.io/v1", "Certificate"): certificate_spec(tls),
        (EXTERNAL_SECRETS_API, "ExternalSecret"): external_secret(kept, source),
    }
    for (version, kind), spec in specs.items():
        for extra, succeed in (({}, True), ({"unknown": 1}, False)):
            item = {"apiVersion": version, "kind": kind, "metadata": {"name": "x", "namespace": "default"}}
            said = tried(secure.environment.files, {**item, "spec": {**spec, **extra}})
            assert ("created (server dry run)" in said) is succeed, said


def tried(files: ClusterFiles, item: dict[str, Any]) -> str:
    """What the API server says to an object, without keeping it."""
    options = ("create", "--dry-run=server", "--validate=strict", "-f", "-")
    command = [tool("kubectl"), f"--kubeconfig={files.kubeconfig}", *options]
    done = subprocess.run(command, input=json.dumps(item), capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_network_paths_of_the_live_objects(secure: Secure) -> None:
    """From pods that should reach and from pods that should not, by the policies that the API server has."""
    environment, files = secure.environment, secure.environment.files
    for namespace in ("keda", "monitoring", "default"):
        spec = PodSpec(containers=[Container(name="c", image="nginx:1.29")], automountServiceAccountToken=False)
        environment.client.create(Pod(metadata=ObjectMeta(name="probe", namespace=namespace), spec=spec))

    def addresses() -> dict[str, dict[str, Any]]:
        found = {}
        for pod in objects(files, "pods"):
            labels = pod["metadata"].get("labels") or {}
            name = labels.get("inference.platform/component") or pod["metadata"]["namespace"]
            if pod.get("status", {}).get("podIP"):
                found[name] = pod
        return found

    wanted = {"engine", "gateway", "router", "keda", "monitoring", "default"}
    until(lambda: wanted <= set(addresses()), 20, "all pods have an address")
    policies, namespaces = objects(files, "networkpolicies"), objects(files, "namespaces")
    ends = {name: Endpoint.of_pod(pod, namespaces) for name, pod in addresses().items()}
    ends["internet"] = Endpoint("93.184.216.34")
    open_paths = {
        (source, destination, port)
        for source in ends
        for destination in ends
        for port in (53, 80, 443, 6443, 8000, 8080, 8404, 8443, 29000)
        if source != destination
        and {source, destination} & {"engine", "gateway", "router"}
        and may_connect(policies, ends[source], ends[destination], port)
    }
    outside = {"keda", "monitoring", "default", "internet"}
    expected = {(source, "gateway", 8443) for source in outside}
    expected |= {("gateway", "keda", 8080), ("keda", "router", 8000), ("router", "engine", 8000)}
    expected |= {("monitoring", "gateway", 8404), ("monitoring", "router", 29000), ("monitoring", "engine", 8000)}
    for source, ports in {"gateway": (53,), "router": (53, 443, 6443), "engine": (53, 443)}.items():
        expected |= {(source, destination, port) for destination in outside for port in ports}
    assert open_paths == expected
