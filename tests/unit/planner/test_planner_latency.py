"""The fitted constants and their error come from the measured rows; skipped, with a word, where those are not there.

Not proven here: GPUs and models without measured rows, pipelines (no row has one), TTFT under load.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from planner.accuracy import LeftOut, report
from planner.catalog import gpus, models
from planner.fit import (
    Fitted,
    bands,
    engine_of,
    errors,
    first_bands,
    fit_all,
    gpu_of,
    main,
    model_of,
    percentile,
    solve,
    without,
)
from planner.latency import CONSTANTS_FILE, _document, constants, predict
from planner.measured import MEASURED, Row, elsewhere_rows, read_rows
from planner.step import TERMS, Batch, step_terms, touched_share

pytestmark = pytest.mark.unit
DOCS = Path(__file__).resolve().parents[3] / "docs"
LLAMA, QWEN = "meta-llama/Llama-3.1-70B-Instruct", "Qwen/Qwen3-32B"


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    if not MEASURED.is_file():
        pytest.skip(f"the measured rows are not there ({MEASURED.name})")
    return read_rows(MEASURED)


@pytest.fixture(scope="module")
def left_out(rows: list[Row]) -> LeftOut:
    return LeftOut(fit_all(rows), without(rows, model_of), without(rows, gpu_of), without(rows, engine_of))


def test_the_constants_and_bands_are_what_the_fit_gives(rows: list[Row], left_out: LeftOut) -> None:
    for (engine, feed_forward), values in left_out.used.table.items():
        assert values == constants(engine, feed_forward)
    assert bands(rows, left_out.used, left_out.model, left_out.gpu) == _document()["errors"]
    assert first_bands(rows, left_out.model) == _document()["first_token_errors"]


def test_the_report_is_fresh(rows: list[Row], left_out: LeftOut) -> None:
    written = (DOCS / "plan-accuracy.md").read_text(encoding="utf-8")
    assert written == report(rows, left_out), "run python -m planner.fit"


def mape(rows: list[Row], fitted: Fitted) -> float:
    found = errors(rows, fitted)
    return sum(found) / len(found)


def test_dense_models_on_vllm_are_within_12_percent_without_any_row_of_theirs(
    rows: list[Row], left_out: LeftOut
) -> None:
    """No row is left out of this figure, and no constant has seen a row of the model that it is tested on."""
    dense = [row for row in rows if row.engine == "vllm" and not row.model.experts]
    found = sorted(miss for row in dense for miss in errors([row], left_out.model[row.model.key]))
    assert len(found) == 204
    assert sum(found) / len(found) <= 0.08
    for name in (LLAMA, QWEN):
        assert mape([row for row in dense if row.model.key == name], left_out.model[name]) <= 0.08
    own = [row for row in dense if not row.doubt]
    for gpu in sorted({row.gpu.key for row in own}):
        assert mape([row for row in own if row.gpu.key == gpu], left_out.gpu[gpu]) <= 0.12


def test_most_rows_stay_below_the_band_that_the_plan_prints(rows: list[Row], left_out: LeftOut) -> None:
    own = [row for row in rows if row.engine == "vllm" and not row.model.experts and not row.doubt]
    table = _document()["errors"]
    below = [
        errors([row], left_out.model[row.model.key])[0] <= table[f"vllm-dense-{row.gpu.key}"] + 5e-4 for row in own
    ]
    assert 0.9 <= sum(below) / len(below) < 0.95


def test_a_gpu_without_rows_stays_below_the_band_of_estimates(left_out: LeftOut) -> None:
    found = errors(elsewhere_rows(), left_out.used)
    assert len(found) == 12
    assert sum(found) / len(found) < 0.2
    assert percentile(found, 0.9) <= _document()["errors"]["vllm-dense-unmeasured"] + 5e-4


def test_the_harness_with_cached_prompts_beats_the_data_sheet_otherwise(rows: list[Row]) -> None:
    harness = [row for row in rows if row.cached]
    assert len(harness) == 14
    assert sum(row.bound_ms() > row.tpot_ms for row in harness) == 3
    assert not any(row.bound_ms(cached=1.0) > row.tpot_ms for row in harness)
    others = [row for row in rows if row.engine == "vllm" and not row.model.experts and not row.cached]
    assert not any(row.bound_ms() > row.tpot_ms for row in others)


def test_rows_are_read_as_their_file_means_them(rows: list[Row]) -> None:
    # The same run is there as 64-way and as 8-way; per-rank batches of 4 and of 32 make 256 requests.
    twins = [row for row in rows if (row.tpot_ms, row.ttft_ms) == (9.68, 327.45) and row.concurrency == 64]
    assert {(row.tensor_parallel, row.data_parallel) for row in twins} <= {(8, 1)}
    assert max(row.tensor_parallel * row.data_parallel for row in rows if row.gpu.key != "gb200") == 8
    spread = [row for row in rows if row.data_parallel > 1]
    assert {row.concurrency % row.data_parallel for row in spread} == {0.0}
    assert all(row.tensor_parallel == 1 for row in spread)
    keys = [(row.model.key, row.gpu.key, row.engine, row.concurrency, row.ttft_ms, row.tpot_ms, row.id) for row in rows]
    assert len(set(keys)) == len(keys)


def test_solving_finds_the_factors_and_keeps_to_their_bounds() -> None:
    lines = [[a / (2 * a + 3 * b), b / (2 * a + 3 * b)] for a in range(1, 15) for b in range(1, 15)]
    assert solve(lines, ((1.0, 0.0), (1.0, 0.0))) == pytest.approx([2, 3], rel=0.05)
    assert solve(lines, ((1.0, 0.0), (1.0, 3.5)))[1] == 3.5
    assert solve([], ((1.5, 1.0), (2.0, 0.0))) == [1.5, 2.0]
    odd = [*lines, *([2.5 * term for term in line] for line in lines[::10])]
    assert solve(odd, ((1.0, 0.0), (1.0, 0.0))) == pytest.approx([2, 3], rel=0.1)


def test_terms_of_a_dense_model_by_hand() -> None:
    model, gpu = models()[LLAMA], gpus()["h100"]
    batch = Batch(sequences=4, context=1000, prefill=8, prompt=512, mixed=0.1)
    found = dict(zip(TERMS, step_terms(model, gpu, batch, tensor_parallel=2, quantization="fp8"), strict=True))
    head = 128_256 * 8192
    linear = model.parameters - 2 * head
    assert found["weights"] == pytest.approx((linear + 2 * head) / 2 / 3350e9)
    assert found["cache"] == pytest.approx(4 * 1000 * 163_840 / 3350e9)
    assert found["linear"] == pytest.approx(2 * (12 * linear / 1978e12 + 4 * head / 989e12) / 2)
    assert (found["layer_seconds"], found["hop_seconds"], found["sequence_seconds"]) == (80, 80, 4)
    assert found["reduce"] == pytest.approx(12 * 4 * 80 * 8192 * 2 / 450e9)
    assert found["attention"] == pytest.approx(8 * 2 * 32 * 80 * 256 * 256 / 989e12)
    names = ("experts", "expert_math", "expert_layer_seconds", "latent", "state")
    assert [found[name] for name in names] == [0, 0, 0, 0, 0]


def test_terms_of_experts_windows_and_latent_attention() -> None:
    gpu = gpus()["h200"]
    one = Batch(sequences=1, context=4000, prefill=0, prompt=0, mixed=0)
    mixture = models()["openai/gpt-oss-120b"]
    found = dict(zip(TERMS, step_terms(mixture, gpu, one), strict=True))
    # One token reads 4 of 128 experts, in mxfp4; 18 of 36 layers see 128 tokens only.
    assert found["experts"] == pytest.approx(mixture.expert_parameters * (4 / 128) * (0.5 + 1 / 32) / 4800e9)
    assert found["cache"] == pytest.approx((18 * 4000 + 18 * 128) * 2 * 8 * 64 * 2 / 4800e9)
    latent = models()["deepseek-ai/DeepSeek-R1"]
    one_gpu, eight = (
        dict(zip(TERMS, step_terms(latent, gpu, one, tensor_parallel=size), strict=True)) for size in (1, 8)
    )
    assert one_gpu["cache"] == eight["cache"] == pytest.approx(4000 * 61 * 576 * 2 / 4800e9)
    assert one_gpu["latent"] == pytest.approx(8 * eight["latent"])
    sparse = models()["zai-org/GLM-5-FP8"]
    short, long = (
        dict(zip(TERMS, step_terms(sparse, gpu, replace(one, context=tokens)), strict=True))
        for tokens in (2048, 20_480)
    )
    # Beyond 2048 tokens only the indexer's keys are read.
    assert long["cache"] - short["cache"] == pytest.approx(78 * 132 * 18_432 / 4800e9)
    assert long["latent"] == short["latent"]


def test_more_tokens_touch_more_experts_and_never_more_than_all() -> None:
    model = models()["deepseek-ai/DeepSeek-V3"]
    shares = [touched_share(model, tokens) for tokens in (0, 1, 8, 64, 512, 4096)]
    assert shares[0] == 0
    assert shares[1] == pytest.approx(8 / 256)
    assert shares == sorted(shares)
    assert 0.999 < shares[-1] <= 1


def test_data_parallel_attention_pays_for_latent_attention() -> None:
    model, gpu = models()["deepseek-ai/DeepSeek-R1"], gpus()["h200"]
    long = {"input_tokens": 8192, "output_tokens": 1024, "concurrency": 256}
    tensor = predict(model, gpu, tensor_parallel=8, **long)  # type: ignore[arg-type]
    data = predict(model, gpu, data_parallel=8, **long)  # type: ignore[arg-type]
    assert data.tpot_ms < tensor.tpot_ms


def test_a_pipeline_serves_a_part_of_the_batch_at_a_time_and_is_an_estimate() -> None:
    model, gpu = models()[LLAMA], gpus()["h100"]
    whole = predict(model, gpu, tensor_parallel=4, concurrency=16)
    staged = predict(model, gpu, tensor_parallel=4, pipeline_parallel=2, concurrency=32)
    assert staged.tpot_ms == pytest.approx(whole.tpot_ms + 0.03)
    assert staged.tokens_per_s == pytest.approx(2 * whole.tokens_per_s, rel=0.01)
    assert (whole.estimate, staged.estimate) == (False, True)


def test_predictions_carry_their_error_and_say_what_is_an_estimate() -> None:
    llama, l4, h100 = models()["meta-llama/Llama-3.1-8B-Instruct"], gpus()["l4"], gpus()["h100"]
    table = _document()["errors"]
    known, guessed = predict(llama, h100), predict(llama, l4)
    assert (known.estimate, known.error) == (False, table["vllm-dense-h100"])
    assert (guessed.estimate, guessed.error) == (True, table["vllm-dense-unmeasured"])
    assert guessed.error > known.error
    assert known.ttft_error == _document()["first_token_errors"]["vllm-dense"]
    other = predict(llama, h100, engine="trtllm")
    assert (other.estimate, other.error) == (False, table["trtllm-dense-h100"])
    assert other.tpot_ms != known.tpot_ms
    unknown = predict(llama, h100, engine="tgi")
    assert (unknown.estimate, unknown.tpot_ms) == (True, known.tpot_ms)
    assert percentile([1.0, 2.0], 0.9) == 2.0


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = CONSTANTS_FILE.read_bytes()
    monkeypatch.setattr("sys.argv", ["fit", "--measured", "nowhere.csv"])
    assert main() == 1
    assert "nowhere.csv: No such file or directory; name the file with --measured" in capsys.readouterr().err
    assert CONSTANTS_FILE.read_bytes() == before
