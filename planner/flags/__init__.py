"""Flags of engines and routers, checked against what their own parsers take.

    >>> from planner.flags.check import check_engine_arguments
    >>> errors = check_engine_arguments("vllm", "0.32.0", ["org/model", "--max-num-seq=4"])
    >>> errors[0].choices[0]
    '--max-num-seqs'

What is checked, and how the data is made: docs/engine-arguments.md.
"""
