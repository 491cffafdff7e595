"""Rewriting of mount paths.

Not proven here: paths inside files, which are not rewritten.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.node_agent.paths import PathMap

pytestmark = pytest.mark.unit

MOUNTS = PathMap({"/data": Path("/p/data"), "/data/cache/": Path("/p/cache"), "/etc/app.d": Path("/p/app")})


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("/data", "/p/data"),
        ("/data/", "/p/data/"),
        ("/data/x.bin", "/p/data/x.bin"),
        ("/data/cache/y", "/p/cache/y"),
        ("/data/cached", "/p/data/cached"),
        ("--dir=/data/x", "--dir=/p/data/x"),
        ("/data:/data/cache", "/p/data:/p/cache"),
        ('{"path": "/data", "n": 1}', '{"path": "/p/data", "n": 1}'),
        ("file:///data/x", "file:///p/data/x"),
        ("cat /etc/app.d/a > /data/b;", "cat /p/app/a > /p/data/b;"),
        ("/database", "/database"),
        ("/data.bin", "/data.bin"),
        ("/data-2", "/data-2"),
        ("/srv/data", "/srv/data"),
        ("data", "data"),
        ("~/data", "~/data"),
        ("/etc/appXd", "/etc/appXd"),
        ("http://host/data", "http://host/data"),
        ("", ""),
    ],
)
def test_a_mount_path_is_replaced_where_it_is_a_path(text: str, rewritten: str) -> None:
    assert MOUNTS.rewrite(text) == rewritten


def test_what_was_put_in_is_not_rewritten_again() -> None:
    assert PathMap({"/a": Path("/b/a"), "/b": Path("/c")}).rewrite("/a /b") == "/b/a /c"


def test_nothing_is_mounted_and_the_root_cannot_be() -> None:
    assert PathMap({}).rewrite("/data") == "/data"
    assert PathMap({"/": Path("/p")}).rewrite("/data") == "/data"


@given(st.text(alphabet="/abc.-: "))
def test_text_without_a_mount_path_stays_as_it_is(text: str) -> None:
    assert PathMap({"/mounted": Path("/p")}).rewrite(text) == text


@given(st.text(alphabet="/ab "), st.sampled_from(["=", " ", ":", '"', ","]))
def test_the_rest_of_a_path_is_kept(rest: str, before: str) -> None:
    assert PathMap({"/mounted": Path("/p")}).rewrite(f"{before}/mounted/{rest}") == f"{before}/p/{rest}"
