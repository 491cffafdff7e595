"""The documentation holds together: links lead somewhere, every page is in the index, commands and paths exist.

Generated pages are kept fresh by tests beside what generates them (`test_reference.py`, `test_policy_reference.py`).
Links to other sites are not followed.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
import typer

from stacks.cli import app
from stacks.config.vocabulary import (
    BUILT_ENGINES,
    BUILT_SERVING_STACKS,
    BUILT_TOPOLOGIES,
    EngineName,
    ServingStack,
    TopologyKind,
)

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1\s*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*\s*$", re.MULTILINE)
STACKS = re.compile(r"python -m stacks ([a-z]+)\b")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def links(page: Path) -> Iterator[str]:
    yield from LINK.findall(CODE.sub("", FENCE.sub("", page.read_text(encoding="utf-8"))))


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    result = set()
    for heading in HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        again = found.get(slug, 0)
        found[slug] = again + 1
        result.add(f"{slug}-{again}" if again else slug)
    return result


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        inside = target.is_relative_to(ROOT) and target.exists()
        if not inside or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_page_is_in_the_index() -> None:
    index = DOCS / "README.md"
    listed = {(DOCS / link.partition("#")[0]).resolve() for link in links(index) if ":" not in link}
    folders = {path for path in listed if path.is_dir()}
    pages = {page for page in PAGES if page.is_relative_to(DOCS) and page != index}
    assert [name(page) for page in sorted(pages) if page not in listed and page.parent not in folders] == []


def test_commands_that_the_pages_name_exist() -> None:
    command = typer.main.get_command(app)
    assert isinstance(command, click.Group)
    for page in PAGES:
        unknown = set(STACKS.findall(page.read_text(encoding="utf-8"))) - set(command.commands)
        assert unknown == set(), name(page)


def test_every_command_is_in_the_pages() -> None:
    command = typer.main.get_command(app)
    assert isinstance(command, click.Group)
    page = text("self-service.md")
    assert [word for word in command.commands if f"`{word}" not in page] == []


def test_what_is_said_to_be_built_is() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (engine|serving stack|topology) \| (yes|no) \|$", text("choosing.md"), re.M)
    kinds = {
        "engine": (EngineName, BUILT_ENGINES),
        "serving stack": (ServingStack, BUILT_SERVING_STACKS),
        "topology": (TopologyKind, BUILT_TOPOLOGIES),
    }
    expected = {
        (word.value, kind, "yes" if word in built else "no") for kind, (words, built) in kinds.items() for word in words
    }
    assert set(rows) == expected


def test_the_pages_speak_of_no_machine() -> None:
    """Paths of whoever wrote a page are no use to whoever reads it."""
    found = subprocess.run(
        ["git", "grep", "-nE", r"/(home|root|work|tmp/wt)/", "--", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""
