"""What AKS cannot do is an error that names the field and says why; all else passes.

Reads through `load_environment`, as a user does. Does not prove that AKS refuses these: the reasons are its
documentation's.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from components.clouds.azure.agent_pools import MIG_PROFILES
from components.clouds.azure.rules import RULES
from components.clouds.azure.settings import AzureSettings
from components.clouds.rules import EnvironmentWish, PoolWish
from planner.catalog import gpus, instances
from stacks.config import load_environment
from stacks.errors import ConfigError
from tests.unit.components.azure_samples import RESERVATION

pytestmark = pytest.mark.unit

H100: dict[str, Any] = {"name": "h100", "accelerator": "h100", "gpus_per_node": 8, "max_nodes": 2}
AUTO = {"provisioner": "auto"}
MIG = {"sharing": {"mode": "mig", "profile": "3g.40gb"}}
RESERVED = {"capacity_type": "reserved", "reservation": {"kind": "reservation", "id": RESERVATION}}


def environment(*pools: dict[str, Any], **changes: Any) -> dict[str, Any]:
    chosen = pools or (H100,)
    sharing = chosen[0].get("sharing")
    shared = isinstance(sharing, dict) and sharing.get("mode") in {"time-slicing", "mps"}
    return {
        "cloud": "azure",
        "serving_stack": "manifests",
        "node_pools": list(chosen),
        "model_deployments": [
            {
                "name": "chat",
                "source": {"hugging_face": "meta-llama/Llama-3.1-8B-Instruct"},
                "engine": {"max_model_len": 4096, **({"gpu_memory_utilization": 0.4} if shared else {})},
                "node_pool": chosen[0]["name"],
            }
        ],
        **changes,
    }


def errors(*pools: dict[str, Any], **changes: Any) -> dict[str, str]:
    """Message by path; nothing if the configuration is valid."""
    try:
        load_environment(environment(*pools, **changes), "prod")
    except ConfigError as error:
        return {item.path: item.line() for item in error.errors}
    return {}


@pytest.mark.parametrize(
    "pool",
    [
        {},
        {"capacity_type": "spot"},
        {"capacity_type": "spot-with-fallback"},
        RESERVED,
        {**MIG, "min_nodes": 2},
        {**MIG, "min_nodes": 2, "capacity_type": "spot"},
        {"sharing": {"mode": "time-slicing", "replicas": 2}},
        {"sharing": {"mode": "mps", "replicas": 2}},
        AUTO,
        {**AUTO, "capacity_type": "spot"},
        {**AUTO, "capacity_type": "spot-with-fallback"},
        {"zones": ["1", "2", "3"]},
        {"disk_gib": 2048},
    ],
)
def test_what_aks_can_do(pool: dict[str, Any]) -> None:
    assert errors({**H100, **pool}) == {}


@pytest.mark.parametrize(
    ("pool", "path", "reason"),
    [
        ({**MIG}, "min_nodes", "the cluster autoscaler of AKS cannot size a MIG pool"),
        ({**MIG, **AUTO}, "sharing.mode", "knows a machine's whole GPUs only"),
        (
            {**MIG, "min_nodes": 2, "capacity_type": "spot-with-fallback"},
            "capacity_type",
            "falling back takes an autoscaler",
        ),
        (
            {"sharing": {"mode": "mig", "profile": "1g.20gb"}, "min_nodes": 2},
            "sharing.profile",
            "names a slice by its compute part",
        ),
        ({**AUTO, "sharing": {"mode": "time-slicing", "replicas": 2}}, "sharing.mode", "whole GPUs only"),
        ({**AUTO, "sharing": {"mode": "mps", "replicas": 2}}, "sharing.mode", "whole GPUs only"),
        ({**AUTO, **RESERVED}, "capacity_type", "takes no capacity reservation group"),
        ({**AUTO, "min_nodes": 1}, "min_nodes", "keeps none without"),
        ({"capacity_type": "reserved"}, "reservation", "capacity reservation groups only"),
        (
            {"capacity_type": "reserved", "reservation": {"kind": "capacity-block", "id": "cr-1"}},
            "reservation.kind",
            "capacity reservation groups only",
        ),
        (
            {"capacity_type": "reserved", "reservation": {"kind": "flex-start"}},
            "reservation.kind",
            "capacity reservation groups only",
        ),
        (
            {"capacity_type": "reserved", "reservation": {"kind": "reservation", "id": "cr-1"}},
            "reservation.id",
            "must be the id of a capacity reservation group",
        ),
        (
            {"capacity_type": "reserved", "reservation": {"kind": "reservation"}},
            "reservation.id",
            "must be the id of a capacity reservation group",
        ),
        ({"zones": ["1", "eastus-2"]}, "zones", "is not an availability zone of Azure"),
        ({"disk_gib": 2049}, "disk_gib", "at most 2048 GiB"),
        ({"local_nvme": True}, "local_nvme", "NVMe disks of GPU machines raw"),
        ({"image_streaming": True}, "image_streaming", "Premium Azure Container Registry"),
    ],
)
def test_what_aks_cannot_do(pool: dict[str, Any], path: str, reason: str) -> None:
    found = errors({**H100, **pool})
    assert list(found) == [f"node_pools[0].{path}"]
    assert reason in found[f"node_pools[0].{path}"]


def test_mig_on_azure_linux() -> None:
    found = errors({**H100, **MIG, "min_nodes": 2}, azure={"os": "azure-linux"})
    assert list(found) == ["node_pools[0].sharing.mode"]
    assert "need Ubuntu nodes" in found["node_pools[0].sharing.mode"]
    assert errors(H100, azure={"os": "azure-linux"}) == {}


def test_mig_without_the_driver_of_aks() -> None:
    found = errors({**H100, **MIG, "min_nodes": 2}, azure={"install_gpu_driver": False})
    assert list(found) == ["node_pools[0].sharing.mode"]
    assert "when it installs their driver" in found["node_pools[0].sharing.mode"]


def test_one_autoscaler_in_a_cluster() -> None:
    auto = {**H100, "name": "auto", **AUTO}
    found = errors(H100, auto)
    assert list(found) == ["node_pools[0].provisioner"]
    assert "pool auto is made by node auto-provisioning" in found["node_pools[0].provisioner"]
    assert errors({**H100, "min_nodes": 2}, auto) == {}
    fallback = {**H100, "min_nodes": 2, "capacity_type": "spot-with-fallback"}
    assert list(errors(fallback, auto)) == ["node_pools[0].provisioner"]


@pytest.mark.parametrize("region", ["us-east-1", "us-central1"])
def test_regions_of_other_clouds(region: str) -> None:
    found = errors(region=region)
    assert list(found) == ["region"]
    assert "names have no dashes" in found["region"]


@pytest.mark.parametrize(
    ("settings", "path", "reason"),
    [
        ({"vnet_cidr": "10.0.0.0/16"}, "azure.service_cidr", "overlaps with azure.vnet_cidr, 10.0.0.0/16"),
        ({"pod_cidr": "10.224.0.0/13"}, "azure.pod_cidr", "overlaps with azure.vnet_cidr"),
        ({"pod_cidr": "10.128.0.0/22"}, "azure.pod_cidr", "no room for 8 nodes"),
        ({"pod_cidr": "10.128.0.0"}, "azure.pod_cidr", "no room for 8 nodes"),
        ({"vnet_cidr": "10.224.0.0/25"}, "azure.vnet_cidr", "must have room for nodes"),
        ({"vnet_cidr": "10.224.0.1/16"}, "azure.vnet_cidr", "must be an IPv4 network"),
        ({"service_cidr": "fd00::/64"}, "azure.service_cidr", "must be an IPv4 network"),
        ({"local_accounts": False}, "azure.local_accounts", "nobody could enter the cluster"),
        ({"system_pool": {"min_nodes": 7}}, "azure.system_pool.min_nodes", "more than max_nodes, 6"),
        ({"system_pool": {"zones": ["4"]}}, "azure.system_pool.zones", ""),
        ({"admin_group_ids": ["admins"]}, "azure.admin_group_ids", ""),
        ({"disk_encryption_set_id": "disks"}, "azure.disk_encryption_set_id", ""),
        ({"spot_max_price": 0}, "azure.spot_max_price", ""),
        ({"tires": "free"}, "azure.tires", ""),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], path: str, reason: str) -> None:
    found = errors(azure=settings)
    assert [name.split("[")[0] for name in found] == [path]
    assert reason in next(iter(found.values()))


@pytest.mark.parametrize(
    "settings", [{"admin_group_ids": ["00000000-0000-0000-0000-00000000000a"]}, {"azure_rbac": True}]
)
def test_somebody_enters_without_local_accounts(settings: dict[str, Any]) -> None:
    assert errors(azure={"local_accounts": False, **settings}) == {}


def test_room_counts_both_pools_of_a_fallback() -> None:
    pool = {**H100, "capacity_type": "spot-with-fallback", "max_nodes": 6}
    # 2 x 6 and 6 of the system pool: 18 nodes of 256 addresses.
    assert errors(pool, azure={"pod_cidr": "10.128.0.0/20"})["azure.pod_cidr"].count("18 nodes") == 1
    assert errors(pool, azure={"pod_cidr": "10.128.0.0/19"}) == {}


@pytest.mark.parametrize("settings", [{"system_pool": 3}, {"system_pool": {"max_nodes": "x"}}, {"os": 7}, []])
def test_broken_settings_hide_no_other_error(settings: object) -> None:
    found = errors({**H100, "disk_gib": 4000}, azure=settings)
    assert "node_pools[0].disk_gib" in found
    assert len(found) == 2


def wish(**changes: Any) -> PoolWish:
    return PoolWish(
        **{
            "name": "p",
            "instance_type": "Standard_ND96isr_H100_v5",
            "accelerator": "h100",
            "gpus_per_node": 8,
            **changes,
        }
    )


def test_spot_agent_pools_are_tainted_by_aks() -> None:
    (taint,) = RULES.extra_taints(wish(capacity_type="spot"))
    assert (taint.key, taint.value, taint.effect) == ("kubernetes.azure.com/scalesetpriority", "spot", "NoSchedule")
    assert RULES.extra_taints(wish(capacity_type="spot-with-fallback")) == (taint,)
    assert RULES.extra_taints(wish()) == ()
    assert RULES.extra_taints(wish(capacity_type="spot", provisioner="auto")) == ()
    assert RULES.gpu_resource(wish(sharing="mps", replicas=2)) == ""


def test_two_pools_of_one_name_at_azure_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A digest decides: as good as impossible, so it is forced here."""
    monkeypatch.setattr("components.clouds.azure.rules.agent_pool_name", lambda _: "h100paaaaaao")
    pools = [wish(name="one"), wish(name="two"), wish(name="three", provisioner="auto")]
    found = list(RULES.check_environment(EnvironmentWish(name="", region="", weights_store="node-disk", pools=pools)))
    assert [item.field for item in found] == ["node_pools[1].name"]
    assert "as pool one: h100paaaaaao" in found[0].message


