"""A pod's volumes on disk.

Not proven here: that later changes of a ConfigMap arrive - they do not, by design; those of a Secret do.
"""

from __future__ import annotations

import asyncio
import base64
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from local.node_agent import files
from local.node_agent.fields import PodFields, spec
from local.node_agent.service_account import ApiEndpoint, keep_tokens_fresh, write_tokens
from local.node_agent.volumes import SECRETS_SECONDS, TokenFile, VolumeError, Volumes, keep_secrets_fresh
from tests.unit.node_agent.node_doubles import HOST_IP, FakeApi, in_virtual_time, make_pod

pytestmark = pytest.mark.unit


def volumes(api: FakeApi, tmp_path: Path, *described: dict[str, Any], mounts: Any = ()) -> Volumes:
    pod = make_pod(volumes=list(described), container={"volumeMounts": list(mounts)}, metadata={"labels": {"a": "1"}})
    return Volumes(PodFields(pod, "127.77.0.1", HOST_IP, {}), api, tmp_path / "volumes", tmp_path / "claims")


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


async def test_configmap_whole_and_by_item(api: FakeApi, tmp_path: Path) -> None:
    api.config_maps["shop/settings"] = {"a": "1", "b": "2"}
    items = [{"key": "b", "path": "deep/er/b.txt", "mode": 0o755}]
    laid_out = volumes(
        api,
        tmp_path,
        {"name": "all", "configMap": {"name": "settings"}},
        {"name": "some", "configMap": {"name": "settings", "items": items}},
        {"name": "none", "configMap": {"name": "missing", "optional": True}},
    )
    await laid_out.lay_out()
    assert contents(tmp_path / "volumes") == {"all/a": "1", "all/b": "2", "some/deep/er/b.txt": "2"}
    assert stat.S_IMODE((tmp_path / "volumes/all/a").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "volumes/some/deep/er/b.txt").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "volumes/all").stat().st_mode) == 0o700


async def test_secret_empty_downward_projected_and_claim(api: FakeApi, tmp_path: Path) -> None:
    api.secrets["shop/keys"] = {"k": b"secret"}
    api.config_maps["shop/settings"] = {"a": "1"}
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    sources = [
        {"configMap": {"name": "settings"}},
        {"secret": {"name": "keys", "items": [{"key": "k", "path": "renamed"}]}},
        {"downwardAPI": {"items": items}},
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
    ]
    laid_out = volumes(
        api,
        tmp_path,
        {"name": "s", "secret": {"secretName": "keys", "defaultMode": 0o400}},
        {"name": "e", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {"name": "p", "projected": {"sources": sources}},
        {"name": "c", "persistentVolumeClaim": {"claimName": "weights"}},
    )
    await laid_out.lay_out()
    assert contents(tmp_path / "volumes") == {"s/k": "secret", "p/a": "1", "p/renamed": "secret", "p/labels": 'a="1"'}
    assert stat.S_IMODE((tmp_path / "volumes/s/k").stat().st_mode) == 0o400
    assert (tmp_path / "volumes/e").is_dir()
    assert (tmp_path / "claims/shop_weights").is_dir()
    assert laid_out.tokens() == [TokenFile(tmp_path / "volumes/p/token", None, 3607)]


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        (
            {"configMap": {"name": "settings", "items": [{"key": "x", "path": "x"}]}},
            "references non-existent config key: x",
        ),
        (
            {"hostPath": {"path": "/"}},
            "only configMap, secret, emptyDir, downwardAPI, projected, persistentVolumeClaim are built "
            "on the local cloud",
        ),
    ],
)
async def test_what_is_missing_is_named(api: FakeApi, tmp_path: Path, volume: dict[str, Any], message: str) -> None:
    api.config_maps["shop/settings"] = {"a": "1"}
    with pytest.raises(VolumeError) as error:
        await volumes(api, tmp_path, {"name": "v", **volume}).lay_out()
    assert str(error.value) == f'MountVolume.SetUp failed for volume "v": {message}'


def test_mount_paths_lead_into_the_volumes(api: FakeApi, tmp_path: Path) -> None:
    mounts = [
        {"name": "v", "mountPath": "/etc/app"},
        {"name": "v", "mountPath": "/etc/one.cfg", "subPath": "one.cfg"},
        {"name": "v", "mountPath": "/logs", "subPathExpr": "$(NAME)/x"},
    ]
    laid_out = volumes(api, tmp_path, {"name": "v", "emptyDir": {}}, mounts=mounts)
    container = spec(make_pod(container={"volumeMounts": mounts})).containers[0]
    paths = laid_out.paths(container, {"NAME": "web"})
    assert [paths.rewrite(path) for path in ("/etc/app/f", "/etc/one.cfg", "/logs/l")] == [
        f"{tmp_path}/volumes/v/f",
        f"{tmp_path}/volumes/v/one.cfg",
        f"{tmp_path}/volumes/v/web/x/l",
    ]


