"""`make up`, `make status`, `make down`: the whole environment on this machine.

Ties together the embedded cluster and the Pulumi program that any other cloud
uses too; there is no second way of deploying for the laptop.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from local import cluster
from local.cli import Progress, print_status
from local.layout import REPOSITORY, ClusterFiles
from local.pulumi_cli import Pulumi, PulumiError
from stacks.config import EnvironmentConfig, load_stack_file
from stacks.errors import ConfigError
from toolchain.interrupts import heed_interrupts

app = typer.Typer(
    help="The environment of a stack with `cloud: local`, on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
DESTROY_SECONDS = 40.0
"""Bound of `pulumi destroy` in `make down`, which promises to end within a minute."""

console = Console(stderr=True, highlight=False, soft_wrap=True)
Stack = Annotated[str, typer.Option("--stack", "-s", help="Stack: Pulumi.<stack>.yaml describes it.")]


def fail(message: object, code: int = 1) -> NoReturn:
    """Say what is wrong, without a traceback."""
    console.print(str(message), style="red", markup=False)
    raise typer.Exit(code)


def load(stack: str) -> EnvironmentConfig:
    """The stack's configuration, checked; it must be for this machine."""
    try:
        config = load_stack_file(REPOSITORY / f"Pulumi.{stack}.yaml")
    except ConfigError as error:
        fail(error)
    if config.cloud != "local":
        fail(
            f"Pulumi.{stack}.yaml has cloud: {config.cloud}. This command is for cloud: local; "
            f"deploy this stack with `pulumi up --stack {stack}`."
        )
    return config


@app.command()
def up(stack: Stack = "dev") -> None:
    """Start the cluster, deploy the stack, say what to try next."""
    begun = time.monotonic()
    config = load(stack)
    files = ClusterFiles.named(stack)
    try:
        with alone(files):
            # The engine's preparations need no cluster: they run while it starts.
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                prepared = pool.submit(prepare, files)
                seconds = cluster.up(files, config.gateway.host_port, Progress())
                prepared.result()
            console.print(f"cluster ready in {seconds:.1f} s" if seconds else "cluster was running already")
            deploy(Pulumi.of_cluster(files))
    except (cluster.ClusterError, PulumiError, BusyError) as error:
        fail(f"make up: {error}")
    except KeyboardInterrupt:
        fail("\ninterrupted: `make up` goes on from here, `make down` removes everything", 130)
    print_welcome(config, files, time.monotonic() - begun)


class BusyError(Exception):
    """Another command works on the same environment."""


