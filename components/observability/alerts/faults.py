"""What is wrong though nobody has been let down yet: full queues and caches, broken GPUs, starts that fail.

Sources: kube-state-metrics 2.18; KEDA 2.21 pkg/metricscollector; DCGM's XID field holds the last code, 0 if there was
none; XID codes: NVIDIA, XID Errors r580. Taints: aws-node-termination-handler, Karpenter, GKE, AKS' node auto-drain;
conditions: AKS' node problem detector, EKS' node monitoring agent.
"""

from __future__ import annotations

from typing import Final

from components.observability.objects import AlertRule, EnvironmentFacts, ModelFacts, RuleGroup, Severity
from components.observability.rules.serving import BY_MODEL, of_engine_pods
from components.observability.scraping import MODEL

APPLICATION_XIDS: Final = (13, 31, 43, 45, 68)
"""Codes of errors that a program makes and that leave the GPU sound."""

RECLAIM_TAINTS: Final = (
    "aws-node-termination-handler/spot-itn",
    "karpenter.sh/disrupted",
    "cloud.google.com/impending-node-termination",
    "node.kubernetes.io/out-of-service",
    "remediator.kubernetes.azure.com/unschedulable",
    # A node that is drained. EKS says nothing else of a managed spot node that goes.
    "node.kubernetes.io/unschedulable",
)
RECLAIM_CONDITIONS: Final = ("PreemptScheduled", "TerminateScheduled")

GPU_HEALTHY_CONDITIONS: Final = ("AcceleratedHardwareReady",)
"""False when the node's GPUs are broken (EKS)."""
GPU_BROKEN_CONDITIONS: Final = (
    *("GPUMissing", "NVLinkStatusInactive", "XIDErrors", "IBLinkFlapping", "GPUClockThrottling"),
    *("UnhealthyNvidiaDevicePlugin", "UnhealthyNvidiaDCGMServices"),
)
"""True when they are (AKS, machines with GPUs)."""

RESTARTS: Final = 3
NODE_SECONDS: Final = 900
"""Longest a cluster autoscaler tries to get a node: its --max-node-provision-time."""


def fault_alerts(facts: EnvironmentFacts) -> RuleGroup:
    """All of them."""
    namespace = facts.namespace
    per_model = [alert for model in facts.models for alert in _model_alerts(model, namespace)]
    cluster = [
        _crash_loop(namespace),
        _xid(),
        _broken_gpu_node(),
        _keda_errors(namespace),
        _spot_reclaim(),
        _cannot_be_placed(namespace),
    ]
    return RuleGroup(name="inference.faults", rules=[*per_model, *cluster])


def _model_alerts(model: ModelFacts, namespace: str) -> list[AlertRule]:
    selector = f'{{namespace="{namespace}",{MODEL}="{model.name}"}}'
    slo = model.slo
    # Alerts of two models differ by these alone.
    of_model = {"namespace": namespace, MODEL: model.name}

    def threshold(  # noqa: PLR0917 - the columns of a table
        alert: str, record: str, condition: str, pending: str, summary: str, description: str, runbook: str
    ) -> AlertRule:
        series = f"{record}{selector}"
        return AlertRule(
            alert=alert,
            expr=f"{series} {condition}",
            watches=[series],
            severity=Severity.TICKET,
            pending=pending,
            summary=f"{model.name}: {summary}",
            description=description,
            runbook=runbook,
            labels=of_model,
        )

    engines, ready = (f"inference:engines{part}{selector}" for part in (":count", "_ready:sum"))
    return [
        threshold(
            "ModelQueueLong",
            "inference:requests_waiting:avg",
            f"> {slo.queue_per_engine:g}",
            "5m",
            "{{ $value }} requests wait per engine",
            "Requests come faster than they are served, and more engines have not helped or may not be.",
            "queue.md",
        ),
        threshold(
            "ModelKvCacheFull",
            "inference:kv_cache_usage:max",
            f"> {slo.kv_cache_usage:g}",
            "5m",
            "an engine's KV cache is {{ $value | humanizePercentage }} full",
            "Soon requests are preempted and computed again, which slows all down.",
            "kv-cache.md",
        ),
        threshold(
            "ModelGpuUnderused",
            "inference:gpu_utilisation:avg",
            f"< {slo.gpu_low:g}",
            "1h",
            "its GPUs are used to {{ $value | humanizePercentage }}",
            "For an hour it has had more GPUs than it needs, or its engine waits for something else.",
            "gpu-utilisation.md",
        ),
        threshold(
            "ModelGpuSaturated",
            "inference:gpu_utilisation:avg",
            f"> {slo.gpu_high:g}",
            "1h",
            "its GPUs are used to {{ $value | humanizePercentage }}",
            "For an hour there has been no room for a burst.",
            "gpu-utilisation.md",
        ),
        AlertRule(
            alert="ModelWakesSlowly",
            # What is ready has no series at first; then the model is not ready either.
            expr=f"{engines} > 0 unless {ready} > 0",
            watches=[engines, ready],
            pending=f"{model.startup_budget_seconds}s",
            severity=Severity.PAGE,
            summary=f"{model.name}: no engine is ready {model.startup_budget_seconds} s after it got its node",
            description="Requests are held, and fail once the router has waited for as long as it may.",
            runbook="slow-wake.md",
            labels=of_model,
        ),
    ]


