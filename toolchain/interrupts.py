"""SIGINT, which a shell makes its background jobs ignore, and with them all that they start."""

from __future__ import annotations

import signal


def heed_interrupts() -> None:
    """Let what this process starts end on SIGINT, also where this process was started in the background.

    Pulumi's engine ends its plugins with SIGINT and kills those that are still there five seconds later: plugins that
    ignore it make each command five seconds longer. Call it in the main thread, before anything is started.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
