"""The table of images: what is in it, how references are matched, what is said about mistakes.

Not proven here: that the programs behave like those of the images.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from local.node_agent.images import ImageTableError, default_table, known_images, load, repository

pytestmark = pytest.mark.unit

ROW = """
[images."org/program"]
runs = "real"
description = "a program"
entrypoint = ["program"]
programs = {{ program = ["{{python}}", "-m", "program"] }}
{extra}
"""


def table_file(tmp_path: Path, extra: str = "") -> Path:
    path = tmp_path / "images.toml"
    path.write_text(ROW.format(extra=extra))
    return path


def test_the_images_of_the_environment_are_known() -> None:
    assert known_images() == ["haproxy", "lmsysorg/sglang", "vllm/vllm-openai", "vllm/vllm-router"]
    assert {name: row.runs for name, row in default_table().images.items()} == {
        "vllm/vllm-openai": "simulated",
        "lmsysorg/sglang": "simulated",
        "vllm/vllm-router": "real",
        "haproxy": "real",
    }


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("haproxy", "haproxy"),
        ("haproxy:2.8.25", "haproxy"),
        ("vllm/vllm-openai:v0.32.0", "vllm/vllm-openai"),
        ("vllm/vllm-openai@sha256:00ff", "vllm/vllm-openai"),
        ("vllm/vllm-openai:v0.32.0@sha256:00ff", "vllm/vllm-openai"),
        ("registry.local:5000/haproxy", "registry.local:5000/haproxy"),
        ("registry.local:5000/haproxy:2.8", "registry.local:5000/haproxy"),
        ("docker.io/library/haproxy:2.8", "docker.io/library/haproxy"),
        ("", ""),
    ],
)
def test_tag_and_digest_do_not_count(image: str, name: str) -> None:
    assert repository(image) == name


def test_a_pod_is_ours_only_if_all_its_images_are_known() -> None:
    table = default_table()
    assert table.knows_all(["haproxy:2.8.25", "vllm/vllm-router:v0.1.17"])
    assert not table.knows_all(["haproxy:2.8.25", "nginx"])
    assert not table.knows_all([None])


def test_command_lines_as_kubernetes_combines_them(tmp_path: Path) -> None:
    program = load(table_file(tmp_path, 'arguments = ["--default"]')).images["org/program"]
    assert program.command_line([], []) == ["program", "--default"]
    assert program.command_line([], ["--own"]) == ["program", "--own"]
    assert program.command_line(["sh"], []) == ["sh"]
    assert program.command_line(["sh"], ["-c"]) == ["sh", "-c"]


def test_only_the_first_word_is_looked_up(tmp_path: Path) -> None:
    program = load(table_file(tmp_path)).images["org/program"]
    assert program.on_this_machine(["program", "program"]) == [sys.executable, "-m", "program", "program"]
    assert program.on_this_machine(["sleep", "1"]) == ["sleep", "1"]
    assert program.on_this_machine([]) == []


def test_the_engine_runs_as_the_simulator_and_haproxy_in_the_foreground() -> None:
    engine, haproxy = default_table().images["vllm/vllm-openai"], default_table().images["haproxy"]
    words = engine.on_this_machine(engine.command_line([], ["org/model", "--port=8000"]))
    assert words == [sys.executable, "-m", "local.engine_simulator", "serve", "org/model", "--port=8000"]
    words = haproxy.on_this_machine(haproxy.command_line([], []))
    assert Path(words[0]).is_file()
    assert words[1:] == ["-W", "-db", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]
    assert haproxy.stop_signal == "SIGUSR1"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ('stop_signal = "SIGNOPE"', "images.org/program.stop_signal: Value error, SIGNOPE is not a signal"),
        ("colour = 1", "images.org/program.colour: Extra inputs are not permitted"),
        ('arguments = "x"', "images.org/program.arguments: Input should be a valid tuple"),
        ("a = b", "Invalid value"),
    ],
)
def test_a_mistake_names_its_field(tmp_path: Path, extra: str, message: str) -> None:
    path = table_file(tmp_path, extra)
    with pytest.raises(ImageTableError) as error:
        load(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_an_unknown_placeholder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    path = table_file(tmp_path)
    path.write_text(path.read_text().replace("{python}", "{perl}"))
    with pytest.raises(ImageTableError, match=r"\{perl\} is no placeholder; there are \{python\}"):
        load(path)
    with pytest.raises(ImageTableError, match="No such file"):
        load(tmp_path / "missing.toml")
