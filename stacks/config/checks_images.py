"""Checks of the digests that images are pinned to."""

from __future__ import annotations

from collections.abc import Iterator

from components.own_images import OWN_IMAGES
from stacks.config.models import EnvironmentConfig
from stacks.config.salvage import has
from stacks.config.shapes import show_path
from stacks.errors import FieldError, unknown_choice


def check_images(config: EnvironmentConfig) -> Iterator[FieldError]:
    """Digests of images that the platform does not run: mistyped, or of the version before.

    Args:
        config: valid, or salvaged from an invalid one.
    """
    for image in config.image_digests if has(config, "image_digests") else ():
        if image not in OWN_IMAGES:
            message = "is no image that the platform runs in this release; a digest belongs to one version of an image"
            fix = "Name the image with its tag, as components/versions.py has it."
            yield unknown_choice(show_path(("image_digests", image)), image, message, OWN_IMAGES, fix)
