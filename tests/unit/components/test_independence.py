"""Who may import whom. Reads source, so it also sees imports inside functions; not those by name at run time."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from subprocess import run

import pytest

from components import versions

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
SDKS = ("pulumi_aws", "pulumi_azure_native", "pulumi_gcp")
COMPONENTS = sorted((ROOT / "components").rglob("*.py"))


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("file", COMPONENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_components_do_not_know_the_layers_above(file: Path) -> None:
    above = [name for name in imports(file) if name.split(".")[0] in {"stacks", "planner", "load"}]
    assert above == []


@pytest.mark.parametrize("file", COMPONENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_only_a_clouds_own_folder_knows_a_cloud(file: Path) -> None:
    own = file.relative_to(ROOT / "components").parts
    if own[0] == "clouds" and len(own) > 2:
        return
    known = {name for name in imports(file) if name.startswith(("components.clouds.", "local", *SDKS))}
    assert known <= {"components.clouds.rules"}


def test_no_cloud_is_imported_before_it_is_chosen() -> None:
    code = "import sys, stacks.environment; print(*sys.modules, sep='\\n')"
    done = run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()
    assert "stacks.environment" in modules
    assert [
        name for name in modules if name.startswith(SDKS) or re.fullmatch(r"components\.clouds\.\w+\.cloud", name)
    ] == []


def test_the_configuration_needs_no_pulumi() -> None:
    """`python -m stacks validate` and `plan` answer at once: the SDK alone takes longer to import."""
    code = "import sys, stacks.config; print(*sys.modules, sep='\\n')"
    done = run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [name for name in done.stdout.splitlines() if name.split(".")[0].startswith("pulumi")] == []


def test_images_are_pinned() -> None:
    other = ("_CHART", "_VERSION")
    images = [value for name, value in vars(versions).items() if name.isupper() and not name.endswith(other)]
    assert len(images) == 7
    # NVIDIA's containers are released by the month.
    assert all(re.fullmatch(r"[a-z./-]+:v?\d+\.\d+(\.\d+|-[a-z0-9-]+)", image) for image in images)


def test_charts_are_pinned() -> None:
    charts = [value for name, value in vars(versions).items() if name.isupper() and name.endswith("_CHART")]
    assert len(charts) >= 6
    for chart in charts:
        assert isinstance(chart, versions.Chart)
        assert re.fullmatch(r"v?\d+\.\d+\.\d+", chart.version), chart
        assert re.match(r"https://|oci://", chart.repository), chart
    bare = [value for name, value in vars(versions).items() if name.endswith("_CHART_VERSION")]
    assert all(re.fullmatch(r"v?\d+\.\d+\.\d+", version) for version in bare)


def test_no_image_is_named_elsewhere() -> None:
    for file in COMPONENTS:
        if file.name != "versions.py":
            assert not re.search(r"\"(vllm/|haproxy:|lmsysorg/|ghcr\.io/|nvcr\.io/)", file.read_text()), file
