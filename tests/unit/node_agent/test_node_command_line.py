"""The command line: what is wrong is said in one line.

Not proven here: a run against a real API server (the embedded cluster does that).
"""

from __future__ import annotations

import fcntl
import sys
from pathlib import Path

import pytest

from local.node_agent.__main__ import main

pytestmark = pytest.mark.unit

KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {token: secret}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
"""


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["node_agent", *arguments])
    return main()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "Configuration file {path} not found"),
        ("", "not a kubeconfig (AttributeError"),
        ("just text", "not a kubeconfig (AttributeError"),
        ("clusters: [", "not a kubeconfig (ParserError"),
        (KUBECONFIG.replace("current-context: x", ""), "No current context set and no default provided"),
        (KUBECONFIG.replace(", user: u", ""), "it names no user; the API server lets nobody else in"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    content: str | None,
    message: str,
) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    assert run(monkeypatch, "--kubeconfig", str(path), "--state-dir", str(tmp_path / "state")) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"node agent: --kubeconfig {path}: {message.format(path=path)}")


def test_two_agents_do_not_share_a_state_directory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run(monkeypatch, "--kubeconfig", str(tmp_path / "kubeconfig"), "--state-dir", str(tmp_path)) == 2
    assert capsys.readouterr().err == (
        f"node agent: --state-dir {tmp_path}: another node agent uses it; end that one first\n"
    )


def test_a_state_directory_that_cannot_be_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG)
    assert run(monkeypatch, "--kubeconfig", str(path), "--state-dir", str(path)) == 2
    assert capsys.readouterr().err == f"node agent: --state-dir {path}: Not a directory\n"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--pod-cidr", "10.0.0.0/31", "10.0.0.0/31 has no room for pods; use at most a /30"),
        ("--pod-cidr", "10.0.0.1/8", "10.0.0.1/8 has host bits set"),
        ("--restart-backoff-initial", "0", "'0' is not a number of seconds above 0"),
        ("--restart-backoff-initial", "soon", "'soon' is not a number of seconds above 0"),
        ("--node-selector", "pool", "'pool' is not LABEL=VALUE"),
    ],
)
def test_a_wrong_value_is_named_with_its_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str, value: str, message: str
) -> None:
    with pytest.raises(SystemExit) as end:
        run(monkeypatch, "--kubeconfig", "k", "--state-dir", "s", option, value)
    assert end.value.code == 2
    assert f"error: argument {option}: {message}" in capsys.readouterr().err
