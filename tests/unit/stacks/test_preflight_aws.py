"""Reading an AWS account: moto simulates EC2 and STS; its Service Quotas has none, so that those answers are ours.

Does not prove what a real account says, nor that the codes of quotas are AWS' (they are copied from its list).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from moto import mock_aws
from typer.testing import CliRunner

from components.clouds.aws.settings import AwsSettings
from components.clouds.rules import PoolWish
from stacks.cli import app
from stacks.config.load import load_stack_file
from stacks.preflight import READERS, OfferRow, PreflightError, PreflightReport, QuotaRow, load_preflight
from stacks.preflight.aws import PREFLIGHT, QUOTAS, group_of

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
L4 = PoolWish(name="l4", instance_type="g6.12xlarge", accelerator="l4", gpus_per_node=4, max_nodes=2)
H100 = PoolWish(name="h100", instance_type="p5.48xlarge", accelerator="h100", gpus_per_node=8, max_nodes=1)
BLOCK = replace(
    H100, capacity_type="reserved", reservation_kind="capacity-block", reservation_id="cr-0123456789abcdef0"
)
RESERVATION = {
    "InstanceType": "p5.48xlarge",
    "AvailabilityZone": "us-east-1a",
    "TotalInstanceCount": 1,
    "State": "active",
}


class Answers:
    """What AWS says where moto says nothing."""

    def __init__(self) -> None:
        self.limits: dict[str, float] = dict.fromkeys((code for code, _ in QUOTAS.values()), 10_000.0)
        self.reservations: dict[str, dict[str, Any]] = {}
        self.refused: str = ""

    def call(self, original: Any, client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        if operation == self.refused:
            raise ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "not you"}}, operation)
        if operation == "GetServiceQuota":
            code = parameters["QuotaCode"]
            if code not in self.limits:
                raise ClientError({"Error": {"Code": "NoSuchResourceException", "Message": "none"}}, operation)
            return {"Quota": {"QuotaCode": code, "Value": self.limits[code]}}
        if operation == "DescribeCapacityReservations":
            (name,) = parameters["CapacityReservationIds"]
            if name not in self.reservations:
                error = {"Code": "InvalidCapacityReservationId.NotFound", "Message": "none"}
                raise ClientError({"Error": error}, operation)
            return {"CapacityReservations": [self.reservations[name]]}
        return original(client, operation, parameters)


@pytest.fixture(scope="module")
def session() -> Iterator[boto3.Session]:
    """One simulated account for all tests: EC2's model alone takes half a second to read."""
    with mock_aws():
        yield boto3.Session(region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, session: boto3.Session) -> Answers:
    """The account, with quota for everything."""
    monkeypatch.setattr("stacks.preflight.aws.Session", lambda **_: session)
    answers = Answers()
    original = BaseClient._make_api_call
    monkeypatch.setattr(
        BaseClient,
        "_make_api_call",
        lambda client, operation, parameters: answers.call(original, client, operation, parameters),
    )
    return answers


def read(*wishes: PoolWish, **settings: Any) -> PreflightReport:
    return PREFLIGHT.read("us-east-1", wishes, AwsSettings(**settings), "prod")


def quota(report: PreflightReport, name: str) -> QuotaRow:
    (found,) = [row for row in report.quotas if row.quota == name]
    return found


@pytest.mark.usefixtures("aws")
def test_what_an_environment_takes_of_each_quota() -> None:
    small = replace(L4, name="small", instance_type="g5.xlarge", accelerator="a10g", max_nodes=3)
    report = read(L4, small, H100, system_max_nodes=4)
    shared = quota(report, "Running On-Demand G and VT instances")
    assert shared == QuotaRow(
        cloud="aws",
        region="us-east-1",
        quota="Running On-Demand G and VT instances",
        instance_type="g5.xlarge, g6.12xlarge",
        gpu="a10g, l4",
        limit=10_000,
        used=0,
        unit="vCPU",
        needed=2 * 48 + 3 * 4,
    )
    assert quota(report, "Running On-Demand P instances").needed == 192
    assert quota(report, "Running On-Demand Standard instances").needed == 4 * 4
    assert report.account == "123456789012"
    assert report.fits