def test_only_gpus_that_aks_splits() -> None:
    pool = wish(accelerator="a10", sharing="mig", mig_profile="1g.6gb", min_nodes=1, max_nodes=1)
    (found,) = RULES.check_pool(pool, EnvironmentWish(name="", region="", weights_store="node-disk", pools=[pool]))
    assert found.field == "sharing.mode"
    assert "A100, H100 and H200" in found.message


def test_slices_are_those_of_the_catalogue() -> None:
    for gpu, profiles in MIG_PROFILES.items():
        assert set(profiles) <= set(gpus()[gpu].mig_profiles), gpu


def test_every_machine_of_the_catalogue_can_be_a_pool() -> None:
    machines = [row for row in instances().values() if row.cloud == "azure"]
    assert len(machines) >= 16
    for row in machines:
        pool = wish(instance_type=row.key, accelerator=row.gpu, gpus_per_node=row.gpus)
        environment_wish = EnvironmentWish(name="", region="", weights_store="node-disk", pools=[pool])
        assert list(RULES.check_pool(pool, environment_wish)) == []


VALUES: dict[str, list[Any]] = {
    "accelerator": ["t4", "a10", "a100-40", "a100-80", "h100", "h100-nvl", "h200", "l4", "x", 3],
    "gpus_per_node": [None, 1, 2, 4, 8, 3],
    "capacity_type": ["on-demand", "spot", "spot-with-fallback", "reserved", "cheap"],
    "sharing": [
        {"mode": "none"},
        {"mode": "mig", "profile": "1g.10gb"},
        {"mode": "mig", "profile": "3g.40gb"},
        {"mode": "mig", "profile": "7g"},
        {"mode": "time-slicing", "replicas": 4},
        {"mode": "mps", "replicas": 2},
        {"mode": "mps"},
        "mig",
    ],
    "reservation": [
        None,
        {"kind": "reservation", "id": RESERVATION},
        {"kind": "reservation"},
        {"kind": "queued"},
        {"kind": "capacity-block", "id": "cb-1"},
        {},
    ],
    "provisioner": ["node-group", "auto", "karpenter"],
    "min_nodes": [0, 1, 2, 5, -1, "1"],
    "max_nodes": [1, 2, 5, 1000, 0],
    "zones": [[], ["1"], ["1", "2"], ["us-east-1a"], "1"],
    "disk_gib": [50, 200, 2048, 4000, 10],
    "local_nvme": [False, True],
    "image_streaming": [False, True],
}
SETTINGS: dict[str, list[Any]] = {
    "os": ["ubuntu", "azure-linux", "windows"],
    "tier": ["free", "standard", "premium"],
    "pod_cidr": ["10.128.0.0/14", "10.224.0.0/20", "x"],
    "vnet_cidr": ["10.224.0.0/16", "10.0.0.0/8", "10.1.0.0/24"],
    "service_cidr": ["10.0.0.0/16", 7],
    "local_accounts": [True, False],
    "azure_rbac": [True, False],
    "encryption_at_host": [True, "yes"],
    "spot_max_price": [None, 1.5, -1],
    "system_pool": [{}, {"min_nodes": 3, "max_nodes": 2}, {"zones": ["1"]}, None, {"vm_size": "m5.large"}],
    "outbound": ["load-balancer", "nat-gateway", None],
}
MODELS = ["meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen2.5-7B-Instruct", "openai/gpt-oss-20b", "nobody/nothing"]


