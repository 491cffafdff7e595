"""`python -m planner.flags`: check a command line, or list what it can be checked against."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from planner.flags.catalogue import UnknownEngineError, catalogue, versions
from planner.flags.check import check_engine_arguments


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 fine, 1 wrong arguments found, 2 a wrong question."""
    parser = argparse.ArgumentParser(prog="python -m planner.flags", description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="check a command line, e.g. check vllm 0.32.0 -- org/model --dtype half")
    check.add_argument("engine", help="name of a catalogue")
    check.add_argument("version", help="as released or as an image tag")
    check.add_argument("words", nargs=argparse.REMAINDER, help="-- and the arguments of the program")
    listed = commands.add_parser("versions", help="the catalogues that there are")
    for command in (check, listed):
        command.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args(arguments)
    if options.command == "versions":
        print(json.dumps(versions()) if options.json else table())
        return 0
    words = options.words[1:] if options.words[:1] == ["--"] else options.words
    try:
        errors = check_engine_arguments(options.engine, options.version, words)
    except UnknownEngineError as unknown:
        print(f"planner.flags: {unknown}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps([vars(error) for error in errors]))
    for error in () if options.json else errors:
        print(error.line())
    return 1 if errors else 0


def table() -> str:
    """The catalogues as a Markdown table."""
    lines = [
        "| program | version | flags | JSON schemas | read from | compared with |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for engine, releases in versions().items():
        for version in releases:
            known = catalogue(engine, version)
            others = ", ".join(item for item in known.history if item not in releases) or "-"
            cells = (engine, version, len(known.flags), len(known.schemas), known.read_from, others)
            lines.append(f"| {' | '.join(str(cell) for cell in cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
