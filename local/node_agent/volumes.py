"""A pod's volumes, laid out as plain folders inside the pod's own folder.

Built: configMap, secret, emptyDir, downwardAPI, projected (with ServiceAccount tokens) and
persistentVolumeClaim (a folder per claim that outlives the pod and is shared by its users).
Simulated, not enforced: sizeLimit, medium Memory, readOnly. Contents are written when the pod
starts. Later changes of a secret volume's Secret are written too, file by file (the kubelet
changes all at once, and takes away keys that are gone), and tokens are renewed; a change of a
ConfigMap, or of a Secret in a projected volume, reaches new pods only.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightkube.models.core_v1 import (
    Container,
    DownwardAPIVolumeFile,
    KeyToPath,
    Volume,
    VolumeProjection,
)

from local.node_agent import files
from local.node_agent.expansion import expand
from local.node_agent.fields import ContainerConfigError, PodFields, meta, spec
from local.node_agent.kubernetes import API_ERRORS, ObjectReader
from local.node_agent.paths import PathMap

log = logging.getLogger(__name__)

SECRETS_SECONDS = 5.0
"""How old what a running pod sees of a Secret may be; the kubelet's default is a minute and more."""

DEFAULT_MODE = 0o644
SERVICE_ACCOUNT_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
SUPPORTED = ("configMap", "secret", "emptyDir", "downwardAPI", "projected", "persistentVolumeClaim")


class VolumeError(Exception):
    """A volume cannot be laid out; the message names it."""


@dataclass(frozen=True)
class TokenFile:
    """A ServiceAccount token that a volume must hold, and keep fresh.

    Attributes:
        path: where it lies.
        audience: whom it is for; None: the API server.
        expiration_seconds: how long it is asked to last.
    """

    path: Path
    audience: str | None
    expiration_seconds: int | None


