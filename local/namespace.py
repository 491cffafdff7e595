"""A network, mount and process namespace of the cluster's own.

`python -m local.namespace -- COMMAND...` runs a command as process 1 of fresh
namespaces: as root directly, as an ordinary user inside a user namespace. The
command sees no network but the cluster's addresses, its own /proc and its own
/etc/resolv.conf. When process 1 ends, the kernel ends every process in the
namespace with it, and namespaces and mounts go: nothing can be left behind.

The process that calls this stays outside as process 1's parent and ends with
its exit status; if it is killed, process 1 is killed too.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from pyroute2 import IPRoute

from local.layout import DNS_ADDRESS, NODE_ADDRESS, POD_CIDR, SERVICE_CIDR

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8
PR_SET_PDEATHSIG = 1
ROUTE_TYPE_LOCAL = 2
ROUTE_TABLE_LOCAL = 255

RESOLV_CONF = f"""nameserver {DNS_ADDRESS}
search default.svc.cluster.local svc.cluster.local cluster.local
options ndots:5
"""

libc = ctypes.CDLL(None, use_errno=True)


class NamespaceError(Exception):
    """The kernel refused a namespace; the message says what to do."""


def check(result: int, what: str) -> None:
    """Turn a libc failure into an error that names the step."""
    if result != 0:
        raise NamespaceError(f"{what}: {os.strerror(ctypes.get_errno())}")


def unshare() -> None:
    """Leave the host's network, mounts and process ids; an ordinary user also its user namespace.

    Raises:
        NamespaceError: the kernel or a security module forbids it.
    """
    user, group = os.geteuid(), os.getegid()
    flags = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID
    if user != 0:
        flags |= CLONE_NEWUSER
    try:
        check(libc.unshare(flags), "unshare")
    except NamespaceError as error:
        raise NamespaceError(
            f"cannot make namespaces ({error}). As an ordinary user this needs unprivileged user namespaces: "
            "check `sysctl user.max_user_namespaces kernel.unprivileged_userns_clone "
            "kernel.apparmor_restrict_unprivileged_userns` (they must allow it), or run as root."
        ) from None
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def mount(source: str, target: str, kind: str, flags: int) -> None:
    """Attach a file system; the system call of this name."""
    check(
        libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None),
        f"mount {kind or source} on {target}",
    )


def prepare_mounts(resolv_conf: Path) -> None:
    """Give the namespace its own /proc and name resolution, invisible to the host."""
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc", MS_NOSUID_NODEV_NOEXEC)
    resolv_conf.write_text(RESOLV_CONF)
    # /etc/resolv.conf is often a link into /run: bind over the file it leads to.
    mount(str(resolv_conf), str(Path("/etc/resolv.conf").resolve()), "", MS_BIND)


def prepare_network() -> None:
    """Bring loopback up and make every pod and Service address local."""
    with IPRoute() as route:
        loopback = route.link_lookup(ifname="lo")[0]
        route.link("set", index=loopback, state="up")
        route.addr("add", index=loopback, address=NODE_ADDRESS, prefixlen=32)
        for cidr in (SERVICE_CIDR, POD_CIDR):
            route.route("add", dst=cidr, oif=loopback, type=ROUTE_TYPE_LOCAL, table=ROUTE_TABLE_LOCAL, scope=254)


def run(command: Sequence[str], resolv_conf: Path) -> int:
    """Run ``command`` as process 1 of new namespaces; its exit status.

    Raises:
        NamespaceError: the namespaces cannot be made.
    """
    unshare()
    child = os.fork()
    if child == 0:
        try:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            prepare_mounts(resolv_conf)
            prepare_network()
            os.execvp(command[0], list(command))  # noqa: S606 - becomes process 1
        except BaseException as error:
            print(f"namespace: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.kill(child, signal.SIGKILL))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def main() -> int:
    """Command line: ``--resolv-conf FILE -- COMMAND...``."""
    parser = argparse.ArgumentParser(description="Run a command as process 1 of the cluster's namespaces.")
    parser.add_argument("--resolv-conf", type=Path, required=True, help="file to write and bind over resolv.conf")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    try:
        return run(options.command, options.resolv_conf)
    except NamespaceError as error:
        print(f"namespace: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
