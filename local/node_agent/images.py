"""The table images.toml: which image is which program.

A pod with any image that is not in the table is not run: it is KWOK's, whose Stages
select by `known_images`, so that each pod has exactly one player.
"""

from __future__ import annotations

import functools
import re
import signal
import sys
import sysconfig
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

TABLE = Path(__file__).with_name("images.toml")

TAG_AND_DIGEST = re.compile(r"[:@][^/]*$")

PLACEHOLDERS = {
    "{python}": sys.executable,
    "{scripts}": sysconfig.get_path("scripts"),
    "{site_packages}": sysconfig.get_path("purelib"),
}


class ImageTableError(Exception):
    """images.toml cannot be used; the message names the field."""


class ImageProgram(BaseModel):
    """What runs for one image. The fields are explained at the head of images.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: Literal["real", "simulated"]
    description: str = Field(min_length=1)
    entrypoint: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    programs: dict[str, tuple[str, ...]] = Field(min_length=1)
    stop_signal: str = "SIGTERM"

    @field_validator("stop_signal")
    @classmethod
    def _signal_exists(cls, name: str) -> str:
        if name not in signal.Signals.__members__:
            raise ValueError(f"{name} is not a signal; use one such as SIGTERM")
        return name

    @field_validator("programs")
    @classmethod
    def _placeholders_exist(cls, programs: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for word in (word for command in programs.values() for word in command):
            unknown = set(re.findall(r"\{[^}]*\}", word)) - PLACEHOLDERS.keys()
            if unknown:
                choices = ", ".join(PLACEHOLDERS)
                raise ValueError(f"{unknown.pop()} is no placeholder; there are {choices}")
        return programs

    def command_line(self, command: Sequence[str], arguments: Sequence[str]) -> list[str]:
        """The image's command line as Kubernetes defines it, still in the image's own words.

        Args:
            command: the container's ``command``; empty means the image's entrypoint.
            arguments: the container's ``args``; empty means the image's, unless ``command`` is given.
        """
        if command:
            return [*command, *arguments]
        return [*self.entrypoint, *(arguments or self.arguments)]

    def on_this_machine(self, words: Sequence[str]) -> list[str]:
        """A command line of the image, its first word replaced by the program that stands for it here."""
        if not words:
            return []
        program = self.programs.get(words[0])
        if program is None:
            return list(words)
        return [*(_fill(word) for word in program), *words[1:]]


class ImageTable(BaseModel):
    """All images that run as processes, by repository."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: dict[str, ImageProgram] = Field(min_length=1)

    def find(self, image: str | None) -> ImageProgram | None:
        """What runs for an image reference such as ``vllm/vllm-openai:v0.32.0``; None if it is not listed."""
        return self.images.get(repository(image or ""))

    def knows_all(self, images: Iterable[str | None]) -> bool:
        """Whether every one of these images is listed."""
        return all(self.find(image) is not None for image in images)


def repository(image: str) -> str:
    """An image reference without tag and digest; a registry's port is no tag."""
    return TAG_AND_DIGEST.sub("", image)


def _fill(word: str) -> str:
    for placeholder, value in PLACEHOLDERS.items():
        word = word.replace(placeholder, value)
    return word


def load(path: Path = TABLE) -> ImageTable:
    """Read the table.

    Raises:
        ImageTableError: the file is missing, is not TOML, or a field is wrong.
    """
    try:
        return ImageTable.model_validate(tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ImageTableError(f"{path}: {error}") from None
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ImageTableError(f"{path}: " + "; ".join(problems)) from None


@functools.cache
def default_table() -> ImageTable:
    """The table that comes with the package."""
    return load()


def known_images() -> list[str]:
    """Repositories, without tag, of the images that run as processes; sorted."""
    return sorted(default_table().images)
