"""History orders the work: what it must know, what it must not pretend to know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.choose import new_task
from hypothesis import example, given, settings
from hypothesis import strategies as st

from basewright.choose import history
from basewright.errors import UsageError
from basewright.records import Choice, ModelFacts, PublishedScore, Standing
from basewright.store import Store
from basewright.store import commit as publish
from tests.choose import making

RESULTS = Path(__file__).parents[2] / "../shared/data/results/model_recycling"
NAMES = [f"m{i}" for i in range(6)]
shares = st.floats(0.0, 1.0)
rows = st.dictionaries(st.sampled_from(NAMES), shares, max_size=6)
tables = st.dictionaries(st.sampled_from("tuvw"), rows, max_size=4)


# --- what is believed -----------------------------------------------------------------------------


def test_without_history_all_are_equal_and_the_first_is_next() -> None:
    beliefs = history.prior({}, ["b", "a", "c"], {})
    assert len(set(beliefs.values())) == 1
    assert history.next_candidate({}, ["b", "a", "c"], {}) == "b"
    assert history.next_candidate({}, ["b", "a", "c"], {"b": 0.7}) == "a"


def test_without_history_one_score_tells_the_level_of_all() -> None:
    beliefs = history.prior({}, ["a", "b", "c"], {"a": 0.9})
    assert beliefs["a"] == (0.9, 0.0)
    assert beliefs["b"] == beliefs["c"]
    assert beliefs["b"][0] == pytest.approx(0.9, abs=0.03)
    assert beliefs["b"][1] < history.LEVEL_SD / 2


def test_who_was_better_on_past_tasks_is_expected_to_be_better() -> None:
    table = {f"t{i}": {"good": 0.9, "middle": 0.8, "poor": 0.7} for i in range(8)}
    beliefs = history.prior(table, ["poor", "good", "middle"], {})
    assert [name for name, _ in sorted(beliefs.items(), key=lambda kv: -kv[1][0])] == ["good", "middle", "poor"]
    assert history.next_candidate(table, ["poor", "good", "middle"], {}) == "good"
    one = history.prior({"t0": table["t0"]}, ["poor", "good"], {})
    assert beliefs["good"][0] - beliefs["poor"][0] > one["good"][0] - one["poor"][0] > 0


def test_strangers_get_the_mean_and_the_widest_deviation() -> None:
    table = {f"t{i}": {"good": 0.9, "poor": 0.7} for i in range(8)}
    beliefs = history.prior(table, ["good", "poor", "stranger"], {})
    assert beliefs["stranger"][0] == pytest.approx(0.8)
    assert beliefs["stranger"][1] > beliefs["good"][1]
    after = history.prior(table, ["stranger", "poor"], {"good": 0.9})
    assert after["stranger"][1] > after["poor"][1]


def test_a_past_task_with_two_models_close_together_says_little_of_their_gap() -> None:
    wide = {"a": 0.9, "b": 0.7, "c": 0.5}
    close = history.prior({"t": wide, "u": wide, "v": {"x": 0.801, "y": 0.800}}, ["x", "y"], {})
    far = history.prior({"t": wide, "u": wide, "v": {"x": 0.9, "y": 0.6}}, ["x", "y"], {})
    assert 0 < close["x"][0] - close["y"][0] < 0.01 < far["x"][0] - far["y"][0]


def test_a_score_says_more_of_those_alike_than_of_others() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(0, 1, 30), random.normal(0, 1, 30)
    one, other = one - one.mean(), other - other.mean()
    profiles = {"a": one, "a2": one + 0.1, "b": other, "b2": other + 0.1, "c": random.normal(0, 1, 30)}
    table = {f"t{i}": {name: 0.7 + 0.05 * p[i] for name, p in profiles.items()} for i in range(30)}
    start = history.prior(table, ["a2", "b2"], {})
    assert start["a2"][0] == pytest.approx(start["b2"][0], abs=0.01)
    beliefs = history.prior(table, ["a2", "b2"], {"a": 0.9, "b": 0.6})
    assert beliefs["a2"][0] - beliefs["b2"][0] > 0.1
    assert history.next_candidate(table, ["b2", "a2"], {"a": 0.9, "b": 0.6}) == "a2"


def test_of_equally_promising_ones_the_less_known_is_next() -> None:
    random = np.random.default_rng(1)
    table = {
        f"t{i}": {"a": 0.7 + e, "twin": 0.7 + e, "far": 0.7 - e}
        for i, e in enumerate(random.permutation(np.linspace(-0.1, 0.1, 20)))
    }
    assert history.next_candidate(table, ["twin", "far"], {"a": 0.7}) == "far"


@settings(max_examples=60, deadline=None)
@example(table={"t": {"m0": 0.0, "m1": 1e-38}}, known={"m0": 0.0, "m1": 0.0}, candidates=["m0"])
@given(table=tables, known=rows, candidates=st.lists(st.sampled_from([*NAMES, "new"]), min_size=1, unique=True))
def test_any_gaps_any_scores(
    table: dict[str, dict[str, float]], known: dict[str, float], candidates: list[str]
) -> None:
    beliefs = history.prior(table, candidates, known)
    assert list(beliefs) == candidates
    for name, (mean, deviation) in beliefs.items():
        assert np.isfinite(mean)
        assert 0 <= deviation < 0.8
        if name in known:
            assert mean == pytest.approx(known[name])
            assert deviation == 0.0
    without = history.prior(table, candidates, {})
    assert all(beliefs[name][1] <= without[name][1] + 1e-9 for name in candidates)
    if set(candidates) - set(known):
        assert history.next_candidate(table, candidates, known) in set(candidates) - set(known)


@pytest.mark.parametrize("seed", range(20))
def test_many_gaps_leave_a_covariance(seed: int) -> None:
    """Alikeness over the common tasks of each pair alone made impossible beliefs of such tables."""
    random = np.random.default_rng(seed)
    models, tasks, share = int(random.integers(10, 40)), int(random.integers(2, 12)), random.uniform(0.2, 0.9)
    names = [f"m{i}" for i in range(models)]
    ability = random.normal(0, 1, (models, 2)) @ random.normal(0, 1, (2, tasks))
    table = {
        f"t{task}": {
            name: float(0.6 + 0.05 * ability[i, task]) for i, name in enumerate(names) if random.random() < share
        }
        for task in range(tasks)
    }
    known = {name: float(random.uniform(0.4, 0.9)) for name in names[: models // 2]}
    before, after = history.prior(table, names, {}), history.prior(table, names, known)
    assert all(0 < after[name][1] < before[name][1] for name in names if name not in known)


@settings(max_examples=30, deadline=None)
@given(table=tables, known=rows, order=st.permutations(NAMES))
def test_the_order_of_things_changes_nothing(
    table: dict[str, dict[str, float]], known: dict[str, float], order: list[str]
) -> None:
    turned = {task: dict(reversed(row.items())) for task, row in reversed(table.items())}
    first, second = history.prior(table, NAMES, known), history.prior(turned, order, known)
    assert {name: pytest.approx(second[name], abs=1e-7) for name in NAMES} == first


def test_it_is_the_textbook_formula() -> None:
    """One past task: conditioning on one score by hand."""
    table = {"t": {"a": 0.8, "b": 0.7, "c": 0.6}}
    spread = 0.1
    scaled = 0.1 / ((0.02 + 4 * 0.01) / 7) ** 0.5
    general = scaled / (1 + 1)
    alike = 1 / 2 * 1 / 2 * np.exp(-(scaled**2) / (2 * 0.5))
    covariance = 0.25**2 + spread**2 * 0.9 * 0.5 * alike
    variance = 0.25**2 + spread**2 * (0.5 / 2 + 0.5)
    mean = 0.7 + covariance / variance * (0.9 - (0.7 + spread * general))
    deviation = (variance - covariance**2 / variance) ** 0.5
    assert history.prior(table, ["b"], {"a": 0.9})["b"] == pytest.approx((mean, deviation))


def test_nothing_is_left_to_tune() -> None:
    with pytest.raises(UsageError, match="every candidate has been tuned"):
        history.next_candidate({}, ["a"], {"a": 0.5})


# --- past runs ------------------------------------------------------------------------------------


def commit(store: Store, choice: Choice) -> Path:
    made, _ = store.make("choice", {"choice": choice}, Choice, lambda _: choice)
    return made.folder


def asking(choice: Choice, task: str) -> Choice:
    return replace(choice, question=replace(choice.question, task=task))


def expected(table: Mapping[str, Mapping[str, float]]) -> list[str]:
    return sorted(key.split(",")[0] for key in table)


def test_past_runs_are_the_base_models_of_every_choice(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert history.past_runs(store) == {}
    choice = making.classical_wins()
    commit(store, asking(choice, "one"))
    commit(store, asking(making.few_shot_only(), "two"))
    table = history.past_runs(store)
    assert expected(table) == ["one", "two"]
    row = next(row for key, row in table.items() if key.startswith("one"))
    bases = {s.model: s.score.value for s in choice.ranked if s.kind == "base model" and s.score}
    assert row == bases
    assert set(bases) < {s.model for s in choice.ranked}


def test_damaged_runs_old_runs_and_other_records_are_skipped(tmp_path: Path) -> None:
    store = Store(tmp_path)
    commit(store, asking(making.winner_of_two(), "whole"))
    (commit(store, asking(making.winner_of_two(), "cut")) / "record.json").write_text("{")
    old = commit(store, asking(making.winner_of_two(), "old"))
    record = json.loads((old / "record.json").read_text())
    record["record"]["evaluations"] = 3
    rewrite(store, old, record)
    other = commit(store, asking(making.winner_of_two(), "other"))
    rewrite(store, other, json.loads((other / "record.json").read_text()) | {"type": "Check"})
    assert expected(history.past_runs(store)) == ["whole"]


def rewrite(store: Store, folder: Path, record: object) -> None:
    """The folder committed again with another record, so that only its content is at fault."""
    again = store.root / "again"
    folder.rename(again)
    (again / "MANIFEST.json").unlink()
    (again / "record.json").write_text(json.dumps(record))
    publish(again, folder)


def test_of_two_runs_of_a_task_the_newest_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    old, new = making.tie_of_three(), making.tie_of_three()
    new = replace(new, ranked=tuple(shifted(s, 0.05) for s in new.ranked[:2]))
    folders = [commit(store, asking(choice, "one")) for choice in (old, new)]
    for folder, year in zip(folders, ("2030", "2031"), strict=True):
        record = json.loads((folder / "record.json").read_text())
        record["stamp"]["started"] = f"{year}-01-01T00:00:00+00:00"
        rewrite(store, folder, record)
    (row,) = history.past_runs(store).values()
    wanted = {s.model: s.score.value for s in (*old.ranked, *new.ranked) if s.score and s.kind == "base model"}
    assert row == wanted


def shifted(standing: Standing, by: float) -> Standing:
    assert standing.score
    return replace(standing, score=replace(standing.score, value=standing.score.value + by))


def test_one_dropped_early_is_credited_with_what_others_gained(tmp_path: Path) -> None:
    ahead = making.base("ahead", 0.9)
    early = replace(making.base("early", 0.8), score=None, rungs=making.base("early", 0.8).rungs[:1])
    commit(Store(tmp_path), replace(making.winner_of_two(), ranked=(ahead, early)))
    (row,) = history.past_runs(Store(tmp_path)).values()
    gain = 0.9 - ahead.rungs[0].accuracy.value
    assert row == {"ahead": 0.9, "early": pytest.approx(early.rungs[0].accuracy.value + gain)}


# --- on real tables -------------------------------------------------------------------------------


absent = pytest.mark.skipif(not RESULTS.is_dir(), reason="shared/data/results/model_recycling is absent")


@absent
def test_the_bench_reproduces_its_baselines() -> None:
    data = new_task.results()
    assert data.scores.shape == (960, 36)
    for picks, stated in ((new_task._probe(data), 1.81), (new_task._standing(data), 1.82)):
        assert new_task._observed(data, picks)[:, 2].mean() == pytest.approx(stated, abs=0.005)
    assert new_task._observed(data, new_task._random(data, 200))[:, 2].mean() == pytest.approx(5.70, abs=0.15)


@absent
@pytest.mark.slow
def test_history_beats_the_baselines_among_few_candidates() -> None:
    regret = {row.method: row.mean[3] for row in new_task.few(orders=100)}
    assert regret["history with updates"] < regret["mean standing on other tasks"] < regret["random"] / 3


def test_published_scores_are_rows_of_one_way_of_asking() -> None:
    def facts(model: str, *scores: PublishedScore) -> ModelFacts:
        known: dict[str, Any] = {"family": "f", "kind": "decoder", "nature": "base", "location": "hub:o/m"}
        return ModelFacts(id=model, licence="MIT", sources=(), scores=scores, **known)

    def score(task: str, value: float, shots: int | None = 5, metric: str = "accuracy") -> PublishedScore:
        return PublishedScore(task=task, metric=metric, value=value, shots=shots, url="https://example.org")

    table = history.published(
        [
            facts("a", score("mmlu", 66.5), score("arc", 59.0, shots=25), score("wikitext", 12.3, metric="perplexity")),
            facts("b", score("mmlu", 35.0), score("arc", 40.0, shots=None)),
        ]
    )
    assert table == {
        "mmlu, accuracy, 5 shots, published": {"a": 0.665, "b": 0.35},
        "arc, accuracy, 25 shots, published": {"a": 0.59},
        "arc, accuracy, shots not said, published": {"b": 0.4},
    }
    expected = history.prior(table, ["a", "b", "unheard of"], {})
    assert expected["a"][0] > expected["unheard of"][0] > expected["b"][0]
