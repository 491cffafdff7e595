"""Models that a configuration brings itself: `source.config_file` of a deployment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from planner.catalog import add_model
from stacks.config.models import EnvironmentConfig
from stacks.config.salvage import has
from stacks.errors import FieldError


def learn_models(config: EnvironmentConfig, folder: Path) -> Iterator[FieldError]:
    """Read the models' own files into the catalogue of this process; an error for each that cannot be read.

    Args:
        config: valid, or salvaged.
        folder: where the stack's file is.
    """
    if not has(config, "model_deployments"):
        return
    for index, deployment in enumerate(config.model_deployments):
        if not has(deployment, "source") or not has(deployment.source, "hugging_face", "config_file"):
            continue
        source = deployment.source
        if source.config_file is None:
            continue
        # Few configurations bring their own: the reader is not loaded for the others.
        from planner.checkpoint import CheckpointError, read_model

        try:
            add_model(read_model(folder / source.config_file, source.hugging_face))
        except CheckpointError as error:
            path = f"model_deployments[{index}].source.config_file"
            fix = "Give the config.json of the checkpoint, or its folder, relative to the stack's file."
            yield FieldError(path, source.config_file, f"cannot be read: {error}", fix=fix)
