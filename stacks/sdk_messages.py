"""Messages of the Pulumi SDK that nobody asked for.

The SDK sends the engine four debug messages per resource, each a blocking call, whether or not
anybody reads them (pulumi 3.272, `pulumi/runtime/resource.py` and `pulumi/log.py`). At 118 resources that is a sixth
of a preview; docs/measurements.md has the figures.
"""

from __future__ import annotations

import os
from typing import Final

import pulumi

VARIABLE: Final = "INFERENCE_PLATFORM_SDK_DEBUG"


def drop_debug_messages() -> None:
    """Keep the SDK's debug messages from the engine, unless ``INFERENCE_PLATFORM_SDK_DEBUG`` is set.

    Warnings, errors and our own messages are sent as before. `pulumi up --debug` then shows the engine's and the
    providers' debug messages only.
    """
    if not os.environ.get(VARIABLE):
        pulumi.log.debug = _drop


def _drop(
    msg: str,
    resource: pulumi.Resource | None = None,
    stream_id: int | None = None,
    ephemeral: bool | None = None,
) -> None:
    """As `pulumi.log.debug`, and nothing happens."""
