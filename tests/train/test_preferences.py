"""DPO through the loop: the published formula, exact at the first step, whatever the packing and the method."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from basewright import store
from basewright.data import pack
from basewright.engine.torch_lm import load_model
from basewright.prove import model_checks, row_checks
from basewright.records import Adapter, Certificate, Checkpoint, LoraVariant, Made, TrainSettings, Weights, silent
from basewright.store import Store
from basewright.text import encode
from basewright.text.encode import Encoded
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from basewright.train import adapters, attention, losses, reference, tune
from basewright.train.preferences import Pair, Preferences, Ratings
from tests.train.test_tune import LAYOUT, LORA, SETTINGS, certificate, pulled

ASKED = ("Where is the station?", "Name the ship.", "Who sells shells?", "How long is a rope? Say it in a word or two.")
PREFERRED = replace(SETTINGS, steps=6, beta=0.1, micro_tokens=96, batch_tokens=192)
VARIANTS: tuple[LoraVariant, ...] = tuple(adapters.VARIANTS)


def pairs(tokenizer: Tokenizer) -> list[Pair]:
    return [
        Pair(
            *(encode.example(tokenizer, asked, answer) for answer in (f" By the sea, {i}.", f" No {i} at all, sorry."))
        )
        for i, asked in enumerate(ASKED * 3)
    ]


@pytest.fixture
def base(tmp_path: Path) -> Made[Weights]:
    return pulled(tmp_path)


def paper(base: Made[Weights], objective: Preferences) -> Certificate:
    return replace(certificate(base), data_hash=objective.identity)


def run(
    base: Made[Weights],
    tmp_path: Path,
    settings: TrainSettings = PREFERRED,
    variant: LoraVariant = "lora",
) -> Made[Adapter]:
    objective = Preferences(pairs(open_tokenizer(base.folder / "model")))
    about = (base, paper(base, objective), objective, LAYOUT, replace(LORA, variant=variant), settings)
    made, _ = Store(tmp_path / "runs").make(
        "adapter",
        {"settings": settings, "variant": variant},
        Adapter,
        lambda work: tune.adapt(*about, work, silent),
    )
    return made


def steps(made: Made[Any]) -> list[dict[str, float]]:
    return [json.loads(line) for line in (made.folder / "steps.jsonl").read_text().splitlines()]


def answered(model: Any, row: Encoded) -> torch.Tensor:
    """Log-likelihood of a row's answer as transformers computes it, alone and unpacked."""
    ids = torch.tensor([row.ids])
    logs = model(input_ids=ids).logits[0, :-1].float().log_softmax(-1)
    nats: torch.Tensor = logs.gather(1, ids[0, 1:, None])[:, 0][torch.tensor(row.mask[1:])]
    return nats.sum()


def plainly(model: Any, start: Any, rows: list[Pair], beta: float) -> torch.Tensor:
    """Equation 7 of Rafailov et al. 2023, and mean over pairs, with two whole models."""
    with torch.no_grad():
        before = [[answered(start, answer) for answer in pair] for pair in rows]
    ratios = [
        [answered(model, answer) - old for answer, old in zip(pair, olds, strict=True)]
        for pair, olds in zip(rows, before, strict=True)
    ]
    return torch.stack([-functional.logsigmoid(beta * (win - lose)) for win, lose in ratios]).mean()


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_loss_and_gradient_are_those_of_the_formula(base: Made[Weights], beta: float) -> None:
    folder = base.folder / "model"
    rows = pairs(open_tokenizer(folder))
    attention.install()
    plain, start, ours = load_model(folder), load_model(folder), load_model(folder, attention=attention.NAME)
    known = Preferences(rows, beta).begin(ours)
    torch.manual_seed(0)
    for one, other in zip(plain.parameters(), ours.parameters(), strict=True):  # somewhere on the way
        change = 0.02 * torch.randn(one.shape)
        one.data += change
        other.data += change
    packed = known.pack(range(len(rows)))
    found = known.loss(ours, packed)
    (found.loss / packed.supervised).backward()
    wanted = plainly(plain, start, rows, beta)
    wanted.backward()
    assert abs(wanted.item() - np.log(2)) > 0.01
    assert found.loss.item() / len(rows) == pytest.approx(wanted.item(), rel=1e-5)
    grads = [torch.cat([p.grad.flatten() for p in model.parameters()]) for model in (ours, plain)]
    assert (grads[0] - grads[1]).norm() < 1e-4 * grads[1].norm()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_first_step_is_its_own_reference(tmp_path: Path, variant: LoraVariant, precision: Any) -> None:
    """To the last bit: ln 2 for each pair, no reward for any; then the chosen are told from the rejected."""
    made = run(pulled(tmp_path, precision), tmp_path, replace(PREFERRED, precision=precision), variant)
    first, *_, last = steps(made)
    assert first["loss"] == pytest.approx(np.log(2), rel=1e-6)
    assert (first["margin"], first["accuracy"]) == (0.0, 0.0)
    assert last["loss"] < first["loss"]
    assert last["margin"] > 0
    assert last["accuracy"] > 0.9