class Volumes:
    """The volumes of one pod.

    Attributes:
        folder: where they lie, one folder each.
        claims: where the folders of PersistentVolumeClaims lie.
    """

    def __init__(self, fields: PodFields, objects: ObjectReader, folder: Path, claims: Path) -> None:
        self._fields = fields
        self._objects = objects
        self._volumes = {volume.name: volume for volume in spec(fields.pod).volumes or []}
        self.folder = folder
        self.claims = claims

    async def lay_out(self) -> None:
        """Make every volume, tokens excepted.

        Raises:
            VolumeError: a kind that is not built, or a missing ConfigMap, Secret or key.
            Any of the API's errors.
        """
        for volume in self._volumes.values():
            try:
                await self._lay_out(volume)
            except (VolumeError, ContainerConfigError) as error:
                raise VolumeError(f'MountVolume.SetUp failed for volume "{volume.name}": {error}') from None

    @property
    def has_secrets(self) -> bool:
        """Whether one of them is a Secret's."""
        return any(volume.secret is not None for volume in self._volumes.values())

    async def renew_secrets(self) -> None:
        """Write the volumes of Secrets once more, as the Secrets are now.

        Raises:
            VolumeError: a Secret or a key is gone. Any of the API's errors.
        """
        for volume in self._volumes.values():
            if volume.secret is not None:
                await self._lay_out(volume)

    def tokens(self) -> list[TokenFile]:
        """The tokens that the pod's volumes must hold."""
        return [
            TokenFile(
                self.place(volume.name) / source.serviceAccountToken.path,
                source.serviceAccountToken.audience,
                source.serviceAccountToken.expirationSeconds,
            )
            for volume in self._volumes.values()
            if volume.projected is not None
            for source in volume.projected.sources or []
            if source.serviceAccountToken is not None
        ]

    def place(self, name: str) -> Path:
        """Where a volume lies."""
        claim = self._volumes[name].persistentVolumeClaim
        if claim is not None:
            return self.claims / f"{meta(self._fields.pod).namespace}_{claim.claimName}"
        return self.folder / name

    def paths(self, container: Container, env: Mapping[str, str]) -> PathMap:
        """Where the container's mount paths lie; ``env`` is for subPathExpr."""
        mounts = {}
        for mount in container.volumeMounts or []:
            below = mount.subPath or expand(mount.subPathExpr or "", env)
            mounts[mount.mountPath] = self.place(mount.name) / below
        return PathMap(mounts)

    def service_account(self, container: Container) -> Path | None:
        """Where the container finds its ServiceAccount's token; None if it must have none.

        The API server's ServiceAccount admission mounts this volume into containers whose pod and
        account allow it, so the mount is the decision.
        """
        for mount in container.volumeMounts or []:
            if mount.mountPath == SERVICE_ACCOUNT_MOUNT:
                return self.place(mount.name)
        return None

    async def _lay_out(self, volume: Volume) -> None:
        target = self.place(volume.name)
        target.mkdir(parents=True, exist_ok=True, mode=files.PRIVATE_FOLDER)
        if volume.configMap is not None:
            source = volume.configMap
            mode = source.defaultMode or DEFAULT_MODE
            await self._config_map(target, source.name, source.items, mode, optional=bool(source.optional))
        elif volume.secret is not None:
            secret = volume.secret
            mode = secret.defaultMode or DEFAULT_MODE
            await self._secret(target, secret.secretName, secret.items, mode, optional=bool(secret.optional))
        elif volume.downwardAPI is not None:
            self._downward(target, volume.downwardAPI.items or [], volume.downwardAPI.defaultMode)
        elif volume.projected is not None:
            mode = volume.projected.defaultMode or DEFAULT_MODE
            for projection in volume.projected.sources or []:
                await self._project(target, projection, mode)
        elif volume.emptyDir is None and volume.persistentVolumeClaim is None:
            raise VolumeError(f"only {', '.join(SUPPORTED)} are built on the local cloud")

    async def _project(self, target: Path, source: VolumeProjection, mode: int) -> None:
        if source.configMap is not None:
            c = source.configMap
            await self._config_map(target, c.name, c.items, mode, optional=bool(c.optional))
        elif source.secret is not None:
            s = source.secret
            await self._secret(target, s.name, s.items, mode, optional=bool(s.optional))
        elif source.downwardAPI is not None:
            self._downward(target, source.downwardAPI.items or [], mode)
        elif source.serviceAccountToken is None:
            built = "configMap, secret, downwardAPI, serviceAccountToken"
            raise VolumeError(f"only {built} can be projected on the local cloud")

    async def _config_map(
        self, target: Path, name: str | None, items: Sequence[KeyToPath] | None, mode: int, *, optional: bool
    ) -> None:
        found = await self._objects.config_map(meta(self._fields.pod).namespace or "", name or "")
        if found is None:
            if not optional:
                raise VolumeError(f'configmap "{name}" not found')
            return
        content = {key: text.encode() for key, text in (found.data or {}).items()}
        content |= {key: base64.b64decode(data) for key, data in (found.binaryData or {}).items()}
        _write_items(target, content, items, mode, optional=optional)

    async def _secret(
        self, target: Path, name: str | None, items: Sequence[KeyToPath] | None, mode: int, *, optional: bool
    ) -> None:
        found = await self._objects.secret(meta(self._fields.pod).namespace or "", name or "")
        if found is None:
            if not optional:
                raise VolumeError(f'secret "{name}" not found')
            return
        content = {key: base64.b64decode(data) for key, data in (found.data or {}).items()}
        _write_items(target, content, items, mode, optional=optional)

    def _downward(self, target: Path, items: Sequence[DownwardAPIVolumeFile], mode: int | None) -> None:
        for item in items:
            if item.fieldRef is not None:
                text = self._fields.field(item.fieldRef.fieldPath)
            elif item.resourceFieldRef is not None:
                # A volume belongs to no container, so the reference must name one.
                text = self._fields.resource(item.resourceFieldRef, spec(self._fields.pod).containers[0])
            else:
                raise VolumeError(f"{item.path}: neither fieldRef nor resourceFieldRef")
            files.write(target / item.path, text, item.mode or mode or DEFAULT_MODE)


async def keep_secrets_fresh(volumes: Volumes) -> None:
    """Write changed Secrets into a running pod's volumes for ever; what is gone stays as it was."""
    while True:
        await asyncio.sleep(SECRETS_SECONDS)
        try:
            await volumes.renew_secrets()
        except (VolumeError, *API_ERRORS) as error:
            log.info("a Secret is not renewed: %s", error)


def _write_items(
    target: Path,
    content: Mapping[str, bytes],
    items: Sequence[KeyToPath] | None,
    mode: int,
    *,
    optional: bool,
) -> None:
    """All keys under their own names, or the listed ones under the paths that the list gives."""
    if not items:
        for key, data in content.items():
            files.write(target / key, data, mode)
        return
    for item in items:
        if item.key in content:
            files.write(target / item.path, content[item.key], item.mode or mode)
        elif not optional:
            raise VolumeError(f"references non-existent config key: {item.key}")
