"""The policy pack: `pulumi preview --policy-pack policy --policy-pack-config policy/levels/prod.json`."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

# The engine runs this folder as a program; the pack is a package beside the rest of the project.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pulumi_policy import PolicyPack

from policy.once import convert_once
from policy.pack import NAME, policies

convert_once()
# The process lives for one run and keeps what it has decoded: looking for garbage would find none.
gc.disable()
# Serves until the engine ends it.
PolicyPack(NAME, policies())