def test_only_a_container_with_the_mount_has_a_token(api: FakeApi, tmp_path: Path) -> None:
    mount = {"name": "v", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    laid_out = volumes(api, tmp_path, {"name": "v", "projected": {"sources": []}})
    with_token = spec(make_pod(container={"volumeMounts": [mount]})).containers[0]
    without = spec(make_pod()).containers[0]
    assert laid_out.service_account(with_token) == tmp_path / "volumes/v"
    assert laid_out.service_account(without) is None


def test_the_kubeconfig_of_a_pod_names_the_file_of_the_token() -> None:
    text = ApiEndpoint("https://10.0.0.1:6443", b"PEM").kubeconfig(Path("/pod/token"), "shop")
    assert yaml.safe_load(text) == {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "local",
                "cluster": {
                    "server": "https://10.0.0.1:6443",
                    "certificate-authority-data": base64.b64encode(b"PEM").decode(),
                },
            }
        ],
        "users": [{"name": "service-account", "user": {"tokenFile": "/pod/token"}}],
        "contexts": [
            {"name": "local", "context": {"cluster": "local", "user": "service-account", "namespace": "shop"}}
        ],
        "current-context": "local",
    }


async def test_tokens_are_private_and_asked_for_again_at_four_fifths_of_their_life(
    api: FakeApi, tmp_path: Path
) -> None:
    wanted = [TokenFile(tmp_path / "v/token", "vault", 1000), TokenFile(tmp_path / "v/other", None, 500)]
    delay = await write_tokens(api, make_pod(), wanted)
    assert 398 <= delay <= 401
    assert contents(tmp_path / "v") == {"token": "token-1-for-vault", "other": "token-2-for-None"}
    assert stat.S_IMODE((tmp_path / "v/token").stat().st_mode) == 0o600
    assert await write_tokens(api, make_pod(), []) == float("inf")


def test_tokens_stay_fresh_over_an_outage(tmp_path: Path) -> None:
    async def work() -> tuple[int, str]:
        api = FakeApi()
        wanted = [TokenFile(tmp_path / "token", None, 600)]
        task = asyncio.create_task(keep_tokens_fresh(api, make_pod(), wanted, 10.0))
        await asyncio.sleep(9)
        assert api.tokens == 0
        api.outage = True
        await asyncio.sleep(20)
        api.outage = False
        await asyncio.sleep(10)
        task.cancel()
        return api.tokens, (tmp_path / "token").read_text()

    assert in_virtual_time(work()) == (1, "token-1-for-None")


def test_a_file_is_replaced_in_one_step_and_never_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    files.write(path, "one")
    before = path.stat().st_ino
    files.write(path, b"two")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("two", 0o600)
    assert path.stat().st_ino != before
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_a_changed_secret_reaches_a_running_pod(api: FakeApi, tmp_path: Path) -> None:
    """cert-manager renews a certificate so; a Secret that is gone takes nothing away, and comes back."""
    api.secrets["shop/tls"] = {"tls.crt": b"old", "tls.key": b"old key"}
    items = [{"key": "tls.crt", "path": "tls.crt"}, {"key": "tls.key", "path": "tls.crt.key"}]
    made = volumes(api, tmp_path, {"name": "tls", "secret": {"secretName": "tls", "items": items}})

    async def life() -> list[dict[str, str]]:
        await made.lay_out()
        work = asyncio.create_task(keep_secrets_fresh(made))
        seen = []
        for secret in ({"tls.crt": b"new", "tls.key": b"new key"}, None, {"tls.crt": b"newer", "tls.key": b"k"}):
            api.secrets = {"shop/tls": secret} if secret else {}
            await asyncio.sleep(SECRETS_SECONDS + 1)
            seen.append(contents(tmp_path / "volumes"))
        work.cancel()
        return seen

    new = {"tls/tls.crt": "new", "tls/tls.crt.key": "new key"}
    assert made.has_secrets
    assert in_virtual_time(life()) == [new, new, {"tls/tls.crt": "newer", "tls/tls.crt.key": "k"}]
