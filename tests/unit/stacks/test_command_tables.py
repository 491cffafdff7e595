"""Tables for people: what others wrote is shown as it is, square brackets too, and nothing wraps in a file.

Does not prove how they look in a terminal.
"""

from __future__ import annotations

import pytest

from stacks.environment_tables import print_catalog
from stacks.preflight import OfferRow, PreflightReport, QuotaRow
from stacks.preflight_tables import print_report

pytestmark = pytest.mark.unit


def test_the_catalogue_shows_descriptions_as_they_were_written(capsys: pytest.CaptureFixture[str]) -> None:
    choices = {"models": ["*/*"], "max_replicas": 2}
    template = {"description": "[beta] one L4", "choices": choices, "dollars_per_hour": 1.0, "ttl_hours": 168}
    print_catalog({"shared": template})
    assert "[beta] one L4" in capsys.readouterr().out


def test_a_preflights_report(capsys: pytest.CaptureFixture[str]) -> None:
    quota = QuotaRow(
        cloud="aws",
        region="us-east-1",
        quota="Running [G] instances",
        instance_type="g6.xlarge",
        gpu="l4",
        limit=8.0,
        used=4.0,
        unit="vCPU",
        needed=8.0,
    )
    report = PreflightReport(
        cloud="aws",
        region="us-east-1",
        account="123456789012",
        quotas=[quota],
        offers=[OfferRow(instance_type="g6.xlarge", zones=())],
    )
    print_report(report, "dev")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "Running [G] instances g6.xlarge l4 vCPU 8 4 8 NO" in lines
    assert "g6.xlarge none any NO" in lines
    assert "The environment cannot grow to its largest." in lines
