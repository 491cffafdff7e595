"""Policies of an inference environment, judged by Pulumi before anything is made.

`rules/` is pure Python and needs neither Pulumi nor this pack's SDK; `pack.py` and `__main__.py` hand it to the engine.
"""