def random_environment(dice: random.Random) -> dict[str, Any]:
    """Mostly sensible: each field is as often left out or valid as it is wild."""

    def some(choices: dict[str, list[Any]], wild: float) -> dict[str, Any]:
        return {key: dice.choice(values) for key, values in choices.items() if dice.random() < wild}

    sane = {"accelerator": dice.choice(["h100", "a100-80", "t4", "h200"]), "max_nodes": dice.choice([1, 2, 4])}
    wild = dice.choice([0.0, 0.1, 0.3, 0.7])
    pools = [{"name": name, **sane, **some(VALUES, wild)} for name in ("one", "two", "three")[: dice.randint(1, 3)]]
    changed = some(SETTINGS, wild / 2)
    return {
        **environment(*pools),
        **({"azure": changed} if changed else {}),
        **({"region": dice.choice(["eastus", "westus3", "us-east-1", "", 4])} if dice.random() < wild else {}),
        "weights": {"store": dice.choice(["node-disk", "shared-files", "object-store"])},
        "model_deployments": [
            {"name": "m", "source": {"hugging_face": dice.choice(MODELS)}, "node_pool": dice.choice(["one", "two"])}
        ],
    }


@pytest.mark.parametrize("seed", range(4))
def test_two_thousand_random_configurations(seed: int) -> None:
    """Each is a valid environment, or errors that name a field and say something; nothing else is ever raised."""
    dice = random.Random(seed)
    valid = 0
    for _ in range(500):
        raw = random_environment(dice)
        try:
            config = load_environment(raw, "prod")
        except ConfigError as error:
            assert error.errors
            for item in error.errors:
                assert item.path
                assert len(item.message) > 5
            continue
        valid += 1
        assert config.azure is None or isinstance(config.azure, AzureSettings)
        assert all(instances()[pool.instance_type].cloud == "azure" for pool in config.node_pools)
    # Neither kind may be so rare that nothing is shown.
    assert 50 < valid < 450
