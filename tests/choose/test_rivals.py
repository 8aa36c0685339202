import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize, stats
from threadpoolctl import threadpool_limits
from transformers import LlamaForCausalLM

from basewright import store
from basewright.choose import rivals
from basewright.errors import DataError
from basewright.records import Item, Layout, Ledger, Task
from basewright.text.tokenizer import open_tokenizer
from tests import models

torch.set_num_threads(1)
Array = NDArray[Any]
LAYOUT = Layout(prompt="{text}\nLabel:", separator="\n\n")
LEDGER = Ledger(read=0, used=0, duplicates=0, near_duplicates=0, duplicate_examples=())
NOUNS = {"fruit": ("apple", "pear", "plum"), "tool": ("hammer", "saw", "file"), "bird": ("gull", "wren", "crow")}
VERBS = ("sees", "has", "wants", "keeps", "draws", "finds")


def item(text: str, label: str) -> Item:
    return Item(id=repr(text), text=text, label=label)


def task_of(rows: Sequence[tuple[str, str]], labels: Sequence[str] = ()) -> Task:
    train = tuple(item(text, label) for text, label in rows)
    named = tuple(labels) or tuple(sorted({label for _, label in rows}))
    return Task(
        name="toy", version="", kind="classify", labels=named, layout=LAYOUT, shots=0, train=train, choose=(), test=(),
        ledger=LEDGER,
    )  # fmt: skip


def things() -> Task:
    rows = [(f"she {verb} a {noun}", label) for label, nouns in NOUNS.items() for noun in nouns for verb in VERBS]
    return task_of(rows)


def answers(rival: rivals.Rival) -> list[str]:
    return [score.answer for score in rival.items]


# --- majority and TF-IDF --------------------------------------------------------------------------


def test_majority_is_the_commonest_label_and_surprised_by_the_shares() -> None:
    task = task_of([("a", "x"), ("b", "y"), ("c", "y"), ("d", "y")])
    rival = rivals.majority(task, [item("e", "y"), item("f", "x")])
    assert answers(rival) == ["y", "y"]
    assert [score.correct for score in rival.items] == [True, False]
    assert [score.bits for score in rival.items] == pytest.approx([np.log2(4 / 3), 2.0], abs=1e-3)
    assert rival.size == 8


def test_majority_gives_equals_to_the_first_label() -> None:
    assert answers(rivals.majority(task_of([("a", "y"), ("b", "x")]), [item("c", "y")])) == ["x"]


def test_tfidf_learns_what_words_say() -> None:
    asked = [item("we keep one pear", "fruit"), item("the old hammers", "tool"), item("crow, crow!", "bird")]
    rival = rivals.tfidf(things(), asked)
    assert answers(rival) == ["fruit", "tool", "bird"]
    assert [score.item for score in rival.items] == [one.id for one in asked]
    assert max(score.bits for score in rival.items) < 1


def test_tfidf_learns_from_parts_of_words_it_has_not_seen_whole() -> None:
    assert answers(rivals.tfidf(things(), [item("hammering", "tool"), item("gulls", "bird")])) == ["tool", "bird"]


def test_noise_gets_the_smoothest_fit() -> None:
    random = np.random.default_rng(0)
    words = [f"w{i}" for i in range(40)]
    rows = [(" ".join(random.choice(words, 6)), str(random.choice(["x", "y"]))) for _ in range(120)]
    rival = rivals.tfidf(task_of(rows), [item("w1 w2 w3", "x")])
    assert "C = 1 of 5-fold cross-validation on 120 rows" in rival.how
    assert rival.items[0].bits == pytest.approx(1, abs=0.6)


def test_size_counts_terms_and_numbers() -> None:
    rival = rivals.tfidf(task_of([("é", "x"), ("b", "y")]), [])
    terms = ["é", "b", " é", "é ", " é ", " b", "b ", " b "]
    weights = 4 * (len(terms) + 1)  # two labels need one set
    assert rival.size == sum(len(term.encode()) for term in terms) + 4 * len(terms) + weights
    assert rival.items == ()


def test_answers_do_not_know_the_right_labels_or_the_other_items() -> None:
    task = things()
    asked = [item(text, "fruit") for text in ("a plum in the saw", "she sees", "wrens have no files")]
    whole = rivals.tfidf(task, asked)
    assert answers(rivals.tfidf(task, [replace(one, label="bird") for one in asked])) == answers(whole)
    assert rivals.tfidf(task, asked[1:2]).items == whole.items[1:2]


def test_h082_the_same_bytes_on_another_number_of_threads() -> None:
    with threadpool_limits(limits=1):
        once = _digests()
    with threadpool_limits(limits=2):
        assert _digests() == once