@pytest.mark.usefixtures("aws")
def test_spot_with_fallback_takes_of_both() -> None:
    report = read(replace(L4, capacity_type="spot-with-fallback"))
    assert quota(report, "All G and VT Spot Instance Requests").needed == 96
    assert quota(report, "Running On-Demand G and VT instances").needed == 96


def test_what_is_reserved_was_counted_when_it_was(aws: Answers) -> None:
    aws.reservations["cr-0123456789abcdef0"] = RESERVATION
    report = read(replace(BLOCK, zones=("us-east-1a",)))
    assert [row.quota for row in report.quotas] == ["Running On-Demand Standard instances"]
    assert report.problems == []


def test_too_little_quota_does_not_fit(aws: Answers) -> None:
    aws.limits["L-DB2E81BA"] = 95
    report = read(L4)
    assert not quota(report, "Running On-Demand G and VT instances").fits
    assert not report.fits
    aws.limits["L-DB2E81BA"] = 96
    assert read(L4).fits


def test_an_unknown_limit_is_said(aws: Answers) -> None:
    del aws.limits["L-DB2E81BA"]
    report = read(L4)
    assert quota(report, "Running On-Demand G and VT instances").limit is None
    assert report.notes == ["AWS does not say the limit of Running On-Demand G and VT instances here"]
    assert report.fits


def test_machines_of_others_count_and_own_ones_do_not(aws: Answers, session: boto3.Session) -> None:
    ec2 = session.client("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    made = []
    for environment in ("prod", "other"):
        tags = [{"Key": "inference.platform/environment", "Value": environment}]
        answer = ec2.run_instances(
            ImageId=image,
            InstanceType="g6.12xlarge",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        made.append(answer["Instances"][0]["InstanceId"])
    aws.limits["L-DB2E81BA"] = 2 * 48 + 47
    row = quota(read(L4), "Running On-Demand G and VT instances")
    ec2.terminate_instances(InstanceIds=made)
    assert (row.used, row.fits) == (48, False)


@pytest.mark.usefixtures("aws")
def test_where_machines_are_to_be_had() -> None:
    rare = replace(H100, instance_type="p6-b200.48xlarge", zones=("us-east-1a",))
    report = read(L4, rare, replace(H100, instance_type="p4de.24xlarge"))
    offers = {row.instance_type: row for row in report.offers}
    assert set(offers) == {"g6.12xlarge", "p6-b200.48xlarge", "p4de.24xlarge", "m7i.xlarge"}
    assert offers["g6.12xlarge"].wanted == ("us-east-1a", "us-east-1b", "us-east-1c")
    assert offers["g6.12xlarge"].fits
    assert not offers["p6-b200.48xlarge"].fits
    assert not report.fits
    # Some of the wanted zones do: enough, but worth a word.
    assert offers["p4de.24xlarge"].fits
    assert report.notes == ["p4de.24xlarge is not to be had in us-east-1a: its pools get nodes in the other zones"]


@pytest.mark.parametrize(
    ("zones", "wanted", "fits"),
    [(("a", "b"), ("b", "c"), True), (("a",), ("b",), False), (("a",), (), True), ((), (), False)],
)
def test_an_offer_fits_if_one_zone_is_wanted(zones: tuple[str, ...], wanted: tuple[str, ...], fits: bool) -> None:
    assert OfferRow(instance_type="x", zones=zones, wanted=wanted).fits is fits


@pytest.mark.usefixtures("aws")
def test_spot_prices_of_pools_that_use_spot() -> None:
    report = read(L4, replace(L4, name="spot", instance_type="g5.xlarge", capacity_type="spot"))
    assert {row.instance_type for row in report.spot_prices} == {"g5.xlarge"}
    assert {row.zone for row in report.spot_prices} <= {"us-east-1a", "us-east-1b", "us-east-1c"}
    # moto's one price for everything.
    assert {(row.price, row.lowest, row.highest) for row in report.spot_prices} == {(0.00001, 0.00001, 0.00001)}


@pytest.mark.usefixtures("aws")
def test_zones_that_the_account_does_not_have() -> None:
    report = read(L4, availability_zones=("us-east-1a", "us-east-1z"))
    (problem,) = report.problems
    assert problem.startswith("the account has no zone us-east-1z: name two or three in aws.availability_zones: us-ea")
    assert not report.fits


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (None, "the account has no reservation cr-0123456789abcdef0 here"),
        ({"InstanceType": "p4d.24xlarge"}, "for p4d.24xlarge, and the pool has p5.48xlarge"),
        ({"AvailabilityZone": "us-east-1b"}, "in us-east-1b, and the pool in us-east-1a"),
        ({"TotalInstanceCount": 0}, "for 0 machines, and max_nodes is 1"),
        ({"State": "expired"}, "is expired"),
        ({"State": "scheduled"}, ""),
        ({}, ""),
    ],
)
def test_reservations_go_with_their_pools(aws: Answers, changes: dict[str, Any] | None, problem: str) -> None:
    if changes is not None:
        aws.reservations["cr-0123456789abcdef0"] = {**RESERVATION, **changes}
    report = read(replace(BLOCK, zones=("us-east-1a",)))
    assert len(report.problems) == (1 if problem else 0)
    assert problem in "".join(report.problems)


