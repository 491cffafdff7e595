"""A renewed certificate and a drained node: the gateways of a deployed environment change, and no request is lost.

The real HAProxy with the image's shell script; the node agent writes a changed Secret into the pods as a kubelet does,
only sooner. Does not prove how long a kubelet takes, nor that the image has the script's tools.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import ssl
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from lightkube import ApiError, Client, KubeConfig
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.models.policy_v1 import Eviction
from lightkube.resources.core_v1 import Pod, PodEviction, Secret

from local import cluster
from local.certificates import Authority, Identity, issue, new_authority
from local.layout import ClusterFiles
from local.pulumi_cli import Pulumi
from tests.local.client import TIMEOUT, Answer, ask
from tests.local.conftest import CONFIG, Environment, until, write_config
from tests.local.test_security import set_secret

pytestmark = pytest.mark.local

NAME = "renewal"
HOST = "inference.example.com"
SECRET = "gateway-certificate"
RENEWAL_SECONDS = 60
"""The node agent looks every 5 s, the gateway as often."""


@dataclass(frozen=True)
class Gateways:
    """Two of them.

    Attributes:
        environment: deployed.
        authority: signs their certificates.
        folder: of certificates.
    """

    environment: Environment
    authority: Authority
    folder: Path

    @property
    def url(self) -> str:
        """As the certificate names it."""
        return self.environment.url.replace("http://127.0.0.1", "https://localhost")

    def context(self) -> ssl.SSLContext:
        """Trusts the authority alone."""
        return ssl.create_default_context(cafile=str(self.folder / "authority.crt"))

    def pods(self) -> dict[str, Pod]:
        """The gateways that are not ending, by uid."""
        labels: dict[str, Any] = {"inference.platform/component": "gateway"}
        found = self.environment.client.list(Pod, namespace=self.environment.namespace, labels=labels)
        return {pod.metadata.uid or "": pod for pod in found if pod.metadata and pod.metadata.deletionTimestamp is None}

    def ready(self) -> int:
        """How many of them are."""
        conditions = [pod.status.conditions or [] if pod.status else [] for pod in self.pods().values()]
        return sum(any(item.type == "Ready" and item.status == "True" for item in pod) for pod in conditions)

    def certificate(self) -> dict[str, str]:
        """A new one, as a Secret has it."""
        issue(self.authority, self.folder / "gateway", Identity(HOST), server=True, server_names=(HOST, "localhost"))
        files = {"tls.crt": "gateway.crt", "tls.key": "gateway.key"}
        return {key: base64.b64encode((self.folder / name).read_bytes()).decode() for key, name in files.items()}


@dataclass
class Clients:
    """Long answers and short connections, all the time, until told to stop.

    Attributes:
        gateways: whom they ask.
        tokens: of a long answer, 3.4 ms each.
        answers: of requests that ended, in order.
        presented: certificates that new connections got, in order.
        errors: of new connections.
    """

    gateways: Gateways
    tokens: int
    answers: list[Answer] = field(default_factory=list)
    presented: list[bytes] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    stopping: bool = False

    async def ask_on(self) -> None:
        """One long answer after the other, over connections that stay."""
        connector = aiohttp.TCPConnector(ssl=self.gateways.context())
        async with aiohttp.ClientSession(connector=connector, timeout=TIMEOUT) as session:
            while not self.stopping:
                self.answers.append(await ask(session, self.gateways.url, "chat", stream=True, tokens=self.tokens))

    async def connect_on(self) -> None:
        """A new connection for every request."""
        port = int(self.gateways.environment.url.rsplit(":", 1)[1])
        while not self.stopping:
            try:
                self.presented.append(await presented(port, self.gateways.context()))
            except (OSError, AssertionError) as error:
                self.errors.append(repr(error))
            await asyncio.sleep(0.02)

    def lost(self) -> list[Any]:
        """What went wrong; empty if nothing did."""
        return [*self.errors, *(answer for answer in self.answers if not answer.complete)]


async def presented(port: int, context: ssl.SSLContext) -> bytes:
    """The certificate of a new connection, after an answer over it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=HOST)
    try:
        writer.write(f"GET /v1/models HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:100]
        found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return found
    finally:
        writer.close()


@pytest.fixture(scope="module")
def gateways() -> Iterator[Gateways]:
    """An environment with two gateways, and the certificate in a Secret that is not Pulumi's."""
    root = Path(tempfile.mkdtemp(prefix="ip-"))
    files = ClusterFiles(root / NAME)
    try:
        cluster.up(files, gateway_port=0)
        chat = CONFIG["model_deployments"][0]
        config = {
            **CONFIG,
            "model_deployments": [{**chat, "scaling": {**chat["scaling"], "min_replicas": 1}}],
            "gateway": {"replicas": 2, "host": HOST, "tls": {"secret": SECRET}},
            "secrets": [{"name": SECRET, "keys": ["tls.crt", "tls.key"]}],
        }
        engine = Pulumi(NAME, files.root / "pulumi", files.kubeconfig, config_file=write_config(files, config))
        engine.prepare()
        client = Client(config=KubeConfig.from_file(str(files.kubeconfig)))
        url = f"http://127.0.0.1:{cluster.ports(files).gateway}"
        environment = Environment(files, engine, url, client, f"inference-{NAME}")
        made = Gateways(environment, new_authority("planted-authority", root / "authority"), root)
        for key, value in made.certificate().items():
            set_secret(engine, SECRET, key, base64.b64decode(value).decode())
        engine.run("up", "--yes", "--skip-preview", "--stack", NAME)
        until(lambda: made.ready() == 2, 60, "both gateways are ready")
        yield made
        engine.run("destroy", "--yes", "--skip-preview", "--stack", NAME)
    finally:
        cluster.stop(files)
        shutil.rmtree(root)


async def in_time(condition: Any, seconds: float, what: str) -> None:
    """Wait for a condition while the clients go on."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s still not so: {what}"
        await asyncio.sleep(0.1)


async def under_load(gateways: Gateways, change: Any, tokens: int) -> Clients:
    """Let clients work before, during and after a change."""
    clients = Clients(gateways, tokens)
    work = [asyncio.create_task(clients.ask_on()) for _ in range(4)]
    work.append(asyncio.create_task(clients.connect_on()))
    try:
        await in_time(lambda: len(clients.answers) >= 4 and clients.presented, 60, "answers before the change")
        await change(clients)
        seen = len(clients.answers), len(clients.presented)
        await in_time(
            lambda: len(clients.answers) >= seen[0] + 8 and len(clients.presented) >= seen[1] + 20,
            60,
            "answers after the change",
        )
    finally:
        clients.stopping = True
        await asyncio.gather(*work)
    return clients


async def test_a_renewed_certificate_costs_no_request(gateways: Gateways) -> None:
    """cert-manager writes the Secret as this does. The pods stay; both take the new certificate over."""
    before = {uid: restarts(pod) for uid, pod in gateways.pods().items()}
    renewed = gateways.certificate()
    der = ssl.PEM_cert_to_DER_cert(base64.b64decode(renewed["tls.crt"]).decode())

    async def renew(clients: Clients) -> None:
        old = set(clients.presented)
        assert der not in old
        secret = {"metadata": {"name": SECRET}, "data": renewed}
        gateways.environment.client.patch(Secret, SECRET, secret, namespace=gateways.environment.namespace)
        # Connections go to either gateway: a row of so many new ones in which one is old is as good as impossible.
        await in_time(
            lambda: len(clients.presented) > 30 and set(clients.presented[-30:]) == {der},
            RENEWAL_SECONDS,
            "all gateways present the new certificate",
        )

    # Twelve seconds: longer than the drain, by which a renewal must not be bound.
    clients = await under_load(gateways, renew, tokens=3500)
    assert clients.lost() == []
    assert len(set(clients.presented)) == 2
    assert {uid: restarts(pod) for uid, pod in gateways.pods().items()} == before


def restarts(pod: Pod) -> int:
    """Of its container."""
    assert pod.status is not None
    return sum(item.restartCount for item in pod.status.containerStatuses or [])


async def test_a_drain_takes_one_gateway_at_a_time(gateways: Gateways) -> None:
    """The API server itself refuses the second eviction until another gateway is ready; no request is lost."""
    first, second = (pod.metadata.name or "" for pod in gateways.pods().values() if pod.metadata)
    evicted = []

    async def drain(_: Clients) -> None:
        evict(gateways, first)
        with pytest.raises(ApiError, match="disruption budget"):
            evict(gateways, second)

        def gone() -> bool:
            try:
                evict(gateways, second)
            except ApiError as error:
                assert error.status.code == 429, error
                return False
            return True

        await in_time(gone, 60, "the second gateway may go")
        evicted.extend([first, second])
        await in_time(lambda: gateways.ready() == 2, 60, "two gateways are ready again")

    clients = await under_load(gateways, drain, tokens=800)
    assert clients.lost() == []
    assert not {pod.metadata.name for pod in gateways.pods().values() if pod.metadata} & set(evicted)


def evict(gateways: Gateways, name: str) -> None:
    """As `kubectl drain` asks for it."""
    namespace = gateways.environment.namespace
    eviction = Eviction(metadata=ObjectMeta(name=name, namespace=namespace))
    gateways.environment.client.create(PodEviction(metadata=eviction.metadata), name, namespace=namespace)