@pytest.mark.slow
def test_h082_the_same_bytes_in_another_process() -> None:
    code = "from tests.choose import test_rivals as t; t.digests()"
    root, environ = Path(__file__).parents[2], {**os.environ, "PYTHONHASHSEED": "7"}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env=environ, capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == _digests()


def digests() -> None:
    print(json.dumps(_digests()))


def _digests() -> list[str]:
    task = things()
    asked = [item("a plum in the saw", "fruit"), item("she sees", "bird")]
    random = np.random.default_rng(1)
    features = random.normal(size=(len(task.train) + 2, 40)).astype(np.float32)
    probed = rivals.probe(task, asked, features[:-2], features[-2:])
    hint = rivals.logme(features[:-2], [one.label for one in task.train])
    return [store.digest(rivals.tfidf(task, asked)), store.digest(probed), repr(hint)]


# --- odd rows -------------------------------------------------------------------------------------


def test_a_label_never_seen_in_training_costs_the_floor() -> None:
    task = task_of([("a b", "x"), ("c d", "y"), ("a d", "x"), ("c c", "y")], labels=("x", "y", "z"))
    most = np.log2((1 + 3 * rivals.FLOOR) / rivals.FLOOR)
    for rival in (rivals.majority, rivals.tfidf):
        [score] = rival(task, [item("a z", "z")]).items
        assert not score.correct
        assert score.bits == pytest.approx(most)


def test_labels_of_a_single_row_are_learned() -> None:
    rows = [*((f"red {word}", "x") for word in VERBS), ("green", "y"), ("blue", "z")]
    asked = [item("green green", "y"), item("so blue", "z"), item("red has", "x")]
    rival = rivals.tfidf(task_of(rows), asked)
    assert [score.correct for score in rival.items][2]
    assert all(np.isfinite(score.bits) for score in rival.items)


def test_one_label_only_is_always_answered() -> None:
    task = task_of([("a", "x"), ("b", "x")], labels=("x", "y"))
    rival = rivals.tfidf(task, [item("a", "x"), item("b", "y")])
    assert answers(rival) == ["x", "x"]
    assert rival.items[0].bits < 1e-3
    assert "shares of the labels" in rival.how


def test_texts_without_any_term_get_the_shares() -> None:
    rows = [("\u2003", "y"), ("\u3000", "y"), ("\t", "x")]
    rival = rivals.tfidf(task_of(rows), [item("anything", "y")])
    assert answers(rival) == ["y"]
    assert rival.items[0].bits == pytest.approx(np.log2(1.5), abs=1e-3)


def test_signs_alone_are_told_apart() -> None:
    rows = [*(("!!!" + "?" * n, "loud") for n in range(5)), *(("...," + "," * n, "calm") for n in range(5))]
    asked = [item("?!!", "loud"), item(".,.", "calm"), item("漢字", "calm"), item("", "calm")]
    assert answers(rivals.tfidf(task_of(rows), asked))[:2] == ["loud", "calm"]


def test_h068_surrogates_and_nul_are_just_characters() -> None:
    task = task_of([("\ud800\ud800 \x00", "x"), ("\u202eabc", "y"), ("\ud800 x", "x"), ("abc", "y")])
    rival = rivals.tfidf(task, [item("\ud800", "x"), item("abc\x00", "y")])
    assert answers(rival) == ["x", "y"]


TEXTS = st.text(st.characters(), max_size=12)


@settings(max_examples=25, deadline=None)
@given(
    train=st.lists(st.tuples(TEXTS, st.sampled_from("xyz")), min_size=1, max_size=9),
    asked=st.lists(st.tuples(TEXTS, st.sampled_from("xyz")), max_size=4),
)
def test_any_rows_are_answered(train: list[tuple[str, str]], asked: list[tuple[str, str]]) -> None:
    task = task_of(train, labels=("x", "y", "z"))
    items = [item(text, label) for text, label in asked]
    for rival in (rivals.majority(task, items), rivals.tfidf(task, items)):
        assert len(rival.items) == len(items)
        for score, one in zip(rival.items, items, strict=True):
            assert score.item == one.id
            assert score.answer in task.labels
            assert score.correct == (score.answer == one.label)
            assert 0 <= score.bits < 13.3


def test_no_training_rows_are_refused_in_one_line() -> None:
    empty = task_of([], labels=("x", "y"))
    for rival in (rivals.majority, rivals.tfidf):
        with pytest.raises(DataError, match="toy has no training rows"):
            rival(empty, [item("a", "x")])


