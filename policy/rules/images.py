"""Container images, charts and the versions that were tested together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from policy.facts import kubernetes_versions, tested_charts, tested_images
from policy.rule import Finding, Findings, Rule, Severity, setting
from policy.view import Resource, text
from policy.workloads import Image, helm_values, image_references

DIGEST_CHOICES: Final = ("off", "outside-the-lock", "all")


@dataclass(frozen=True)
class PinnedSettings:
    """How far images are pinned."""

    digests: str = setting(
        "off",
        "off: a fixed tag will do. outside-the-lock: images that are not in components/versions.py by their exact tag "
        "need a digest. all: every image needs one.",
        choices=DIGEST_CHOICES,
    )


def image_pinned(resource: Resource, settings: PinnedSettings) -> Findings:
    """No image moves under us."""
    for path, reference in image_references(resource):
        image = Image.parse(reference)
        if image.digest:
            continue
        if image.tag in {"", "latest", "nightly", "main", "master", "dev"}:
            # A chart may take the tag from its own version; only one that is written and moves is wrong there.
            if image.tag or helm_values(resource) is None:
                yield Finding(f"{path}: {reference!r} moves: its tag is {image.tag or 'not given, so latest'}")
        elif settings.digests == "all" or (settings.digests == "outside-the-lock" and not _in_lock(image)):
            yield Finding(f"{path}: {reference!r} has no digest, and whoever owns the tag can move it")


def _in_lock(image: Image) -> bool:
    return image.tag in tested_images().get(_short(image.repository), ())


def _short(repository: str) -> str:
    return repository.removeprefix("docker.io/").removeprefix("library/")


@dataclass(frozen=True)
class VersionSettings:
    """Exceptions from the lock."""

    allowed: tuple[str, ...] = setting(
        (), "Further versions, as image:tag, chart@version or kubernetes@version; for a trial of a newer one."
    )


def tested_versions(resource: Resource, settings: VersionSettings) -> Findings:
    """What the lock knows is used in the version of the lock."""
    for path, name, version, wanted in _versions(resource):
        separator = ":" if path.endswith("image") or "values" in path else "@"
        if version not in wanted and f"{name}{separator}{version}" not in settings.allowed:
            yield Finding(f"{path}: {name} {version or 'without a version'} is not the tested {' or '.join(wanted)}")


def _versions(resource: Resource) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Path, name, version and tested versions of all that the lock knows."""
    for path, reference in image_references(resource):
        image = Image.parse(reference)
        wanted = tested_images().get(_short(image.repository))
        if wanted is not None and (image.tag or helm_values(resource) is None):
            yield path, _short(image.repository), image.tag, wanted
    if helm_values(resource) is not None:
        where = text(resource.at("chart"))
        chart = where.rsplit("/", 1)[-1]
        # A folder has the version that it has; its chart says so, not the release.
        if chart in tested_charts() and not where.startswith(("/", ".")):
            yield "version", chart, text(resource.at("version")), (tested_charts()[chart],)
    cloud, field = CLUSTERS.get(resource.unversioned_type, ("", ""))
    if cloud in kubernetes_versions() and resource.at(field) is not None:
        yield field, "kubernetes", _minor(text(resource.at(field))), (kubernetes_versions()[cloud],)


CLUSTERS: Final = {
    "aws:eks/cluster:Cluster": ("aws", "version"),
    "azure-native:containerservice:ManagedCluster": ("azure", "kubernetesVersion"),
    "gcp:container/cluster:Cluster": ("gcp", "minMasterVersion"),
}


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


RULES: Final[tuple[Rule[Any], ...]] = (
    Rule(
        name="image-pinned",
        description="Every image has a fixed tag, and in production a digest unless it is in the tested lock: a pod "
        "that starts tomorrow runs what was tested today.",
        fix="give the image a version, or name@sha256:...; `crane digest IMAGE` prints it",
        severity=Severity.HIGH,
        settings=PinnedSettings,
        resource=image_pinned,
    ),
    Rule(
        name="tested-versions",
        description="Images, charts and Kubernetes are of the versions in components/versions.py, which were tested "
        "together; flags and metrics' names change between versions.",
        fix="use the version of components/versions.py, or list the other one in the policy's `allowed`",
        severity=Severity.MEDIUM,
        settings=VersionSettings,
        resource=tested_versions,
    ),
)
