"""`python -m ci.comment STACK FOLDER`: the comment on a pull request, as Markdown.

Reads what `ci/pull_request.sh` has written: plan.json, plan-before.json (if there was a stack before) and preview.txt.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from planner.difference import differences

MARK: Final = "<!-- inference-platform:{stack} -->"
"""First line, which a page does not show: whoever keeps comments apart by stack finds this one by it."""

MOST_DIFFERENCES: Final = 30
MONEY: Final = (("hourly_min", "at its smallest"), ("hourly_max", "at its largest"))
SECTION: Final = re.compile(r"^(Policies|Diagnostics|Resources|Outputs):", re.MULTILINE)


def comment(stack: str, plan: dict[str, Any], before: dict[str, Any] | None, preview: str) -> str:
    """The comment.

    Args:
        stack: its name.
        plan: of the pull request, as `python -m stacks plan --json` prints it.
        before: the same of the base; None if there was no such stack.
        preview: what `pulumi preview` printed.
    """
    parts = [MARK.format(stack=stack), f"### `{stack}`: {verdict(preview)}", "", *_cost(plan, before)]
    found = sections(preview)
    parts += ["", "**Changes**", "", *_fenced(found.get("Resources", "nothing was previewed"))]
    if "Policies" in found:
        parts += ["", "**Policies**", "", *_fenced(found["Policies"])]
    if before is not None:
        parts += ["", *_plan_changes(before, plan)]
    if "error:" in preview:
        # A run that never began has no headings.
        parts += ["", "**What the engine says**", "", *_fenced(found.get("Diagnostics", preview.strip()))]
    return "\n".join(parts) + "\n"


def verdict(preview: str) -> str:
    """One line on how it went."""
    if "[mandatory]" in preview:
        return ":x: a mandatory policy objects"
    if "error:" in preview:
        return ":x: the preview failed"
    return ":warning: policies advise a change" if "[advisory]" in preview else ":white_check_mark: can be deployed"


def sections(preview: str) -> dict[str, str]:
    """The parts of the engine's output by their headings."""
    heads = list(SECTION.finditer(preview))
    ends = [*(head.start() for head in heads[1:]), len(preview)]
    return {head[1]: preview[head.end() : end].strip("\n").rstrip() for head, end in zip(heads, ends, strict=False)}


def _cost(plan: dict[str, Any], before: dict[str, Any] | None) -> Iterator[str]:
    yield "| list price, $ per hour | before | after | |"
    yield "| --- | --- | --- | --- |"
    for key, words in MONEY:
        new = float(plan[key])
        old = float(before[key]) if before else None
        change = "" if old is None or old == new else f"{new - old:+.2f}"
        yield f"| {words} | {'-' if old is None else f'{old:.2f}'} | {new:.2f} | {change} |"


def _plan_changes(before: dict[str, Any], plan: dict[str, Any]) -> Iterator[str]:
    changes = list(differences(before, plan))
    if not changes:
        yield "The plan is the same as before."
        return
    yield f"<details><summary>{len(changes)} figures of the plan change</summary>"
    yield ""
    yield "| figure | before | after |"
    yield "| --- | --- | --- |"
    for path, old, new in changes[:MOST_DIFFERENCES]:
        yield f"| `{path}` | {_cell(old)} | {_cell(new)} |"
    if len(changes) > MOST_DIFFERENCES:
        yield f"| and {len(changes) - MOST_DIFFERENCES} more | | |"
    yield ""
    yield "</details>"


def _cell(value: object) -> str:
    text = "-" if value is None else str(value)
    return text.replace("|", "\\|").replace("\n", " ")[:80]


def _fenced(text: str) -> list[str]:
    # A fence longer than any in the text: nothing that a resource says can end it.
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", text, fence]


def main() -> None:
    """Print the comment."""
    stack, folder = sys.argv[1], Path(sys.argv[2])
    before = folder / "plan-before.json"
    print(
        comment(
            stack,
            json.loads((folder / "plan.json").read_text(encoding="utf-8")),
            json.loads(before.read_text(encoding="utf-8")) if before.exists() else None,
            (folder / "preview.txt").read_text(encoding="utf-8"),
        ),
        end="",
    )


if __name__ == "__main__":
    main()
