"""Taints, tolerations, GPU resource names and shares of a node. Does not prove what a device plugin registers."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.scheduling import GPU_TAINT, GpuPool, Sharing, SharingMode, Taint, on_system_nodes
from tests.unit.components.samples import L4_POOL

pytestmark = pytest.mark.unit

WORDS = st.from_regex(r"[a-z]{1,10}", fullmatch=True)


def pool(sharing: Sharing, gpus: int = 8) -> GpuPool:
    return GpuPool(name="p", product="NVIDIA-X", gpus_per_node=gpus, vcpu=96, memory_gib=1152, sharing=sharing)


@given(WORDS, WORDS, st.sampled_from(["NoSchedule", "NoExecute", "PreferNoSchedule"]))
def test_a_toleration_matches_its_taint(key: str, value: str, effect: str) -> None:
    taint = Taint(key, value, effect)
    made, tolerated = taint.as_taint(), taint.as_toleration()
    assert (tolerated.key, tolerated.value, tolerated.effect) == (made.key, made.value, made.effect)
    assert tolerated.operator == "Equal"


def test_a_pod_of_a_gpu_pool_tolerates_exactly_the_pools_taint_and_goes_nowhere_else() -> None:
    placement = L4_POOL.place()
    assert placement.taints == (GPU_TAINT,)
    assert placement.node_selector == {"inference.platform/node-pool": "l4"}
    labels = L4_POOL.node_labels("g6.12xlarge", "on-demand")
    assert placement.node_selector.items() <= labels.items()


def test_all_labels_of_a_node() -> None:
    assert L4_POOL.node_labels("g6.12xlarge", "spot") == {
        "inference.platform/node-pool": "l4",
        "inference.platform/capacity-type": "spot",
        "node.kubernetes.io/instance-type": "g6.12xlarge",
        "nvidia.com/gpu.product": "NVIDIA-L4",
        "nvidia.com/gpu.count": "4",
        "nvidia.com/gpu.present": "true",
    }


@pytest.mark.parametrize(
    ("sharing", "name", "per_node"),
    [
        (Sharing(), "nvidia.com/gpu", 8),
        (Sharing(SharingMode.MIG, 7, "1g.10gb"), "nvidia.com/mig-1g.10gb", 56),
        (Sharing(SharingMode.TIME_SLICING, 4), "nvidia.com/gpu.shared", 32),
        (Sharing(SharingMode.MPS, 2), "nvidia.com/gpu.shared", 16),
    ],
)
def test_a_node_offers_what_its_pods_ask_for(sharing: Sharing, name: str, per_node: int) -> None:
    shared = pool(sharing)
    assert shared.node_capacity(110) == {"cpu": "96", "memory": "1179648Mi", name: str(per_node), "pods": "110"}
    resources = shared.place().resources.as_requirements()
    assert resources.requests == {"cpu": shared.place().resources.cpu, **(resources.limits or {})}  # type: ignore[dict-item]
    assert resources.limits == {"memory": shared.place().resources.memory, name: "1"}


def test_there_is_no_limit_on_cpu() -> None:
    limits = L4_POOL.place().resources.as_requirements().limits
    assert isinstance(limits, dict)
    assert set(limits) == {"memory", "nvidia.com/gpu"}


@given(
    gpus=st.integers(1, 16),
    slices=st.integers(1, 48),
    vcpu=st.integers(4, 192),
    memory=st.floats(16, 4096),
    data=st.data(),
)
def test_a_full_node_has_room_for_its_pods(
    gpus: int, slices: int, vcpu: int, memory: float, data: st.DataObject
) -> None:
    sharing = Sharing() if slices == 1 else Sharing(SharingMode.TIME_SLICING, slices)
    full = GpuPool(name="p", product="X", gpus_per_node=gpus, vcpu=vcpu, memory_gib=memory, sharing=sharing)
    slots = data.draw(st.integers(1, full.slots_per_node))
    resources = full.place(slots).resources
    pods = full.slots_per_node // slots
    assert pods * number(resources.cpu) <= 0.8 * vcpu * 1000 + 1e-6
    assert pods * number(resources.memory) <= 0.8 * memory * 1024 + 1e-6


def number(quantity: str) -> int:
    match = re.fullmatch(r"(\d+)(m|Mi)", quantity)
    assert match
    return int(match[1])


@pytest.mark.parametrize("slots", [0, 5])
def test_a_pod_that_fits_no_node_is_refused(slots: int) -> None:
    with pytest.raises(ValueError, match=rf"'l4'.*asks for {slots} of nvidia.com/gpu.*has 4"):
        L4_POOL.place(slots)


@pytest.mark.parametrize(
    ("mode", "slices", "profile"),
    [
        (SharingMode.MIG, 7, ""),
        (SharingMode.NONE, 1, "1g.10gb"),
        (SharingMode.NONE, 2, ""),
        (SharingMode.TIME_SLICING, 0, ""),
    ],
)
def test_impossible_sharing_is_refused(mode: SharingMode, slices: int, profile: str) -> None:
    with pytest.raises(ValueError, match="sharing mode"):
        Sharing(mode, slices, profile)


def test_system_pods_tolerate_nothing() -> None:
    placement = on_system_nodes("100m", "1Gi")
    assert placement.node_selector == {"inference.platform/node-pool": "system"}
    assert placement.tolerations() == []
