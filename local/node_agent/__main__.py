"""Command line of the node agent."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import ipaddress
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import uvloop
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from local.layout import NODE_ADDRESS, PROCESS_POD_CIDR
from local.node_agent import files
from local.node_agent.actions import http_client
from local.node_agent.addresses import PodAddresses
from local.node_agent.agent import Agent
from local.node_agent.images import ImageTableError, default_table
from local.node_agent.kubernetes import LightkubeApi
from local.node_agent.service_account import ApiEndpoint
from local.node_agent.surroundings import Surroundings

log = logging.getLogger("local.node_agent")

# The kubelet's 10 s make sense where an image is pulled and a GPU is set up again; here a start costs nothing.
INITIAL_BACKOFF_SECONDS = 1.0
# Two addresses are never given out; the smallest range that leaves any is a /30.
LONGEST_PREFIX = 30


class UsageError(Exception):
    """The agent cannot run as it was asked to; the message says why and what to do."""


def main() -> int:
    """Run the agent until SIGTERM or SIGINT, which leave the pods' processes as they are."""
    options = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # One line for each request of the client says nothing that an error does not say better.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    try:
        config = _kubeconfig(options.kubeconfig)
        state = _state_directory(options.state_dir)
        with _alone(state):
            uvloop.run(_run(options, config, state))
    except (UsageError, ImageTableError) as error:
        print(f"node agent: {error}", file=sys.stderr)
        return 2
    return 0


async def _run(options: argparse.Namespace, config: SingleConfig, state: Path) -> None:
    loop = asyncio.get_running_loop()
    async with contextlib.aclosing(LightkubeApi(config)) as api, http_client() as http:
        surroundings = Surroundings(
            api=api,
            table=default_table(),
            addresses=PodAddresses(options.pod_cidr, state / "addresses.json"),
            state=state,
            endpoint=ApiEndpoint.of(config),
            http=http,
            initial_backoff=options.restart_backoff_initial,
        )
        agent = Agent(surroundings, dict(options.node_selector), options.host_ip)
        work = asyncio.create_task(agent.run())
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, work.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await work


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local.node_agent",
        description="Runs pods of KWOK's nodes as processes, for the images of images.toml.",
    )
    parser.add_argument("--kubeconfig", type=Path, required=True, help="access to the API server")
    parser.add_argument(
        "--state-dir", type=Path, required=True, help="pods, volumes, logs and addresses; made if missing"
    )
    parser.add_argument(
        "--node-selector",
        type=_label,
        action="append",
        default=[],
        metavar="LABEL=VALUE",
        help="only nodes with this label; may be repeated; default: all nodes with kwok.x-k8s.io/node=fake",
    )
    parser.add_argument(
        "--pod-cidr",
        type=_network,
        default=_network(PROCESS_POD_CIDR),
        help=f"addresses of pods, IPv4; default {PROCESS_POD_CIDR}",
    )
    parser.add_argument(
        "--host-ip",
        default=NODE_ADDRESS,
        help=f"address of nodes that state none; default {NODE_ADDRESS}",
    )
    parser.add_argument(
        "--restart-backoff-initial",
        type=_seconds,
        default=INITIAL_BACKOFF_SECONDS,
        metavar="SECONDS",
        help="delay before a container's second restart, doubled up to 300 s; "
        f"default {INITIAL_BACKOFF_SECONDS:g} (a kubelet's is 10)",
    )
    return parser


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not LABEL=VALUE")
    return name, value


def _network(text: str) -> ipaddress.IPv4Network:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if network.prefixlen > LONGEST_PREFIX:
        raise argparse.ArgumentTypeError(f"{text} has no room for pods; use at most a /{LONGEST_PREFIX}")
    return network


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _kubeconfig(path: Path) -> SingleConfig:
    try:
        config = KubeConfig.from_file(path).get()
    except ConfigError as error:
        raise UsageError(f"--kubeconfig {path}: {error}") from None
    except Exception as error:
        # The library has no error of its own for broken YAML, a missing key or a wrong type.
        reason = f"{type(error).__name__} {error}"
        raise UsageError(f"--kubeconfig {path}: not a kubeconfig ({reason})") from None
    if config is None or config.user is None:
        raise UsageError(f"--kubeconfig {path}: it names no user; the API server lets nobody else in")
    return config


def _state_directory(path: Path) -> Path:
    state = path.resolve()
    try:
        (state / "pods").mkdir(parents=True, exist_ok=True, mode=files.PRIVATE_FOLDER)
        state.chmod(files.PRIVATE_FOLDER)
    except OSError as error:
        raise UsageError(f"--state-dir {path}: {error.strerror}") from None
    return state


@contextlib.contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Hold the state directory against a second agent; the kernel lets go when the agent ends."""
    descriptor = os.open(state / "lock", os.O_WRONLY | os.O_CREAT, files.PRIVATE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UsageError(f"--state-dir {state}: another node agent uses it; end that one first") from None
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
