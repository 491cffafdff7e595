"""The catalogue: what a platform team lets teams choose. `templates/*.yaml` and `teams.yaml` in one folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import Field, ValidationError

from stacks.config.base import Int, Name, Number, Strictly
from stacks.config.models_tenancy import Quota
from stacks.selfservice.exits import CommandError

HERE = Path(__file__).resolve().parents[1] / "catalog"


def catalog_folder() -> Path:
    """The catalogue's folder: INFERENCE_PLATFORM_CATALOG, or the one of this project."""
    named = os.environ.get("INFERENCE_PLATFORM_CATALOG")
    return Path(named).expanduser() if named else HERE


class Choices(Strictly):
    """What a team may choose; everything else is the template's."""

    models: tuple[str, ...] = Field(default=("*/*",), description="Patterns of Hugging Face ids.")
    max_models: Int = Field(default=1, ge=1, description="Most model deployments.")
    max_replicas: Int = Field(default=1, ge=1, description="Most replicas of one model deployment.")
    always_on: bool = Field(default=False, strict=True, description="Whether a model may keep replicas when idle.")
    regions: tuple[str, ...] = Field(default=(), description="Regions; empty: the template's.")


class Template(Strictly):
    """A kind of environment that teams may order."""

    description: str = Field(description="For the list that a team chooses from.")
    environment: Mapping[str, Any] = Field(
        description="An environment without model_deployments; its node pools are those that models may be put on."
    )
    node_pool: str = Field(description="Pool of the ordered models.")
    scaling: Mapping[str, Any] = Field(default_factory=dict, description="Scaling of each model, unless ordered.")
    choices: Choices = Field(default_factory=Choices, description="What the team may choose.")
    quota: Quota | None = Field(default=None, description="Limits of the environment's namespace.")
    dollars_per_hour: Number = Field(gt=0, description="Most that one environment may cost at its largest.")
    ttl_hours: Number = Field(default=168, gt=0, description="Longest life; a shorter one may be ordered.")
    grace_hours: Number = Field(
        default=24, ge=0, description="From the end of its life, when it is paused, to its end."
    )
    policies: str = Field(default="dev", description="Level of the policies: dev, prod, none, or a file of levels.")


class Team(Strictly):
    """Who may order, and for how much."""

    dollars_per_hour: Number = Field(gt=0, description="Most that all of its environments may cost at their largest.")
    max_environments: Int = Field(ge=1, description="Most environments.")
    templates: tuple[Name, ...] = Field(default=(), description="Templates that it may order; empty: all.")


@dataclass(frozen=True)
class Catalog:
    """Templates and teams by name."""

    templates: Mapping[str, Template]
    teams: Mapping[str, Team]

    def template(self, name: str) -> Template:
        """A template.

        Raises:
            CommandError: there is none of this name; the message lists those there are.
        """
        return _find(self.templates, name, "template")

    def team(self, name: str) -> Team:
        """A team.

        Raises:
            CommandError: the catalogue does not know it.
        """
        return _find(self.teams, name, "team")


RowT = TypeVar("RowT")


def _find(rows: Mapping[str, RowT], name: str, what: str) -> RowT:
    if name not in rows:
        raise CommandError(f"there is no {what} {name!r}; the catalogue has: {', '.join(sorted(rows)) or 'none'}")
    return rows[name]


def load_catalog(folder: Path = HERE) -> Catalog:
    """Read a catalogue.

    Raises:
        CommandError: a file is missing or broken; every mistake is listed with its file and field.
    """
    mistakes: list[str] = []
    templates = {
        path.stem: _read(Template, path, read_yaml(path), mistakes)
        for path in sorted((folder / "templates").glob("*.yaml"))
    }
    path = folder / "teams.yaml"
    teams = {name: _read(Team, path, row, mistakes, name) for name, row in (read_yaml(path) or {}).items()}
    for name, team in teams.items():
        mistakes += [
            f"{path}: {name}.templates: {wanted!r} is not in templates/"
            for wanted in (team.templates if team else ())
            if wanted not in templates
        ]
    if mistakes:
        raise CommandError("the catalogue has mistakes:\n  " + "\n  ".join(mistakes))
    return Catalog(
        {name: row for name, row in templates.items() if row}, {name: row for name, row in teams.items() if row}
    )


def read_yaml(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """A YAML file.

    Raises:
        CommandError: it cannot be read, or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CommandError(f"{path}: {' '.join(str(error).split())}") from None


def _read(kind: type[Any], path: Path, data: object, mistakes: list[str], name: str = "") -> Any:  # noqa: ANN401
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        mistakes += problems(error, f"{path}: {name + '.' if name else ''}")
        return None


def problems(error: ValidationError, prefix: str = "") -> list[str]:
    """A validation error as lines: where, what, and what stands there."""
    return [
        f"{prefix}{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
        + ("" if isinstance(item["input"], (dict, list)) or item["type"] == "missing" else f" (got {item['input']!r})")
        for item in error.errors(include_url=False)
    ]