@contextlib.contextmanager
def alone(files: ClusterFiles) -> Iterator[None]:
    """Keep two commands from working on one environment at a time.

    Raises:
        BusyError: another one is at it.
    """
    files.root.mkdir(parents=True, exist_ok=True)
    with (files.root / "environment.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError("another `make up` or `make down` works on this environment: wait for it to end") from None
        yield


def prepare(files: ClusterFiles) -> None:
    """Make the engine ready, and its state true to a cluster that starts empty."""
    pulumi = Pulumi.of_cluster(files)
    pulumi.clear_after_crash()
    if pulumi.exists() and not (files.state / "etcd").exists():
        pulumi.forget()
    pulumi.prepare()


def deploy(pulumi: Pulumi) -> None:
    """`pulumi up`, its progress shown as it comes."""
    begun = time.monotonic()
    quiet = ("--suppress-outputs", "--suppress-progress")
    pulumi.run("up", "--yes", "--skip-preview", *quiet, "--stack", pulumi.stack, capture=False)
    console.print(f"pulumi up took {time.monotonic() - begun:.1f} s")


def print_welcome(config: EnvironmentConfig, files: ClusterFiles, seconds: float) -> None:
    """The URL and what to try next."""
    ports = cluster.ports(files)
    url = f"http://127.0.0.1:{ports.gateway}"
    model = config.model_deployments[0].name
    body = json.dumps(
        {"model": model, "stream": True, "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}]}
    )
    print(f"""
Environment {files.root.name} is up after {seconds:.1f} s: {url}
  models      {", ".join(deployment.name for deployment in config.model_deployments)} (at zero until the first request)
  Prometheus  http://127.0.0.1:{ports.prometheus}
  API server  export KUBECONFIG={files.kubeconfig}

Real here: Pulumi, Kubernetes, the scheduler, KEDA, the HPA, Prometheus, the gateway and the vLLM router.
Simulated: the nodes, their GPUs, and the engines (they speak vLLM's API and take its time; their text means nothing).

Try:
  curl -N {url}/v1/chat/completions -H 'content-type: application/json' -d '{body}'
  make load      send traffic and watch the models scale
  make status    processes, models and replicas
  make down      remove everything""")


@app.command()
def down(stack: Stack = "dev") -> None:
    """Destroy the stack, stop the cluster; nothing is left running."""
    files = ClusterFiles.named(stack)
    pulumi = Pulumi.of_cluster(files)
    try:
        with alone(files):
            pulumi.clear_after_crash()
            if cluster.status(files)["ready"] and pulumi.exists():
                destroy(pulumi)
            cluster.down(files)
            # What the state still names went with the cluster's store.
            pulumi.forget()
    except (cluster.ClusterError, PulumiError, BusyError) as error:
        fail(f"make down: {error}")
    console.print("nothing is left running")


def destroy(pulumi: Pulumi) -> None:
    """`pulumi destroy`; a failure is reported, and does not keep the cluster from being removed.

    Pods may drain for as long as the longest answer (`drain_seconds`). Who takes the whole cluster down does not wait.
    """
    quiet = ("--skip-preview", "--suppress-progress", "--suppress-outputs")
    try:
        pulumi.run("destroy", "--yes", *quiet, "--stack", pulumi.stack, capture=False, timeout_seconds=DESTROY_SECONDS)
    except PulumiError as error:
        console.print(f"{error}\nremoving the cluster all the same", style="yellow", markup=False)
        pulumi.clear_after_crash()


@app.command()
def status(
    stack: Stack = "dev", as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False
) -> None:
    """The cluster's processes, the models and their replicas; status 1 if not ready."""
    files = ClusterFiles.named(stack)
    report = cluster.status(files) | {"guard_pid": cluster.guard_pid(files)}
    models = model_table(files, stack) if report["ready"] else []
    if as_json:
        print(json.dumps(report | {"models": models}))
    else:
        print_status(report)
        print_models(models)
    if not report["ready"]:
        raise typer.Exit(1)


def model_table(files: ClusterFiles, stack: str) -> list[dict[str, Any]]:
    """Replicas and pods of each model deployment, read from the API."""
    import httpx2
    from lightkube import ApiError, Client, KubeConfig
    from lightkube.resources.apps_v1 import Deployment

    client = Client(config=KubeConfig.from_file(str(files.kubeconfig)))
    label = "inference.platform/component"
    try:
        engines = list(client.list(Deployment, namespace=f"inference-{stack}", labels={label: "engine"}))
    except (ApiError, httpx2.HTTPError) as error:
        fail(f"the API server does not answer as it should: {error}")
    return [
        {
            "model": (engine.metadata.labels or {})["inference.platform/model"],
            "replicas": engine.spec.replicas or 0,
            "ready": (engine.status.readyReplicas if engine.status else 0) or 0,
        }
        for engine in engines
        if engine.metadata and engine.spec
    ]


def print_models(models: list[dict[str, Any]]) -> None:
    """A line per model."""
    output = Console(highlight=False)
    for row in models:
        bar = "█" * row["ready"] + "░" * (row["replicas"] - row["ready"])
        output.print(f"  model {row['model']:<20} {row['ready']}/{row['replicas']} replicas ready  {bar}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def pulumi(context: typer.Context, stack: Stack = "dev") -> None:
    """Any pulumi command on the stack, e.g. `python -m local.environment pulumi preview --diff`."""
    try:
        Pulumi.of_cluster(ClusterFiles.named(stack)).run(*context.args, "--stack", stack, capture=False)
    except PulumiError:
        raise typer.Exit(1) from None


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def load_test(context: typer.Context, stack: Stack = "dev") -> None:
    """`python -m load` against the running environment: its URL, namespace and kubeconfig are filled in."""
    files = ClusterFiles.named(stack)
    if not cluster.status(files)["ready"]:
        fail(f"the environment {stack} is not running: `make up` starts it")
    where = ["--kubeconfig", str(files.kubeconfig), "--namespace", f"inference-{stack}"]
    where += ["--url", f"http://127.0.0.1:{cluster.ports(files).gateway}"]
    # A subcommand of the load generator comes before its options.
    words = context.args
    command = [words[0]] if words and not words[0].startswith("-") else []
    arguments = [sys.executable, "-m", "load", *command, *where, *words[len(command) :]]
    os.execv(sys.executable, arguments)  # noqa: S606 - becomes the load generator


def main() -> None:
    """Entry point that keeps tracebacks from users."""
    heed_interrupts()
    try:
        app(prog_name="python -m local.environment")
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
