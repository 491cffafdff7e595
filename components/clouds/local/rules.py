"""What the local cloud says about a configuration: any machine of the catalogue can be simulated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from components.clouds.rules import CloudRules, CloudSettings, EnvironmentWish, Objection, PoolWish, TaintFacts


class LocalRules:
    """Nothing is impossible on nodes that are not there; what cannot be simulated has no effect and is documented."""

    settings: type[CloudSettings] | None = None
    default_region = ""
    installs = False
    spot_grace_seconds: int | None = None

    def gpu_resource(self, pool: PoolWish) -> str:
        """The device plugin's names."""
        return ""

    def extra_taints(self, pool: PoolWish) -> Sequence[TaintFacts]:
        """None."""
        return ()

    def check_pool(self, pool: PoolWish, environment: EnvironmentWish) -> Iterator[Objection]:
        """Nothing."""
        yield from ()

    def check_environment(self, environment: EnvironmentWish) -> Iterator[Objection]:
        """Nothing."""
        yield from ()


RULES: Final[CloudRules] = LocalRules()
