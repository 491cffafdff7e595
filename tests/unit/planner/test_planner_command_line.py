"""`python -m planner`: what it answers, and that a wrong question is one sentence and status 2.

Not proven here: that the answers are right (the tests of sizing, latency and ranking).
"""

from __future__ import annotations

import json

import pytest

from planner.__main__ import main

pytestmark = pytest.mark.unit

EIGHT, SEVENTY = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.3-70B-Instruct"


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["size", EIGHT, "--gpu", "l4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kv_cache_tokens"] == 23_840
    assert main(["size", SEVENTY, "--gpu", "l4"]) == 1
    assert "weights take 131.4 GiB" in capsys.readouterr().err
    assert main(["size", "me/unknown", "--gpu", "l4"]) == 2
    assert main(["rank", EIGHT, "--top", "3", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3
    assert main(["rank", EIGHT, "--max-tpot-ms", "0.1"]) == 1
    assert main(["rank", "deepseek-ai/DeepSeek-R1"]) == 0
    assert "8x2" in capsys.readouterr().out
    assert main(["size", SEVENTY, "--gpu", "h100", "--tensor-parallel", "4", "--engine", "sglang"]) == 0
    shown = capsys.readouterr().out
    assert f"{SEVENTY} on 4 x NVIDIA H100 80GB SXM" in shown
    assert "weights                           32.85 (the whole model: 131.42)" in shown
    assert main(["size", EIGHT, "--gpu", "a100-40", "--mig-profile", "3g.20gb"]) == 0
    assert "no measured row backs this" in capsys.readouterr().out
    assert main(["rank", EIGHT, "--prices", "nowhere.toml"]) == 2


@pytest.mark.parametrize(
    ("command", "flag", "value", "kind"),
    [
        (["size", "--gpu", "l4"], "--concurrency", "0", "a whole number of 1 or more"),
        (["size", "--gpu", "l4"], "--pipeline-parallel", "0", "a whole number of 1 or more"),
        (["size", "--gpu", "l4"], "--max-model-len", "0", "a whole number of 1 or more"),
        (["size", "--gpu", "l4"], "--replicas-per-gpu", "1.5", "a whole number of 1 or more"),
        (["rank"], "--output-tokens", "0", "a number above 0"),
        (["rank"], "--input-tokens", "nan", "a number above 0"),
        (["rank"], "--requests-per-second", "-1", "a number above 0"),
        (["rank"], "--budget", "much", "a number above 0"),
        (["rank"], "--top", "-1", "a whole number of 1 or more"),
    ],
)
def test_a_figure_that_makes_no_sense_is_a_wrong_question(
    capsys: pytest.CaptureFixture[str], command: list[str], flag: str, value: str, kind: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, EIGHT, f"{flag}={value}"])
    assert ended.value.code == 2
    assert f"argument {flag}: {value!r} must be {kind}" in capsys.readouterr().err
