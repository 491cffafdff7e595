"""`python -m planner.read_flags ENGINE`: write the catalogue of the installed version of a program.

Run it with the interpreter of the environment that has the program, from the root of this project; see
docs/engine-arguments.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from planner.read_flags import others, vllm

FOLDER = Path(__file__).parents[1] / "flags" / "catalog"
ENGINES = ("vllm", "sglang", "vllm-router", "production-stack-router")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if the file was written."""
    parser = argparse.ArgumentParser(prog="python -m planner.read_flags", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("--source", type=Path, help="folder of the sources (production-stack-router)")
    parser.add_argument("--source-version", default="", help="their version")
    parser.add_argument("--names-only", action="store_true", help="note which flags there are, and no more")
    options = parser.parse_args(arguments)
    try:
        catalogue = _read(options)
    except (ImportError, FileNotFoundError) as error:
        print(f"planner.read_flags: {options.engine} cannot be read here: {error}", file=sys.stderr)
        return 1
    if not options.names_only:
        path = FOLDER / f"{options.engine}-{catalogue['version']}.json"
        path.write_text(compact(catalogue), encoding="utf-8")
        print(f"{path.name}: {len(catalogue['flags'])} flags")
    _note_names(options.engine, catalogue)
    return 0


def _read(options: argparse.Namespace) -> dict[str, Any]:
    if options.engine == "vllm":
        return vllm.read()
    if options.engine == "sglang":
        return others.read_sglang()
    if options.engine == "vllm-router":
        return others.read_vllm_router()
    if options.source is None:
        raise FileNotFoundError("give the folder of its sources with --source")
    return others.read_production_stack_router(options.source, options.source_version)


def compact(catalogue: dict[str, Any]) -> str:
    """JSON with a flag per line, so that a new version shows as a readable difference."""
    lines = ["{"]
    keys = list(catalogue)
    for key in keys:
        comma = "" if key == keys[-1] else ","
        value = catalogue[key]
        if not isinstance(value, dict) or not value:
            lines.append(f' "{key}": {json.dumps(value)}{comma}')
            continue
        rows = [f"  {json.dumps(name)}: {json.dumps(row, sort_keys=True)}" for name, row in sorted(value.items())]
        lines += [f' "{key}": {{', ",\n".join(rows), f" }}{comma}"]
    return "\n".join([*lines, "}", ""])


def _note_names(engine: str, catalogue: dict[str, Any]) -> None:
    """Add this version to the history: for every flag, the versions that have it."""
    path = FOLDER / f"{engine}.history.json"
    history: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    versions: list[str] = history.get("versions", [])
    names = {name for flag, row in catalogue["flags"].items() for name in (flag, *row.get("aliases", ()))}
    had = {flag: {versions[place] for place in places} for flag, places in history.get("flags", {}).items()}
    for flag in names | set(had):
        had.setdefault(flag, set()).discard(catalogue["version"])
    for flag in names:
        had[flag].add(catalogue["version"])
    ordered = sorted({*versions, catalogue["version"]}, key=_order)
    flags = {
        flag: [ordered.index(version) for version in sorted(have, key=_order)] for flag, have in had.items() if have
    }
    path.write_text(compact({"versions": ordered, "flags": flags}), encoding="utf-8")


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


if __name__ == "__main__":
    sys.exit(main())