def _crash_loop(namespace: str) -> AlertRule:
    restarts = f'kube_pod_container_status_restarts_total{{namespace="{namespace}"}}'
    # The labels are joined to what the increase gives: a counter that is multiplied first has no rate.
    increase = of_engine_pods(f"sum by (namespace,pod) (increase({restarts}[15m]))", namespace)
    watched = f"sum by ({BY_MODEL},pod) ({increase})"
    return AlertRule(
        alert="EngineCrashLoop",
        expr=f"{watched} >= {RESTARTS}",
        watches=[watched],
        severity=Severity.PAGE,
        summary="{{ $labels.pod }} restarts again and again",
        description="{{ $value | humanize }} restarts in 15 minutes; the model has an engine less, or none.",
        runbook="engine-crash-loop.md",
    )


def _xid() -> AlertRule:
    series = "DCGM_FI_DEV_XID_ERRORS"
    sound = " and ".join(f"{series} != {code}" for code in (0, *APPLICATION_XIDS))
    return AlertRule(
        alert="GpuXidError",
        expr=sound,
        watches=[series],
        severity=Severity.PAGE,
        summary="XID {{ $value }} on GPU {{ $labels.gpu }} of {{ $labels.node }}",
        description="The driver reports a fault of the GPU or its connections; what runs there may compute nonsense.",
        runbook="gpu-xid.md",
    )


def _broken_gpu_node() -> AlertRule:
    healthy, broken = "|".join(GPU_HEALTHY_CONDITIONS), "|".join(GPU_BROKEN_CONDITIONS)
    series = "kube_node_status_condition"
    return AlertRule(
        alert="GpuNodeBroken",
        expr=f'{series}{{condition=~"{healthy}",status="false"}} == 1 or '
        f'{series}{{condition=~"{broken}",status="true"}} == 1',
        watches=[series],
        severity=Severity.PAGE,
        pending="1m",
        summary="{{ $labels.node }}: {{ $labels.condition }}",
        description="The cloud's own watch on the node says that its GPUs are broken; engines on it fail or are slow.",
        runbook="gpu-node.md",
    )


def _keda_errors(namespace: str) -> AlertRule:
    errors = f'keda_scaled_object_errors_total{{namespace="{namespace}"}}'
    increase = f"sum by (namespace,scaledObject) (increase({errors}[5m]))"
    return AlertRule(
        alert="KedaErrors",
        expr=f"{increase} > 0",
        watches=[increase],
        pending="5m",
        severity=Severity.TICKET,
        summary="KEDA cannot scale {{ $labels.scaledObject }}",
        description="While its triggers fail, a model neither wakes nor gets more engines, nor goes to zero.",
        runbook="keda.md",
    )


def _spot_reclaim() -> AlertRule:
    taints, conditions = "|".join(RECLAIM_TAINTS), "|".join(RECLAIM_CONDITIONS)
    spot = 'kube_node_labels{label_inference_platform_capacity_type=~"spot.*"}'
    told = (
        f'(count by (node) (kube_node_spec_taint{{key=~"{taints}"}}) or '
        f'count by (node) (kube_node_status_condition{{condition=~"{conditions}",status="true"}} == 1))'
    )
    return AlertRule(
        alert="SpotNodeReclaimed",
        expr=f"{told} and on (node) {spot}",
        watches=["count by (node) (kube_node_spec_taint)", "kube_node_status_condition", "kube_node_labels"],
        severity=Severity.TICKET,
        summary="{{ $labels.node }} is taken back by the cloud, or was cordoned",
        description="Its engines drain within the cloud's notice; others must come up elsewhere.",
        runbook="spot-reclaim.md",
    )


def _cannot_be_placed(namespace: str) -> AlertRule:
    unscheduled = f'kube_pod_status_scheduled{{namespace="{namespace}",condition="false"}}'
    watched = f"sum by ({BY_MODEL}) ({of_engine_pods(unscheduled, namespace)})"
    return AlertRule(
        alert="ModelCannotBePlaced",
        expr=f"{watched} > 0",
        watches=[watched],
        pending=f"{NODE_SECONDS}s",
        severity=Severity.PAGE,
        summary="{{ $value }} engines of {{ $labels.inference_model }} find no node",
        description="The pool is at its largest, the quota is used up, or the cloud has no such machine.",
        runbook="quota.md",
    )
