"""An address for each pod.

Addresses are given out in order through the whole range and come round again only
at its end, so a client that still holds a dead pod's address does not reach another
pod. The place in the order survives the agent.
"""

from __future__ import annotations

import ipaddress
import json
import logging
from pathlib import Path

from local.node_agent import files

log = logging.getLogger(__name__)


class AddressesExhaustedError(Exception):
    """Every address of the pod range is in use."""


class PodAddresses:
    """Gives addresses out of one range and remembers who holds which.

    Attributes:
        network: the range; its first and last address are not given out.
    """

    def __init__(self, network: ipaddress.IPv4Network, file: Path) -> None:
        """Take up where the file left off.

        Args:
            network: the range, at most a /30.
            file: where the state is kept; JSON.
        """
        self.network = network
        self._file = file
        self._held: dict[str, ipaddress.IPv4Address] = {}
        self._next = 1
        self._load()

    def allocate(self, pod_uid: str, wanted: str | None = None) -> str:
        """The pod's address: the one that it holds, else the wanted one if free, else the next.

        Args:
            pod_uid: who asks.
            wanted: the address in the pod's status, where the agent lost its own files.

        Raises:
            AddressesExhaustedError: the range is full.
        """
        held = self._held.get(pod_uid)
        if held is not None:
            return str(held)
        address = self._wanted(wanted) or self._following()
        self._held[pod_uid] = address
        self._save()
        return str(address)

    def release(self, pod_uid: str) -> None:
        """Give a pod's address back; it waits for its next turn."""
        if self._held.pop(pod_uid, None) is not None:
            self._save()

    def keep_only(self, pod_uids: set[str]) -> None:
        """Give back the addresses of all other pods."""
        for uid in set(self._held) - pod_uids:
            self.release(uid)

    def _wanted(self, wanted: str | None) -> ipaddress.IPv4Address | None:
        if not wanted:
            return None
        try:
            address = ipaddress.IPv4Address(wanted)
        except ValueError:
            return None
        free = address in self.network and address not in self._held.values()
        return address if free else None

    def _following(self) -> ipaddress.IPv4Address:
        taken = set(self._held.values())
        usable = self.network.num_addresses - 2
        for _ in range(usable):
            address = self.network[self._next]
            self._next = self._next % usable + 1
            if address not in taken:
                return address
        raise AddressesExhaustedError(f"all {usable} pod addresses of {self.network} are in use")

    def _load(self) -> None:
        try:
            state = json.loads(self._file.read_text())
            self._next = max(1, int(state["next"]) % (self.network.num_addresses - 1))
            held = {uid: ipaddress.IPv4Address(address) for uid, address in state["held"].items()}
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s cannot be read (%s): addresses are given out from the start", self._file, error)
            return
        self._held = {uid: address for uid, address in held.items() if address in self.network}

    def _save(self) -> None:
        held = {uid: str(address) for uid, address in self._held.items()}
        files.write(self._file, json.dumps({"next": self._next, "held": held}))