def test_a_label_that_is_not_the_tasks_is_refused_in_one_line() -> None:
    with pytest.raises(DataError, match="'z' is none of toy's"):
        rivals.tfidf(task_of([("a", "x"), ("b", "y")]), [item("a", "z")])


# --- the probe ------------------------------------------------------------------------------------


def clouds(spread: float, width: int = 12) -> tuple[Task, list[Item], Array, Array]:
    """Three labels around three centres."""
    random = np.random.default_rng(2)
    centres = random.normal(size=(3, width))
    labels = [label for label in "xyz" for _ in range(30)]
    features = np.array([centres["xyz".index(label)] for label in labels])
    features += spread * random.normal(size=features.shape)
    held = np.arange(90) % 3 == 0
    rows = [(f"text {i}", label) for i, label in enumerate(labels)]
    task = task_of([row for row, out in zip(rows, held, strict=True) if not out])
    return task, [item(*row) for row, out in zip(rows, held, strict=True) if out], features[~held], features[held]


def test_the_probe_reads_what_is_there() -> None:
    near = rivals.probe(*clouds(0.1))
    far = rivals.probe(*clouds(30.0))
    assert all(score.correct for score in near.items)
    assert sum(score.correct for score in far.items) < 20
    assert near.size == 4 * 13 * 3 + 8 * 12


def test_the_probe_does_not_care_for_scales_and_constants() -> None:
    task, items, train, asked = clouds(1.0)
    scale, shift = np.logspace(-3, 3, 12), np.linspace(-50, 50, 12)
    plain = rivals.probe(task, items, train, asked)
    moved = rivals.probe(task, items, train * scale + shift, asked * scale + shift)
    assert answers(moved) == answers(plain)
    assert [s.bits for s in moved.items] == pytest.approx([s.bits for s in plain.items], abs=1e-3)
    constant = rivals.probe(task, items, np.full_like(train, 3.0), np.full_like(asked, 3.0))
    assert [s.bits for s in constant.items] == pytest.approx([np.log2(3)] * len(items), abs=1e-3)


