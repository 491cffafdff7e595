"""LoRA adapters of the simulated engine: names, memory, and what may change while it runs.

Does not prove that an adapter's answers differ: the simulator's text is synthetic.
"""

from __future__ import annotations

import json

import pytest

from local.engine_simulator.adapters import Adapters, slot_bytes, updates_allowed
from local.engine_simulator.arguments import UsageError, parse
from local.engine_simulator.environment import Simulation
from local.engine_simulator.protocol import ApiError
from local.engine_simulator.settings import EngineSettings, resolve
from planner.catalog import models
from planner.lora import LoraSlots
from tests.unit.engine_simulator.engine_doubles import L4, LLAMA_8B

pytestmark = pytest.mark.unit

LORA = ("--enable-lora", "--max-loras=2", "--max-lora-rank=16", "--lora-modules", "sql=a/sql", "legal=a/legal")


def start(*arguments: str, environ: dict[str, str] | None = None) -> EngineSettings:
    words = ["serve", LLAMA_8B.hf_id, "--max-model-len=2048", *arguments]
    return resolve(parse(words), Simulation(), LLAMA_8B, L4, environ or {})


def test_the_command_line() -> None:
    arguments = parse(["serve", "a/b", *LORA])
    assert dict(arguments.lora_modules) == {"sql": "a/sql", "legal": "a/legal"}
    assert (arguments.max_loras, arguments.max_lora_rank) == (2, 16)
    assert parse(["serve", "a/b", "--max-loras=2"]).max_loras == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--lora-modules", "sql=a/sql"), "needs --enable-lora"),
        (("--enable-lora", "--lora-modules", "sql"), "must be NAME=SOURCE"),
        (("--enable-lora", "--max-lora-rank=48"), "invalid choice"),
    ],
)
def test_what_vllm_refuses_is_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(["serve", "a/b", *words])


def test_slots_take_memory_as_the_plan_says() -> None:
    plain, with_adapters = start(), start(*LORA)
    taken = slot_bytes(LLAMA_8B, 2, 16, 1)
    assert taken == pytest.approx(LoraSlots(2, 16).gib(models()[LLAMA_8B.hf_id]) * 2**30)
    blocks = plain.limits.num_blocks - with_adapters.limits.num_blocks
    assert blocks * 16 * plain.kv_bytes_per_token == pytest.approx(taken, abs=16 * plain.kv_bytes_per_token)


def test_adapters_are_listed_after_the_model() -> None:
    adapters = Adapters({"sql": "a/sql"}, ["chat", "also-chat"])
    assert adapters.names == ("chat", "also-chat", "sql")
    (card,) = adapters.cards(7)
    assert (card["id"], card["root"], card["parent"], card["created"]) == ("sql", "a/sql", "chat", 7)


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_adapters_come_and_go() -> None:
    adapters, base = Adapters({}, ["chat"]), ("chat",)
    assert "added" in adapters.load(body(lora_name="sql", lora_path="a/sql"))
    assert list(adapters.names) == ["chat", "sql"]
    assert "removed" in adapters.unload(body(lora_name="sql"))
    assert adapters.names == base


@pytest.mark.parametrize(
    ("call", "given", "status"),
    [
        ("load", body(lora_name="chat", lora_path="a/b"), 400),
        ("load", body(lora_name="sql"), 400),
        ("load", body(lora_name="sql", lora_path=7), 400),
        ("load", b"no JSON", 400),
        ("load", b"[]", 400),
        ("unload", body(lora_name="sql"), 404),
        ("unload", body(), 400),
    ],
)
def test_bad_calls(call: str, given: bytes, status: int) -> None:
    with pytest.raises(ApiError) as error:
        getattr(Adapters({}, ["chat"]), call)(given)
    assert error.value.status == status


@pytest.mark.parametrize(("value", "allowed"), [("1", True), ("True", True), ("0", False), ("", False)])
def test_updates_are_allowed_by_a_variable_and_with_lora_only(value: str, allowed: bool) -> None:
    environ = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": value}
    assert updates_allowed(environ) is allowed
    assert start(*LORA, environ=environ).lora_updates is allowed
    assert start(environ=environ).lora_updates is False
