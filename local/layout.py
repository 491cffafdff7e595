"""Where the embedded cluster keeps its files, and which addresses it uses.

All files live below one folder per cluster, readable by its owner alone. The
folder survives `down` only as far as that is useful: certificates and logs
stay, the contents of etcd and of the pods go.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolchain.build import cache_root

__all__ = ["cache_root"]

REPOSITORY = Path(__file__).resolve().parent.parent
TOOLS = REPOSITORY / "build" / "tools"

# Inside the cluster's own network namespace every address of these two ranges
# is local (`ip route add local`), so Pods and Services can bind theirs.
SERVICE_CIDR = "10.96.0.0/12"
POD_CIDR = "10.244.0.0/16"
PROCESS_POD_CIDR = "10.244.0.0/17"
FAKE_POD_CIDR = "10.244.128.0/18"
KUBERNETES_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
# One ordinary address: with loopback addresses alone, getaddrinfo(AI_ADDRCONFIG) finds nothing.
NODE_ADDRESS = "10.244.255.1"

API_PORT = 6443
PROMETHEUS_PORT = 9090
INTERCEPTOR_PROXY_PORT = 18080
INTERCEPTOR_ADMIN_PORT = 18081
EXTERNAL_SCALER_PORT = 18090
KEDA_METRICS_PORT = 18443
KUBE_STATE_METRICS_PORT = 18087


@dataclass(frozen=True)
class ClusterFiles:
    """Paths of one embedded cluster.

    Attributes:
        root: the cluster's folder, mode 0700.
    """

    root: Path

    @classmethod
    def named(cls, name: str) -> ClusterFiles:
        """The cluster that serves the environment ``name``."""
        return cls(cache_root() / "cluster" / name)

    def create(self) -> None:
        """Make the folders; nothing in them is readable by others."""
        for folder in (self.root, self.certificates, self.logs, self.run, self.state, self.configuration):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)

    @property
    def certificates(self) -> Path:
        """Keys and certificates; made once."""
        return self.root / "certificates"

    @property
    def configuration(self) -> Path:
        """Configuration files of the processes, written at every start."""
        return self.root / "configuration"

    @property
    def rules(self) -> Path:
        """Prometheus' rule files, written by the rule loader."""
        return self.configuration / "rules"

    @property
    def logs(self) -> Path:
        """One file per process; the previous start's as ``.1``."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Process ids, locks and the status file."""
        return self.root / "run"

    @property
    def state(self) -> Path:
        """etcd, Prometheus and the pods."""
        return self.root / "state"

    @property
    def kubeconfig(self) -> Path:
        """Administrator's access from the host, over 127.0.0.1."""
        return self.root / "kubeconfig"

    @property
    def status(self) -> Path:
        """What the supervisor last reported, JSON."""
        return self.run / "status.json"

    def kubeconfig_of(self, identity: str) -> Path:
        """Access of one process inside the namespace."""
        return self.configuration / f"{identity}.kubeconfig"


def tool(name: str) -> str:
    """Absolute path of a built program.

    Raises:
        FileNotFoundError: the toolchain is not built; the message says how to build it.
    """
    path = TOOLS / "bin" / name
    if not path.exists():
        raise FileNotFoundError(f"{name} is not built: run `make tools`")
    return str(path)


def share(relative: str) -> Path:
    """A file or folder that came with a built program."""
    return TOOLS / "share" / relative
