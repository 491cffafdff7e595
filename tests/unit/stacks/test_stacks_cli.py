"""The commands: tables or errors, exit status, machine-readable output, quick start.

Shows the command line in this process and once as a process; not how it looks on a real terminal.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from stacks.cli import app, project_folder
from stacks.config import ENVIRONMENT_KEY
from tests.unit.stacks.config_samples import Raw, sample

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
RUN = CliRunner()


def write(folder: Path, raw: Raw) -> Path:
    (folder / "Pulumi.x.yaml").write_text(yaml.safe_dump({"config": {ENVIRONMENT_KEY: raw}}))
    return folder


def validate(folder: Path, *options: str, stack: str = "x") -> tuple[int, str, str]:
    done = RUN.invoke(app, ["validate", "-s", stack, "-C", str(folder), *options])
    return done.exit_code, done.stdout, done.stderr


def test_the_dev_stack_is_valid_and_without_warnings() -> None:
    status, output, problems = validate(ROOT, stack="dev")
    assert (status, problems) == (0, "")
    rows = [line.split() for line in output.splitlines()]
    assert ["l4", "g6.12xlarge", "4", "x", "NVIDIA", "L4", "none", "on-demand", "3", "13.80"] in rows
    assert ["chat", "l4", "1", "15.0", "GiB", "23,840", "8,192", "17", "0", "to", "5"] in rows
    assert ["meta-llama/Llama-3.1-8B-Instruct"] in rows
    assert ["code", "l4", "1", "14.2", "GiB", "68,128", "8,192", "49", "0", "to", "5"] in rows
    assert "what these nodes would cost; here they are simulated" in " ".join(output.split())
    assert "warning" not in output


def test_the_dev_stack_as_json() -> None:
    status, output, _ = validate(ROOT, "--json", stack="dev")
    report = json.loads(output)
    assert status == 0
    assert report["valid"] is True
    assert [pool["hourly_max"] for pool in report["pools"]] == [13.8048]
    assert [(model["name"], model["kv_cache_tokens"]) for model in report["models"]] == [
        ("chat", 23_840),
        ("code", 68_128),
    ]
    assert report["environment"]["model_deployments"][1]["scaling"] == {
        "min_replicas": 0,
        "max_replicas": 5,
        "queue_depth": 4,
        "concurrency": 16,
        "polling_interval_seconds": 2,
        "startup_budget_seconds": 10,
        "cooldown_seconds": 15,
        "scale_down_stabilization_seconds": 15,
        "drain_seconds": 120,
        "idle": {"kind": "scale"},
    }


def test_errors_go_to_standard_error_with_status_1(tmp_path: Path) -> None:
    write(tmp_path, sample(cloud=1, gateway=2))
    assert validate(tmp_path) == (
        1,
        "",
        "Pulumi.x.yaml: 2 errors\n"
        "  cloud: not one of the words that can stand here (got 1); choose from local, aws, azure, gcp, existing.\n"
        "  gateway: must be a mapping of keys to values (got 2); choose from host_port, replicas, host, tls, limits.\n",
    )


def test_errors_as_json(tmp_path: Path) -> None:
    write(tmp_path, sample(node_pools__0__max_nodes=0))
    status, output, problems = validate(tmp_path, "--json")
    assert (status, problems) == (1, "")
    assert json.loads(output) == {
        "stack": "x",
        "valid": False,
        "errors": [
            {
                "path": "node_pools[0].max_nodes",
                "value": "0",
                "message": "must be a whole number from 1 to 1000",
                "choices": [],
                "fix": "",
            }
        ],
    }


def test_warnings_are_shown(tmp_path: Path) -> None:
    pool = {"name": "idle", "instance_type": "p5e.48xlarge", "min_nodes": 1, "max_nodes": 2}
    raw = sample(node_pools__0__max_nodes=1)
    raw["node_pools"].append(pool)
    status, output, _ = validate(write(tmp_path, raw))
    text = " ".join(output.split())
    assert status == 0
    assert (
        "warning: node_pools[0].max_nodes: chat at max_replicas need 5 GPUs or slices, and 1 nodes have 4: the last "
        "replicas would wait for a place." in text
    )
    assert "warning: node_pools[1]: no model deployment uses the pool idle." in text
    assert (
        "warning: model_deployments[0].scaling.concurrency: 32 requests per replica are more than the 17 that one "
        "replica batches: the rest waits in the engine." in text
    )
    # No list price in the catalogue.
    (row,) = [line.split() for line in output.splitlines() if line.split()[:1] == ["idle"]]
    assert " ".join(row) == "idle p5e.48xlarge 8 x NVIDIA H200 141GB SXM none on-demand 1 to 2 ?"


def test_a_stack_that_is_not_there(tmp_path: Path) -> None:
    status, output, problems = validate(write(tmp_path, {}), stack="y")
    assert (status, output) == (1, "")
    assert problems == (
        f"stack: 1 error\n  stack: there is no Pulumi.y.yaml in {tmp_path} (got 'y'); choose from x. Write "
        f"Pulumi.y.yaml, "
        "or copy Pulumi.dev.yaml.\n"
    )


def test_usage_errors_have_status_2() -> None:
    assert RUN.invoke(app, ["validate"]).exit_code == 2
    assert RUN.invoke(app, ["schema", "--markdown", "--stack-file"]).exit_code == 2


def test_the_project_is_found_upwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Pulumi.yaml").touch()
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert project_folder() == tmp_path
    (tmp_path / "Pulumi.yaml").unlink()
    assert project_folder() == ROOT


def test_validating_imports_neither_pulumi_nor_its_provider() -> None:
    # What makes it quick: `import pulumi_kubernetes` alone takes as long as the whole command.
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from stacks.cli import app\n"
        f"done = CliRunner().invoke(app, ['validate', '-s', 'dev', '-C', {str(ROOT)!r}])\n"
        "print(done.exit_code, sorted({name.split('.')[0] for name in sys.modules} & "
        "{'pulumi', 'pulumi_kubernetes', 'lightkube', 'aiohttp', 'grpc'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "0 []\n"


def test_as_a_process_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.x.yaml").write_bytes(bytes(range(256)))
    done = subprocess.run(
        [sys.executable, "-m", "stacks", "validate", "-s", "x", "-C", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "Pulumi.x.yaml: 1 error\n  Pulumi.x.yaml: is not UTF-8 text (byte 0x80 in line 2). Save it as UTF-8, or "
        "restore it "
        "from git.\n"
    )