def test_all_weights_learn_preferences_without_a_second_model(base: Made[Weights], tmp_path: Path) -> None:
    rows = pairs(open_tokenizer(base.folder / "model"))
    objective = Preferences(rows)
    about = (base, paper(base, objective), objective, LAYOUT, replace(PREFERRED, learning_rate=1e-3))
    made, _ = Store(tmp_path / "runs").make("checkpoint", {}, Checkpoint, lambda work: tune.full(*about, work, silent))
    tuned, start = load_model(made.folder), load_model(base.folder / "model")
    assert plainly(tuned, start, rows, 0.1).item() < 0.9 * np.log(2)


def test_the_reference_is_kept_and_read_again(base: Made[Weights], tmp_path: Path) -> None:
    attention.install()
    folder = base.folder / "model"
    objective = Preferences(pairs(open_tokenizer(folder)))
    model = load_model(folder, attention=attention.NAME)
    keep = tmp_path / "start"

    def known(keep: Path | None) -> list[Any]:
        found = objective.begin(model, PREFERRED, keep).reference
        assert found is not None
        return list(found.flat)

    first = known(keep)
    for p in model.parameters():
        p.data.zero_()
    assert known(keep) == first
    assert known(None) != first
    (keep / reference.FILE).write_bytes(b"cut")  # and is made again where it is damaged
    assert store.faults(keep)
    assert known(keep) != first
    assert not store.faults(keep)


def test_dropout_would_part_a_model_from_its_reference() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=16, n_embd=8, n_layer=1, n_head=2)).train()
    ids = torch.arange(8)[None]
    assert not torch.equal(model(ids).logits, model(ids).logits)
    reference.without_dropout(model)
    assert torch.equal(model(ids).logits, model(ids).logits)


def test_segments_keep_their_pairs(base: Made[Weights]) -> None:
    """Shortest first in the row, and each answer still found as chosen or rejected."""
    objective = Preferences(pairs(open_tokenizer(base.folder / "model")))
    known = replace(objective, reference=np.arange(24, dtype=np.float32).reshape(12, 2))
    packed = known.pack([7, 2, 3])
    assert list(packed.lengths) == sorted(packed.lengths)
    ends = np.cumsum(packed.lengths)
    for at, row in enumerate((7, 2, 3)):
        for segment, answer in ((packed.chosen[at], 0), (packed.rejected[at], 1)):
            ids = packed.ids[ends[segment] - packed.lengths[segment] : ends[segment]]
            assert tuple(ids) == objective.rows[row][answer].ids
            assert packed.reference[segment] == 2 * row + answer


def test_model_checks_are_about_this_loss(base: Made[Weights], monkeypatch: pytest.MonkeyPatch) -> None:
    attention.install()
    folder = base.folder / "model"
    objective = Preferences(pairs(open_tokenizer(folder)))
    model = load_model(folder, attention=attention.NAME)

    def failed() -> set[str]:
        return {check.name for check in model_checks.model_checks(model, objective) if not check.passed}

    assert failed() == set()
    real, runs, packing = losses.dpo, attention._runs, pack.pack
    with monkeypatch.context() as patch:
        patch.setattr(
            losses, "dpo", lambda *about: real(*about)._replace(loss=real(*about).loss / len(about[1].chosen))
        )
        assert failed() == {"accumulation does not change the loss", "accumulation does not change the gradient"}
    with monkeypatch.context() as patch:
        patch.setattr(attention, "_runs", lambda lengths: runs((sum(lengths),)))
        assert "packed rows do not see each other" in failed()
    with monkeypatch.context() as patch:
        patch.setattr(pack, "pack", lambda rows: packing(list(rows)[::-1]))
        assert "packed rows keep their labels and positions" in failed()


def test_each_fault_of_a_pair_has_its_check(base: Made[Weights]) -> None:
    tokenizer = open_tokenizer(base.folder / "model")
    rows = pairs(tokenizer)

    def failed(broken: list[Pair]) -> list[tuple[str, float]]:
        return [(c.name, c.value) for c in row_checks.pair_checks(broken, tokenizer) if not c.passed]

    assert failed(rows) == []
    assert failed([Pair(rows[0].chosen, rows[1].rejected), *rows[1:]]) == [(row_checks.PAIRED, 1)]
    assert failed([*rows, Pair(rows[0].chosen, rows[0].chosen)]) == [(row_checks.DIFFER, 1)]


