"""How the local environment calls the engine.

Does not prove what the engine makes of these settings; tests/local does.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from local import pulumi_cli
from local.pulumi_cli import Pulumi, PulumiError

pytestmark = pytest.mark.unit


@pytest.fixture
def pulumi(tmp_path: Path) -> Pulumi:
    return Pulumi("dev", tmp_path / "state", tmp_path / "kubeconfig")


def test_no_plugin_is_fetched_for_a_package_that_is_only_installed(pulumi: Pulumi) -> None:
    """With the packages of all clouds in one virtual environment, each run tried to download three plugins."""
    assert pulumi.environment()["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"


def test_settings_of_the_user_for_another_engine_are_not_handed_on(
    pulumi: Pulumi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_ACCESS_TOKEN", "theirs")
    monkeypatch.setenv("KUBECONFIG", "/theirs")
    environment = pulumi.environment()
    assert "PULUMI_ACCESS_TOKEN" not in environment
    assert "KUBECONFIG" not in environment


def test_a_command_that_takes_too_long_is_ended_and_named(
    pulumi: Pulumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = tmp_path / "pulumi"
    endless.write_text(f"#!{sys.executable}\nimport signal\nsignal.pause()\n")
    endless.chmod(0o755)
    monkeypatch.setattr(pulumi_cli, "tool", lambda _: str(endless))
    with pytest.raises(PulumiError, match="pulumi destroy has not ended after 0 s"):
        replace(pulumi, program=tmp_path).run("destroy", timeout_seconds=0.2)
