"""TLS of the gateway: certificate, who ends the encryption, and what clients are told.

Does not prove that a certificate is made or that a Gateway's controller acts: the local tests hold the objects against
their definitions and speak TLS with the real HAProxy.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.cluster import GatewayExposure
from components.gateway.gateway import Gateway, GatewayArgs
from components.gateway.renewal import start_script
from components.gateway.tls import TlsArgs
from local.certificates import Identity, issue, new_authority
from tests.unit.components.test_gateway import arguments
from tests.unit.components.test_haproxy import CONFIG, check
from tests.unit.conftest import Engine

pytestmark = pytest.mark.unit

HOST = "inference.example.com"
HASH = "0" * 64


def build(engine: Engine, tls: TlsArgs, exposure: GatewayExposure | None = None, **changes: Any) -> list[str]:
    """The gateway's URL, in a list."""
    urls: list[str] = []

    def program() -> None:
        args: GatewayArgs = arguments(tls=tls, **changes)
        if exposure is not None:
            args = replace(args, cluster=replace(args.cluster, gateway=exposure))
        Gateway("gateway", args).url.apply(urls.append)

    engine.run(program)
    return urls


def test_haproxy_ends_tls_with_a_secret_that_is_there(engine: Engine) -> None:
    assert build(engine, TlsArgs(secret="certificate")) == ["https://127.0.0.1:8080"]
    assert "cert-manager.io/v1:Certificate" not in {item.type for item in engine.seen}
    spec = engine.one("apps/v1:Deployment", "gateway")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["ports"][0] == {"name": "https", "containerPort": 8443}
    assert container["env"][1] == {"name": "CERTIFICATE", "value": "/usr/local/etc/haproxy-certificate/tls.crt"}
    assert container["volumeMounts"][1] == {
        "name": "certificate",
        "mountPath": "/usr/local/etc/haproxy-certificate",
        "readOnly": True,
    }
    assert spec["volumes"][1] == {
        "name": "certificate",
        "secret": {
            "secretName": "certificate",
            "items": [{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.crt.key"}],
        },
    }
    assert container["command"] == ["sh", "/usr/local/etc/haproxy/start.sh"]
    assert container["args"] == ["-f", "/usr/local/etc/haproxy/haproxy.cfg"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": 8404}
    data = engine.one("core/v1:ConfigMap", "gateway-config")["data"]
    config = data["haproxy.cfg"]
    assert data == {"haproxy.cfg": config, "start.sh": start_script("CERTIFICATE", 60)}
    assert 'bind "${POD_IP}:8443" ssl crt "${CERTIFICATE}" alpn h2,http/1.1' in config
    assert "8080\n" not in config.replace("interceptor-proxy.keda.svc.cluster.local:8080", "")
    service = engine.one("core/v1:Service", "gateway")["spec"]
    assert service["ports"] == [{"name": "https", "port": 443, "targetPort": "https"}]


def test_cert_manager_makes_the_certificate(engine: Engine) -> None:
    build(engine, TlsArgs(host=HOST, issuer="letsencrypt"))
    certificate = engine.one("cert-manager.io/v1:Certificate", "gateway-certificate")
    assert certificate["metadata"]["namespace"] == "inference-dev"
    assert certificate["spec"] == {
        "secretName": "gateway-tls",
        "dnsNames": [HOST],
        "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "letsencrypt"},
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "usages": ["digital signature", "server auth"],
    }
    volumes = engine.one("apps/v1:Deployment", "gateway")["spec"]["template"]["spec"]["volumes"]
    assert volumes[1]["secret"]["secretName"] == "gateway-tls"


def test_a_gateway_of_the_gateway_api_ends_tls(engine: Engine) -> None:
    """It alone is reached from outside: the Service has no load balancer of its own any more."""
    exposure = GatewayExposure(service_type="LoadBalancer", annotations={"a": "b"})
    tls = TlsArgs(host=HOST, issuer="letsencrypt", issuer_kind="Issuer", gateway_class="external")
    assert build(engine, tls, exposure, key_hashes=(HASH,)) == [f"https://{HOST}"]
    assert engine.children() == Counter(
        {
            ("pulumi:providers:kubernetes", "provider"): 1,
            ("kubernetes:core/v1:ServiceAccount", "gateway"): 1,
            ("kubernetes:core/v1:ConfigMap", "gateway-config"): 1,
            ("kubernetes:apps/v1:Deployment", "gateway"): 1,
            ("kubernetes:core/v1:Service", "gateway"): 1,
            ("kubernetes:cert-manager.io/v1:Certificate", "gateway-certificate"): 1,
            ("kubernetes:gateway.networking.k8s.io/v1:Gateway", "gateway-entrance"): 1,
            ("kubernetes:gateway.networking.k8s.io/v1:HTTPRoute", "gateway-route"): 1,
        }
    )
    service = engine.one("core/v1:Service", "gateway")["spec"]
    assert (service["type"], service["ports"][0]["port"]) == ("ClusterIP", 8080)
    entrance = engine.one("Gateway", "gateway-entrance")
    assert entrance["metadata"]["annotations"] == {"inference.platform/api-keys": "configmap/gateway"}
    assert entrance["spec"] == {
        "gatewayClassName": "external",
        "listeners": [
            {
                "name": "https",
                "protocol": "HTTPS",
                "port": 443,
                "hostname": HOST,
                "tls": {
                    "mode": "Terminate",
                    "certificateRefs": [{"group": "", "kind": "Secret", "name": "gateway-tls"}],
                },
                "allowedRoutes": {"namespaces": {"from": "Same"}},
            }
        ],
    }
    (rule,) = engine.one("HTTPRoute", "gateway-route")["spec"]["rules"]
    assert rule["backendRefs"] == [{"group": "", "kind": "Service", "name": "gateway", "port": 8080, "weight": 1}]
    assert rule["timeouts"] == {"request": "0s"}


def test_what_clients_reach_says_that_it_asks_for_keys(engine: Engine) -> None:
    """As the policy `public-endpoint-protected` wants it."""
    exposure = GatewayExposure(service_type="LoadBalancer")
    build(engine, TlsArgs(secret="certificate", host=HOST), exposure, key_hashes=(HASH,))
    notes = engine.one("core/v1:Service", "gateway")["metadata"]["annotations"]
    assert notes == {"inference.platform/api-keys": "configmap/gateway"}


@pytest.mark.parametrize(
    "wrong",
    [{}, {"secret": "a", "issuer": "b", "host": HOST}, {"issuer": "b"}, {"secret": "a", "gateway_class": "c"}],
)
def test_what_cannot_be(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"a certificate comes from|need the host's name"):
        TlsArgs(**wrong)


def test_the_real_haproxy_reads_the_configuration(tmp_path: Path) -> None:
    """With the key beside the certificate, as the volume has it."""
    authority = new_authority("authority", tmp_path / "authority")
    issue(authority, tmp_path / "gateway", Identity(HOST), server=True, server_names=(HOST,))
    (tmp_path / "gateway.key").rename(tmp_path / "gateway.crt.key")
    check(replace(CONFIG, certificate=str(tmp_path / "gateway.crt")), tmp_path)
