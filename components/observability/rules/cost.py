"""What it costs: dollars per hour and per million tokens, what stands idle, what scaling to zero saves.

Prices are those of the plan: of a pool's instance per hour, and of a replica's share of its GPUs, so that time-slicing,
MIG and several models on one GPU are paid by each with its share. They are list prices, not a bill.

Dollars per million tokens are a mean of dollars over a mean of tokens per second, over the same evaluations: the figure
is right from the first minute on, whatever the window, and an hour with a cold start costs what it costs.
"""

from __future__ import annotations

from typing import Final

from components.observability.objects import EnvironmentFacts, ModelFacts, PoolFacts, RecordingRule, RuleGroup
from components.observability.rules.serving import BY_MODEL, SHORT, SHORT_SECONDS, metric
from components.observability.scraping import MODEL

WINDOWS: Final = ("5m", "1h", "1d")

REMEMBERED: Final = "1h"
"""A series that was seen so long ago is no new one."""

INPUT_WEIGHT: Final = 0.25
"""Price of an input token over that of an output token; the convention of the planner (planner/cost.py)."""

REPLICA_PRICE: Final = "inference:replica_price_dollars_per_hour"
NODE_PRICE: Final = "inference:node_price_dollars_per_hour"
COST: Final = "inference:model_cost_dollars_per_hour"
POOL_COST: Final = "inference:pool_cost_dollars_per_hour"
PER_MILLION: Final = "inference:cost_dollars_per_million_tokens"


def cost_rules(facts: EnvironmentFacts) -> RuleGroup:
    """All of them; models and pools without a price are left out."""
    rules = [
        _replica_price(model, facts.namespace) for model in facts.models if model.price_per_replica_hour is not None
    ]
    rules += [_node_price(pool, facts.namespace) for pool in facts.pools if pool.price_per_node_hour is not None]
    selector = f'{{namespace="{facts.namespace}"}}'
    price = f"{REPLICA_PRICE}{selector}"
    engines = f"sum without (node_pool) ({price} * 0)"
    counted = f"(inference:engines:count{selector} or {engines})"
    return RuleGroup(
        name="inference.cost",
        rules=[
            *rules,
            # At zero engines nothing counts them, and the cost is zero, not unknown.
            RecordingRule(record=COST, expr=f"{price} * on ({BY_MODEL}) group_left () {counted}"),
            *(
                RecordingRule(
                    record=f"inference:billed_{kind}_tokens:rate{SHORT}", expr=f"{_billed(kind, facts)} or {engines}"
                )
                for kind in ("prompt", "generation")
            ),
            RecordingRule(record=POOL_COST, expr=_pool_cost(facts.namespace)),
            RecordingRule(
                record="inference:idle_cost_dollars_per_hour",
                expr=f"clamp_min({POOL_COST}{selector} - on (namespace,node_pool) "
                f"(sum by (namespace,node_pool) ({COST}{selector})), 0) or {POOL_COST}{selector}",
            ),
            # Against one replica that is always on; money is saved once the node goes too.
            RecordingRule(
                record="inference:scale_to_zero_savings_dollars_per_hour",
                expr=f"{price} * on ({BY_MODEL}) group_left () ({counted} == bool 0)",
            ),
            *(rule for window in WINDOWS for rule in _per_million(selector, window)),
        ],
    )


def _replica_price(model: ModelFacts, namespace: str) -> RecordingRule:
    labels = {"namespace": namespace, MODEL: model.name, "node_pool": model.node_pool}
    return RecordingRule(record=REPLICA_PRICE, expr=f"vector({model.price_per_replica_hour})", labels=labels)


def _node_price(pool: PoolFacts, namespace: str) -> RecordingRule:
    labels = {"namespace": namespace, "node_pool": pool.name}
    return RecordingRule(record=NODE_PRICE, expr=f"vector({pool.price_per_node_hour})", labels=labels)


def _billed(kind: str, facts: EnvironmentFacts) -> str:
    """Tokens per second over the last minute, each token in exactly one minute, whatever the scrape interval.

    `rate` begins at a series' first sample and leaves out what comes between a window's beginning and its first sample;
    an engine that wakes has requests to answer at once, and a few per cent of a short run's tokens were lost. So what
    counts is the difference to a minute ago, and all of it where the series was not there then. A series that was seen
    before that is not new, and none is while Prometheus is younger than the window: a router is there at zero engines
    too. `rate` is left for engines that are gone and for counters that began anew.
    """
    tokens = metric(f"vllm:{kind}_tokens_total", facts.namespace)
    router = f'up{{namespace="{facts.namespace}",inference_component="router"}}'
    watching = f"on (namespace) count by (namespace) ({router} offset {SHORT})"
    grown = f"({tokens} - {tokens} offset {SHORT}) / {SHORT_SECONDS} >= 0"
    born = f"({tokens} / {SHORT_SECONDS} unless last_over_time({tokens}[{REMEMBERED}] offset {SHORT})) and {watching}"
    return f"sum by ({BY_MODEL}) (({grown}) or ({born}) or rate({tokens}[{SHORT}]))"


def _pool_cost(namespace: str) -> str:
    """Nodes times price; a pool without a node costs nothing."""
    price = f'{NODE_PRICE}{{namespace="{namespace}"}}'
    nodes = 'label_replace(kube_node_labels,"node_pool","$1","label_inference_platform_node_pool","(.+)")'
    return f"{price} * on (node_pool) group_left () count by (node_pool) ({nodes}) or {price} * 0"


def _per_million(selector: str, window: str) -> list[RecordingRule]:
    """Dollars per million tokens: all tokens alike, and split into input and output by INPUT_WEIGHT."""
    per_second = f"sum by ({BY_MODEL}) (avg_over_time({COST}{selector}[{window}])) / 3600"
    prompt, generation = (
        f"avg_over_time(inference:billed_{kind}_tokens:rate{SHORT}{selector}[{window}])"
        for kind in ("prompt", "generation")
    )
    weighted = f"({generation} + {INPUT_WEIGHT} * {prompt} > 0)"
    tokens = {
        "all": f"{per_second} * 1e6 / ({generation} + {prompt} > 0)",
        "output": f"{per_second} * 1e6 / {weighted}",
        "input": f"{per_second} * 1e6 * {INPUT_WEIGHT} / {weighted}",
    }
    return [
        RecordingRule(record=f"{PER_MILLION}:{window}", expr=expr, labels={"tokens": name})
        for name, expr in tokens.items()
    ]
