"""The dial: what is given stays, what is derived has a reason, and a value that cannot be is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from basewright.errors import UsageError
from basewright.records import LoraSettings
from basewright.train import effort, tune

MAPS = ("q_proj", "k_proj", "v_proj")
LENGTHS = (40,) * 300


def derive(method: effort.Method = "lora", dial: effort.Effort = "standard", **given: Any) -> effort.Derived:
    return effort.derive(method, dial, LENGTHS, width=512, stored="float32", maps=MAPS, given=effort.Given(**given))


def test_more_effort_is_more_of_it() -> None:
    found = [derive(dial=dial) for dial in effort.EPOCHS]
    assert [one.train.steps for one in found] == sorted({one.train.steps for one in found})
    assert [one.lora.rank for one in found if one.lora] == [8, 16, 32]
    assert all(value.why for one in found for value in one.values)


def test_what_is_given_stays_and_says_so() -> None:
    found = derive(rank=3, targets=("v_proj",), learning_rate=0.5, epochs=7, batch_tokens=512, micro_tokens=128)
    assert found.lora == LoraSettings(rank=3, alpha=6.0, targets=("v_proj",))
    assert (found.train.learning_rate, found.train.batch_tokens, found.train.micro_tokens) == (0.5, 512, 128)
    assert {value.name for value in found.values if value.why == "given"} == {
        "rank", "targets", "learning rate", "epochs", "batch tokens", "micro tokens"
    }  # fmt: skip
    assert found.train.steps == tune.steps_for(LENGTHS, 7 * len(LENGTHS), 128, 512, 0)


def test_all_weights_want_a_tenth_of_the_rate() -> None:
    assert derive("full").lora is None
    assert derive("full").train.learning_rate == pytest.approx(derive().train.learning_rate / 10)


@pytest.mark.parametrize(("value", "power"), [(1, 1), (2, 2), (3, 4), (256, 256), (257, 512), (0.3, 1)])
def test_powers_of_two(value: float, power: int) -> None:
    assert effort._power(value) == power


def test_a_target_that_is_no_map_is_named() -> None:
    with pytest.raises(UsageError, match="did you mean 'q_proj'"):
        derive(targets=("q_prj",))


def test_an_adapter_is_continued_as_it_is() -> None:
    lora = LoraSettings(rank=5, alpha=1.0, targets=("q_proj",))
    options: dict[str, Any] = {"width": 64, "stored": "float32", "maps": MAPS, "continued": lora}
    assert effort.derive("lora", "pilot", LENGTHS, given=effort.Given(), **options).lora == lora
    with pytest.raises(UsageError, match="continued as it is"):
        effort.derive("lora", "pilot", LENGTHS, given=replace(effort.Given(), rank=4), **options)
