"""Pulumi components: typed arguments in, typed outputs out. Nothing here imports from `stacks`."""
