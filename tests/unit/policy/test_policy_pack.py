"""The pack in its own environment, without an engine: the SDK's analyzer answers requests made here.

Proves that the SDK still has what `policy.once` replaces, that each resource is decoded once for all policies, and that
unknown values and settings take the right way through the SDK. The engine tests show the rest.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
PYTHON = ROOT / "build" / "policy-venv" / "bin" / "python"

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(not PYTHON.exists(), reason="the pack's environment: make policy-venv"),
]

PROGRAM = """
import json, sys
sys.path.insert(0, ROOT)
from google.protobuf import json_format, struct_pb2
from pulumi.runtime.proto import analyzer_pb2
from pulumi_policy import policy as sdk
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE
from policy import once
from policy.pack import NAME, policies

calls = []
decode = once.decode
once.decode = lambda message: calls.append(1) or decode(message)
once.convert_once()
analyzer = sdk._PolicyAnalyzerServicer(NAME, "0.1.0", policies(), sdk.EnforcementLevel.MANDATORY)

def resource(image):
    spec = {"template": {"spec": {"containers": [{"image": image}]}}}
    properties = struct_pb2.Struct()
    properties.update({"spec": spec})
    return {"type": "kubernetes:apps/v1:Deployment", "urn": "urn:" + str(image), "name": "d", "properties": properties}

def levels(**settings):
    properties = struct_pb2.Struct()
    properties.update(settings)
    level = analyzer_pb2.MANDATORY
    config = analyzer_pb2.PolicyConfig(enforcementLevel=level, properties=properties)
    analyzer.Configure(analyzer_pb2.ConfigureAnalyzerRequest(policyConfig={"image-pinned": config}), None)
    analyzer._get_policy_config("image-pinned")

def analyze(image, **more):
    calls.clear()
    response = analyzer.Analyze(analyzer_pb2.AnalyzeRequest(**{**resource(image), **more}), None)
    notes = [[d.policyName, d.enforcementLevel, d.message] for d in response.diagnostics]
    return {"decoded": len(calls), "notes": [note for note in notes if note[0] == "image-pinned"]}

levels()
found = {"plain": analyze("a/b:1.0"), "moving": analyze("a/b:latest"), "unknown": analyze(UNKNOWN_STRING_VALUE)}
found["component"] = analyze("a/b:1.0", type="inference-platform:serving:ModelDeployment")
calls.clear()
secret = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": "in/secret:latest"}
found["secret"] = analyze(secret)
request = analyzer_pb2.AnalyzeRequest(**resource("a/b:1.0"))
found["remediated"] = analyzer.Remediate(request, None).SerializeToString().hex()
calls.clear()
stack = [analyzer_pb2.AnalyzerResource(**resource(f"a/b:{index}")) for index in range(50)]
analyzer.AnalyzeStack(analyzer_pb2.AnalyzeStackRequest(resources=stack), None)
found["stack"] = len(calls)
levels(digests="all")
found["digests"] = analyze("a/b:1.0")
try:
    levels(colour="blue")
    analyze("a/b:1.0")
except Exception as error:
    found["wrong"] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    program = PROGRAM.replace("ROOT", repr(str(ROOT)))
    done = subprocess.run([str(PYTHON), "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_resource_is_decoded_once_for_all_policies(found: dict[str, Any]) -> None:
    assert found["plain"] == {"decoded": 1, "notes": []}
    assert found["stack"] == 50


def test_what_no_policy_reads_is_not_decoded(found: dict[str, Any]) -> None:
    assert found["component"] == {"decoded": 0, "notes": []}
    assert found["remediated"] == ""


def test_a_secret_is_judged_by_its_value(found: dict[str, Any]) -> None:
    assert "'in/secret:latest' moves" in found["secret"]["notes"][0][2]


def test_a_violation_is_mandatory_and_an_unknown_value_is_advice(found: dict[str, Any]) -> None:
    advisory, mandatory = 0, 1
    assert [note[1] for note in found["moving"]["notes"]] == [mandatory]
    ((_, level, message),) = found["unknown"]["notes"]
    assert level == advisory
    assert "spec.template.spec.containers[0].image" in message


def test_settings_reach_the_policy(found: dict[str, Any]) -> None:
    assert "has no digest" in found["digests"]["notes"][0][2]
    assert found["wrong"] == "policy image-pinned: unknown setting 'colour'; settings: digests"
