"""The fitted constants and their error come from the measured rows; skipped, with a word, where those are not there.

Not proven here: GPUs and models without measured rows, engines other than vLLM (docs/plan-accuracy.md has their error).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.accuracy import report
from planner.catalog import gpus, models
from planner.fit import MEASURED, Row, bands, errors, fit_all, main, read_rows
from planner.latency import CONSTANTS_FILE, _document, constants, predict

pytestmark = pytest.mark.unit
DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    if not MEASURED.is_file():
        pytest.skip(f"the measured rows are not there ({MEASURED.name})")
    return read_rows(MEASURED)[0]


def test_the_constants_are_what_the_fit_gives(rows: list[Row]) -> None:
    fitted = fit_all(rows)
    assert fitted == constants()
    assert bands(rows, fitted) == _document()["errors"]


def test_the_report_is_fresh(rows: list[Row]) -> None:
    shown = report(rows, constants(), read_rows(MEASURED)[1])
    assert (DOCS / "plan-accuracy.md").read_text(encoding="utf-8") == shown, "run python -m planner.fit"


def test_dense_models_on_vllm_are_within_12_percent(rows: list[Row]) -> None:
    dense = [row for row in rows if row.engine == "vllm" and not row.model.experts and not row.other_harness]
    test = [row for row in dense if not row.for_fitting]
    found = errors(test, constants())
    assert len(test) == 91
    assert sum(found) / len(found) < 0.08
    # A model that the fit has never seen.
    for name in ("Qwen/Qwen3-32B", "meta-llama/Llama-3.1-70B-Instruct"):
        unseen = fit_all([row for row in rows if row.model.key != name])
        found = errors([row for row in dense if row.model.key == name], unseen)
        assert sum(found) / len(found) <= 0.12


def test_predictions_carry_their_error_and_say_what_is_an_estimate() -> None:
    llama, l4, h100 = models()["meta-llama/Llama-3.1-8B-Instruct"], gpus()["l4"], gpus()["h100"]
    table = _document()["errors"]
    known, guessed = predict(llama, h100), predict(llama, l4)
    assert (known.estimate, known.error) == (False, table["dense-h100"])
    assert (guessed.estimate, guessed.error) == (True, table["dense-unmeasured"])
    assert guessed.error > known.error


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = CONSTANTS_FILE.read_bytes()
    monkeypatch.setattr("sys.argv", ["fit", "--measured", "nowhere.csv"])
    assert main() == 1
    assert "nowhere.csv: No such file or directory; name the file with --measured" in capsys.readouterr().err
    assert CONSTANTS_FILE.read_bytes() == before
