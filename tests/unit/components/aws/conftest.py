"""An engine whose mocks answer as AWS does where the program reads what a resource says of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest

from tests.unit.conftest import Engine, RecordingMocks


class AwsMocks(RecordingMocks):
    """Adds the outputs that later resources are made of."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        made, outputs = super().new_resource(args)
        service = args.typ.partition("/")[0].rpartition(":")[2]
        if args.typ.startswith("aws:"):
            outputs.setdefault("arn", f"arn:aws:{service}:us-east-1:123456789012:{args.name}")
            outputs.setdefault("name", f"{args.name}-name")
        match args.typ.rpartition(":")[2]:
            case "Cluster":
                outputs["endpoint"] = "https://ABC.gr7.us-east-1.eks.amazonaws.com"
                outputs["certificateAuthority"] = {"data": "Y2E="}
                outputs["vpcConfig"] = {**outputs["vpcConfig"], "clusterSecurityGroupId": "sg-cluster"}
            case "LaunchTemplate":
                outputs["latestVersion"] = 1
            case "Eip":
                outputs["allocationId"] = f"eipalloc-{args.name}"
            case "Key":
                outputs["keyId"] = f"key-{args.name}"
            case "Queue":
                outputs["url"] = f"https://sqs/{args.name}"
            case "Bucket":
                outputs["bucket"] = f"{args.name}-bucket"
            case "LustreFileSystem":
                outputs |= {"dnsName": "fs-1.fsx.us-east-1.amazonaws.com", "mountName": "abc"}
        return made, outputs


@pytest.fixture
def engine() -> Iterator[Engine]:
    """Fresh mocks and event loop for each test; the stack is `test`."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    made = Engine(AwsMocks())
    pulumi.runtime.set_mocks(made.mocks, project="inference-platform", stack="test", preview=False)
    yield made
    asyncio.set_event_loop(None)
    loop.close()