@pytest.mark.parametrize(
    ("instance", "spot", "group"),
    [
        ("g4dn.xlarge", False, "g"),
        ("g6e.48xlarge", True, "g"),
        ("p4de.24xlarge", False, "p"),
        ("p4de.24xlarge", True, "p4"),
        ("p5en.48xlarge", True, "p5"),
        ("p6-b200.48xlarge", True, "p6"),
        ("m7i.xlarge", False, "standard"),
        ("x2idn.metal", False, "x2idn"),
    ],
)
def test_which_quota_counts(instance: str, spot: bool, group: str) -> None:
    assert group_of(instance, spot=spot) == group


def test_no_credentials_are_one_clear_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(PreflightError, match=r"no credentials for AWS: set AWS_PROFILE, or .*aws sso login"):
        read(L4)


def test_what_is_not_allowed_is_named(aws: Answers) -> None:
    aws.refused = "DescribeInstances"
    with pytest.raises(PreflightError, match=r"AWS refuses DescribeInstances .UnauthorizedOperation: not you."):
        read(L4)


def test_a_cloud_without_accounts() -> None:
    with pytest.raises(PreflightError, match="cloud local has no account to read"):
        load_preflight("local")


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["preflight", "-C", str(ROOT), *arguments])
    return done.exit_code, done.output


@pytest.mark.usefixtures("aws")
def test_the_command_shows_tables() -> None:
    code, output = run("-s", "aws-spot")
    assert code == 0, output
    for text in ("Running On-Demand", "g6e.2xlarge", "Spot prices", "can grow to its largest"):
        assert text in output


def test_the_command_for_machines(aws: Answers) -> None:
    aws.limits["L-417A185B"] = 0
    code, output = run("-s", "aws-prod", "--json")
    report = json.loads(output)
    assert code == 1
    assert report["fits"] is False
    assert [row["quota"] for row in report["quotas"] if not row["fits"]] == ["Running On-Demand P instances"]
    assert (report["cloud"], report["region"], report["stack"]) == ("aws", "us-east-1", "aws-prod")


def test_the_command_says_what_is_wrong() -> None:
    code, output = run("-s", "dev")
    assert (code, output) == (1, f"cloud local has no account to read; accounts can be read of: {', '.join(READERS)}\n")
    code, output = run("-s", "nowhere")
    assert code == 1
    assert "Traceback" not in output


def test_the_examples_are_valid() -> None:
    for name in ("aws-prod", "aws-spot"):
        assert load_stack_file(name, ROOT).cloud.value == "aws"
