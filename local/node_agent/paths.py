"""Paths inside a container and the places on this machine that stand for them.

Pods have no mount namespace of their own. A volume lies in the pod's folder, and
wherever its mount path occurs in command, args or env the folder is put instead.
Paths that are written inside files (a path in a ConfigMap's haproxy.cfg) are not
touched: write them relative, or hand them over in env.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath


class PathMap:
    """Mount paths of one container and their folders (or files, for a mount with subPath)."""

    def __init__(self, mounts: Mapping[str, Path]) -> None:
        """Mount paths must be absolute; the root itself cannot be mounted."""
        self._targets = {str(PurePosixPath(mount)): str(target) for mount, target in mounts.items()}
        self._targets.pop("/", None)
        # The longest first: of /data and /data/cache the inner one decides.
        ordered = sorted(self._targets, key=len, reverse=True)
        # A path starts where no path is already going on (or after a URL's "://"), and ends at a
        # separator: /data is in --dir=/data/x and in file:///data, not in /database or /srv/data.
        self._pattern = (
            re.compile(rf"(?:(?<![\w./~-])|(?<=://))({'|'.join(map(re.escape, ordered))})(?![\w.~-])")
            if ordered
            else None
        )

    def rewrite(self, text: str) -> str:
        """The text with every mount path replaced; what was put in is not looked at again."""
        if self._pattern is None:
            return text
        return self._pattern.sub(lambda match: self._targets[match.group(1)], text)
