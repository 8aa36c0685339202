"""The certificate catches each way a training row can be wrong, and a model whose packed rows leak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from basewright import checks
from basewright.data import rows
from basewright.engine.torch_lm import load_model
from basewright.errors import Refused
from basewright.prove import certificate, model_checks, row_checks
from basewright.records import Check, Item, Layout
from basewright.text import layout
from basewright.text.encode import Encoded
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from basewright.train import attention, losses, tune
from basewright.train.objectives import NextToken
from tests.convert.stories260k import stories260k
from tests.models import tiny_llama

LAYOUT = Layout(prompt="T: {text}\nL:", separator="\n\n")
ITEMS = [
    Item(id=rows.identity(text), text=text, label=label)
    for text, label in (("one clock struck", "a"), ("sailors and ropes", "b"), ("trains are late", "a")) * 3
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    attention.install()
    return tiny_llama(tmp_path_factory.mktemp("m"))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Tokenizer:
    return open_tokenizer(folder)


def found(encoded: Sequence[Encoded], tokenizer: Tokenizer, limit: int = 128) -> dict[str, Check]:
    examples = [layout.labelled(LAYOUT, item) for item in ITEMS]
    made = row_checks.row_checks(examples, encoded, tokenizer, limit, tokenizer.size)
    return {check.name: check for check in made}


def test_right_rows_pass(tokenizer: Tokenizer) -> None:
    assert all(check.passed for check in found(tune.examples(ITEMS, LAYOUT, tokenizer), tokenizer).values())


def test_right_rows_of_a_decoder_that_takes_off_the_first_space_pass(tmp_path: Path) -> None:
    """SentencePiece-like tokenizers, stories260K's here: the label alone decodes without the space before it."""
    tokenizer = open_tokenizer(stories260k(tmp_path))
    encoded = tune.examples(ITEMS, LAYOUT, tokenizer)
    assert tokenizer.text(encoded[0].ids[encoded[0].mask.index(True) :]) == "a"
    assert all(check.passed for check in found(encoded, tokenizer, 512).values())
    for at in range(1, len(encoded[0].ids)):
        broken = [flip(encoded[0], at), *encoded[1:]]
        assert not all(check.passed for check in found(broken, tokenizer, 512).values()), at


def flip(row: Encoded, at: int) -> Encoded:
    return replace(row, mask=tuple(m if i != at % len(row.mask) else not m for i, m in enumerate(row.mask)))


def test_every_single_wrong_mask_bit_is_seen(tokenizer: Tokenizer) -> None:
    good = tune.examples(ITEMS, LAYOUT, tokenizer)
    for at in range(len(good[1].ids)):
        broken = [good[0], flip(good[1], at), *good[2:]]
        failed = [check for check in found(broken, tokenizer).values() if not check.passed]
        assert failed or at == 0, at  # position 0 is never predicted, so its bit has no effect
        assert all(check.value == 1 for check in failed)
        assert all("sailors and ropes" in check.how for check in failed)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda row: replace(row, mask=(*row.mask[:-1], False)), "every row learns to stop"),
        (lambda row: Encoded(row.ids[:-1], row.mask[:-1]), "every row learns to stop"),
        (lambda row: Encoded((0, *row.ids), (False, *row.mask)), "BOS as the tokenizer declares it"),
        (lambda row: Encoded(row.ids[1:], row.mask[1:]), "BOS as the tokenizer declares it"),
        (lambda row: Encoded((*row.ids[:3], 384, *row.ids[4:]), row.mask), "every id is in the embedding table"),
        (lambda row: replace(row, mask=(False,) * len(row.mask)), "every row has something to learn"),
    ],
)
def test_h065_h066_h074_each_fault_has_its_check(tokenizer: Tokenizer, change: Any, name: str) -> None:
    good = tune.examples(ITEMS, LAYOUT, tokenizer)
    assert not found([change(good[0]), *good[1:]], tokenizer)[name].passed


def test_rows_that_would_be_cut_are_refused(tokenizer: Tokenizer) -> None:
    assert not found(tune.examples(ITEMS, LAYOUT, tokenizer), tokenizer, limit=10)["no row is cut"].passed


def test_h065_padding_that_is_eos_is_seen(tokenizer: Tokenizer) -> None:
    same = replace(tokenizer, pad_id=tokenizer.eos_id)
    assert not found(tune.examples(ITEMS, LAYOUT, tokenizer), same)["padding is not the end of text"].passed


def test_h078_copied_held_out_text_is_seen() -> None:
    long = "a b c d e f g h i j k l m n o p q r s t"
    seen = [Item(id="1", text=f"start {long} end", label="a")]
    assert not certificate._unseen(seen, [Item(id="2", text=f"other {long}", label="a")]).passed
    assert certificate._unseen(seen, [Item(id="2", text="a b c d e other words", label="a")]).passed


def test_model_checks_pass_on_our_attention(folder: Path, tokenizer: Tokenizer) -> None:
    model = load_model(folder, attention=attention.NAME)
    made = model_checks.model_checks(model, NextToken(tune.examples(ITEMS, LAYOUT, tokenizer)))
    assert [check.name for check in made if not check.passed] == []


def test_h070_an_attention_that_sees_its_neighbours_is_caught(
    folder: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = attention._runs
    monkeypatch.setattr(attention, "_runs", lambda lengths: real((sum(lengths),)))
    model = load_model(folder, attention=attention.NAME)
    check = model_checks.isolation(model, NextToken(tune.examples(ITEMS, LAYOUT, tokenizer)), tokenizer.size)
    assert not check.passed
    assert check.value > 1e-4


def test_h054_a_loss_averaged_per_batch_is_caught(
    folder: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = losses.next_token
    monkeypatch.setattr(
        losses, "next_token", lambda model, row: real(model, row) / row.supervised * len(row.ids) ** 0.5
    )
    model = load_model(folder, attention=attention.NAME)
    made = model_checks.accumulation(model, NextToken(tune.examples(ITEMS, LAYOUT, tokenizer)))
    assert not any(check.passed for check in made)


def test_requiring_names_the_first_that_failed() -> None:
    passed, failed = checks.at_most("a", 1.0, 2.0, "how a"), checks.at_most("b", 3.0, 2.0, "how b")
    checks.require([passed], fix="f")
    with pytest.raises(Refused, match=r"b: 3, the limit is 2 \(how b\)") as caught:
        checks.require([passed, failed], fix="f")
    assert caught.value.fix == "f"


def test_a_value_that_is_no_number_never_passes() -> None:
    assert not checks.at_most("a", float("nan"), 2.0, "h").passed
    assert not checks.at_most("a", float("-inf"), 2.0, "h").passed
