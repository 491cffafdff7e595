"""Runs in the environment that has vLLM: which command lines its own parser takes.

Standard input: a JSON list of lists of words; standard output: a JSON list of what the parser said, null where it took
them, after the line of the parser's version. Needs nothing of this project but `planner.read_flags`.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import sys

from planner.read_flags.vllm import argument_parser


def main() -> None:
    """Answer."""
    lines = json.load(sys.stdin)
    parser = argument_parser()
    answers: list[str | None] = []
    for words in lines:
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                parser.parse_args(list(words))
            answers.append(None)
        except (SystemExit, Exception) as error:
            # vLLM's own conversions raise what they like: a misspelt cudagraph_mode is a KeyError.
            answers.append(said.getvalue().strip()[-500:] or repr(error))
    print("\n" + json.dumps({"version": importlib.metadata.version("vllm"), "answers": answers}))


if __name__ == "__main__":
    main()