# --- ratings --------------------------------------------------------------------------------------


def ratings(tokenizer: Tokenizer) -> Ratings:
    answers = [(one, wanted) for pair in pairs(tokenizer) for one, wanted in zip(pair, (True, False), strict=True)]
    kept = answers[:-8:2] + answers[1::2]  # fewer wanted than not
    return Ratings.grouped([one for one, _ in kept], [wanted for _, wanted in kept])


def rated_plainly(model: Any, start: Any, known: Ratings) -> torch.Tensor:
    """Equation 8 of Ethayarajh et al. 2024, group by group, with two whole models; the mean over answers."""
    total, wanted = torch.zeros(()), sum(known.wanted)
    weights = {True: 12 / 8, False: 1.0}
    assert (wanted, len(known.wanted) - wanted) == (8, 12)
    for group in known.groups:
        members = sorted(group, key=lambda i: len(known.rows[i].ids))
        rows = [known.rows[i] for i in members]
        with torch.no_grad():
            moved = [answered(model, one) - answered(start, one) for one in strangers(rows)]
            level = torch.stack(moved).mean().clamp(min=0)
        for i, row in zip(members, rows, strict=True):
            with torch.no_grad():
                before = answered(start, row)
            lead = 0.1 * (answered(model, row) - before - level)
            value = torch.sigmoid(lead if known.wanted[i] else -lead)
            total = total + weights[known.wanted[i]] * (1 - value)
    return total / len(known.rows)


def strangers(rows: list[Encoded]) -> list[Encoded]:
    longest, found = max(len(row.ids) for row in rows), []
    for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
        asked, answer = row.mask.index(True), other.mask.index(True)
        ids = (row.ids[:asked] + other.ids[answer:])[:longest]
        found.append(Encoded(ids, (False,) * asked + (True,) * (len(ids) - asked)))
    return found


def test_ratings_have_loss_and_gradient_of_the_formula(base: Made[Weights]) -> None:
    folder = base.folder / "model"
    attention.install()
    plain, start, ours = load_model(folder), load_model(folder), load_model(folder, attention=attention.NAME)
    known = ratings(open_tokenizer(folder)).begin(ours)
    assert [len(group) for group in known.groups] == [8, 8, 4]
    torch.manual_seed(0)
    for one, other in zip(plain.parameters(), ours.parameters(), strict=True):
        change = 0.05 * torch.randn(one.shape)
        one.data += change
        other.data += change
    packed = known.pack([0, 1, 2])
    found = known.loss(ours, packed)
    (found.loss / packed.supervised).backward()
    wanted = rated_plainly(plain, start, known)
    wanted.backward()
    assert packed.supervised == 20
    assert found.loss.item() / 20 == pytest.approx(wanted.item(), rel=1e-5)
    grads = [torch.cat([p.grad.flatten() for p in model.parameters()]) for model in (ours, plain)]
    assert (grads[0] - grads[1]).norm() < 1e-4 * grads[1].norm()


def test_ratings_pass_the_model_checks_and_are_learned(base: Made[Weights], tmp_path: Path) -> None:
    attention.install()
    folder = base.folder / "model"
    objective = ratings(open_tokenizer(folder))
    model = load_model(folder, attention=attention.NAME)
    assert [c.name for c in model_checks.model_checks(model, objective) if not c.passed] == []
    settings = replace(PREFERRED, micro_tokens=256, batch_tokens=512)
    about = (base, replace(certificate(base), data_hash=objective.identity), objective, LAYOUT, LORA, settings)
    made, _ = Store(tmp_path / "runs").make("adapter", {}, Adapter, lambda work: tune.adapt(*about, work, silent))
    first, *_, last = steps(made)
    assert first["margin"] == 0
    assert last["loss"] < 0.8 * first["loss"]
    assert last["accuracy"] > 0.9


def test_the_level_of_a_group_is_part_of_its_loss(base: Made[Weights]) -> None:
    """A model that gives more to every answer has learned nothing of which are wanted."""
    attention.install()
    folder = base.folder / "model"
    model = load_model(folder, attention=attention.NAME)
    known = ratings(open_tokenizer(folder)).begin(model)
    assert known.reference is not None
    shifted = replace(known, reference=known.reference - 5.0)
    for one in (known, shifted):
        assert one.loss(model, one.pack([0, 1])).sums["margin"].item() == pytest.approx(0.0, abs=1e-4)