def test_the_probe_refuses_features_of_other_rows_or_broken_ones() -> None:
    task, items, train, asked = clouds(1.0)
    with pytest.raises(ValueError, match="other rows"):
        rivals.probe(task, items, train[1:], asked)
    with pytest.raises(ValueError, match="another model"):
        rivals.probe(task, items, train, asked[:, 1:])
    broken = train.copy()
    broken[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        rivals.probe(task, items, broken, asked)


# --- LogME ----------------------------------------------------------------------------------------


def best_evidence(features: Array, labels: Sequence[str]) -> float:
    """The same by hand: y is normal with covariance F Fᵀ / α + 1 / β, both found by a general optimiser."""
    n = len(labels)

    def best(y: Array) -> float:
        def loss(logs: Array) -> float:
            covariance = features @ features.T / np.exp(logs[0]) + np.eye(n) / np.exp(logs[1])
            return -float(stats.multivariate_normal(np.zeros(n), covariance).logpdf(y))

        starts = [np.array([alpha, beta]) for alpha in (-2.0, 2.0, 5.0) for beta in (0.0, 2.0, 5.0)]
        return -min(float(optimize.minimize(loss, start, bounds=[(-12, 12)] * 2).fun) for start in starts)

    targets = [np.array([one == label for one in labels], dtype=float) for label in sorted(set(labels))]
    return float(np.mean([best(y) for y in targets])) / n


@pytest.mark.parametrize(("n", "width", "noise"), [(20, 3, 0.5), (14, 14, 1.0), (12, 20, 2.0)])
def test_logme_is_the_best_evidence_of_a_bayesian_linear_regression(n: int, width: int, noise: float) -> None:
    random = np.random.default_rng(n)
    labels = [str(one) for one in random.choice(list("xyz"), n)]
    features = np.array([[float(label == "x"), *np.zeros(width - 1)] for label in labels])
    features = features + noise * random.normal(size=features.shape)
    assert rivals.logme(features, labels) == pytest.approx(best_evidence(features, labels), abs=2e-3)


def test_logme_prefers_features_that_tell_labels_apart() -> None:
    scores = []
    for spread in (0.3, 1.0, 3.0, 30.0):
        task, _, train, _ = clouds(spread)
        scores.append(rivals.logme(train, [one.label for one in task.train]))
    assert scores == sorted(scores, reverse=True)


def test_logme_is_finite_where_features_say_nothing_or_everything() -> None:
    assert np.isfinite(rivals.logme(np.zeros((6, 4)), list("xxyyzz")))
    assert np.isfinite(rivals.logme(np.eye(6), list("xxyyzz")))
    assert np.isfinite(rivals.logme(np.ones((3, 2)), list("xxx")))
    with pytest.raises(ValueError, match="other rows"):
        rivals.logme(np.eye(3), list("xy"))


# --- features -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_llama(tmp_path_factory.mktemp("base") / "model")


def by_hand(folder: Path, text: str) -> Array:
    """One text alone, through transformers: the mean behind the start token."""
    ids = [open_tokenizer(folder).bos_id, *open_tokenizer(folder).ids(text)]
    with torch.inference_mode():
        out = LlamaForCausalLM.from_pretrained(folder).eval()(torch.tensor([ids]), output_hidden_states=True)
    found: Array = out.hidden_states[-1][0, 1:].mean(dim=0).numpy()
    return found


def test_h075_features_are_those_of_each_text_alone(base: Path) -> None:
    texts = [*models.TEXTS, "a", *(text * 2 for text in models.TEXTS[:2])]
    found = rivals.features(base, texts)
    assert found.shape == (len(texts), 64)
    assert found.dtype == np.float32
    for row, text in zip(found, texts, strict=True):
        np.testing.assert_allclose(row, by_hand(base, text), atol=2e-5)
    np.testing.assert_allclose(rivals.features(base, texts[::-1])[::-1], found, atol=2e-5)


def test_features_of_an_empty_text_are_those_of_the_start(tmp_path: Path, base: Path) -> None:
    bare = models.tiny_llama(tmp_path / "bare", bos=False)
    for folder in (base, bare):
        found = rivals.features(folder, ["", "word"])
        assert np.isfinite(found).all()
        assert not np.allclose(found[0], found[1])


def test_h062_a_text_beyond_the_context_is_refused_not_cut(base: Path) -> None:
    with pytest.raises(DataError, match="longer than the model's context of 128"):
        rivals.features(base, ["fine", "quite long " * 200])


def test_progress_is_told(base: Path) -> None:
    told: list[tuple[str, int, int]] = []
    rivals.features(base, models.TEXTS, lambda *said: told.append(said))
    assert told[-1] == ("texts read", len(models.TEXTS), len(models.TEXTS))


def test_the_probe_learns_from_a_frozen_model(base: Path) -> None:
    words = [(text, "words") for text in ("the rope", "an old clock", "she sells", "my money", "cancel it", "the wall")]
    numbers = [(text, "numbers") for text in ("120 + 7", "07:45", "9 * 12", "84 - 3", "3 / 11", "5 + 68")]
    task, asked = task_of(words[:4] + numbers[:4]), [item(*row) for row in words[4:] + numbers[4:]]
    train, held = (rivals.features(base, [one.text for one in rows]) for rows in (task.train, asked))
    assert all(score.correct for score in rivals.probe(task, asked, train, held).items)


@given(seed=st.integers(0, 2**32 - 1), labels=st.integers(2, 4))
@settings(max_examples=15)
def test_c_is_the_least_surprised_although_others_are_left_early(seed: int, labels: int) -> None:
    rng = np.random.default_rng(seed)
    x_ND, y_N = rng.normal(size=(30, 4)), rng.integers(0, labels, 30)
    folds_N = np.empty(30, dtype=int)
    folds_N[np.argsort(y_N, kind="stable")] = np.arange(30) % rivals.FOLDS

    def bits(strength: float) -> float:
        parts = [
            rivals._probabilities(x_ND[folds_N != fold], y_N[folds_N != fold], x_ND[folds_N == fold], labels, strength)
            for fold in range(rivals.FOLDS)
        ]
        return sum(float(rivals._bits(part, y_N[folds_N == fold]).sum()) for fold, part in enumerate(parts))

    told: list[tuple[int, int]] = []
    found = rivals._strength(x_ND, y_N, labels, lambda _, done, total: told.append((done, total)))
    assert found == min(rivals.STRENGTHS, key=bits)
    assert told == sorted(told)
    assert told[-1] == (20, 20)


def test_of_many_rows_c_is_chosen_on_some_of_every_label(monkeypatch: pytest.MonkeyPatch) -> None:
    y_N = np.array([0] * 70 + [1] * 20 + [2] * 10)
    kept = rivals._spread(y_N, 20)
    assert (np.diff(kept) > 0).all()
    assert [int((y_N[kept] == label).sum()) for label in range(3)] == [14, 4, 2]
    assert rivals._spread(y_N, 100).tolist() == list(range(100))
    monkeypatch.setattr(rivals, "TRIED_ON", 10)
    one = rivals.tfidf(things(), [])
    assert one.how.endswith("5-fold cross-validation on 10 rows")
