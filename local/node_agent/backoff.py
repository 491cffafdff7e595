"""How long a container that ended waits before it is started again.

The kubelet's rule (k8s.io/client-go/util/flowcontrol/backoff.go and kuberuntime's
doBackOff): the first restart is immediate, the next waits the initial delay
counted from the container's end, each one after it twice as long up to the
longest, and all is forgotten when the last restart is older than twice the longest.
"""

from __future__ import annotations

from dataclasses import dataclass, field

KUBELET_INITIAL_SECONDS = 10.0
KUBELET_LONGEST_SECONDS = 300.0


@dataclass
class RestartBackoff:
    """The delays of one container.

    Attributes:
        initial: seconds before the second restart; the kubelet's is 10.
        longest: seconds at most; the kubelet's is 300.
    """

    initial: float = KUBELET_INITIAL_SECONDS
    longest: float = KUBELET_LONGEST_SECONDS
    _delay: float = field(default=0.0, init=False)
    _last_restart: float | None = field(default=None, init=False)

    def delay_after_end(self, now: float) -> float:
        """Seconds to wait, for a container that ended at ``now`` (any clock, in seconds)."""
        if self._forgotten(now):
            return 0.0
        return self._delay

    def restarted(self, now: float) -> None:
        """Note a restart; lengthens the next delay."""
        self._delay = self.initial if self._forgotten(now) else min(2 * self._delay, self.longest)
        self._last_restart = now

    def _forgotten(self, now: float) -> bool:
        return self._last_restart is None or now - self._last_restart > 2 * self.longest
