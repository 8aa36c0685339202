"""From files to scores: what the result holds, and what it may not depend on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from basewright.engine.fake import FakeLM
from basewright.errors import DataError, UsageError
from basewright.evaluate import task as tasks
from basewright.evaluate.run import run
from basewright.records import Scores
from tests.evaluate.own import Told, make, rows, write

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "tasks").glob("*.toml"))
CLASSIFY: dict[str, Any] = {"kind": "classify", "prompt": "T: {text}\nL:"}
DATA: list[dict[str, Any]] = [
    {"text": f"{word} thing number {n}", "label": word, "language": "de" if n % 3 else "en", "group": f"g{n // 2}"}
    for n in range(8)
    for word in ("good", "bad")
]
TOML = 'kind = "classify"\nprompt = "T: {text}\\nL:"\nshots = 3\nsampler = "random"\norders = 2\n'


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_task(path: Path) -> None:
    task = tasks.load(path)
    scores = run(FakeLM("f", context=4096), task, weights="w")
    assert (len(scores.items), scores.task, scores.split) == (scores.expected, path.stem, "all")
    assert scores.version == task.version == tasks.load(path).version
    assert task.material.duplicates == 0
    assert all(interval.low <= interval.value <= interval.high for interval in scores.metrics.values())
    assert (scores.how.weights, scores.how.bos, scores.how.cut) == ("w", 1, 0)
    assert f"`{path.name}`" in (path.parent / "README.md").read_text("utf-8")


def test_h082_the_order_of_the_file_changes_nothing(tmp_path: Path) -> None:
    found = []
    for seed in range(3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        data = random.Random(seed).sample(DATA, len(DATA))
        path = write(folder, TOML, data)
        found.append(run(FakeLM("f"), tasks.load(path)))
    assert found[0] == found[1] == found[2]


def test_h080_a_limit_takes_a_sample_and_says_that_it_did(tmp_path: Path) -> None:
    task = tasks.load(write(tmp_path, TOML, DATA))
    whole, part = run(FakeLM("f"), task), run(FakeLM("f"), task, limit=5)
    assert (len(part.items), part.expected, part.accuracy.n) == (5, 16, 5)
    assert (part.version, part.items) == (whole.version, whole.items[:5])
    assert run(FakeLM("f"), task, limit=99).items == whole.items
    with pytest.raises(UsageError, match="a limit of 0"):
        run(FakeLM("f"), task, limit=0)


def test_h078_no_prompt_shows_its_own_item(tmp_path: Path) -> None:
    twins = [*DATA, *({**one, "text": one["text"].upper() + "!"} for one in DATA)]
    for sampler in ("fixed", "random", "balanced", "nearest"):
        task = tasks.load(write(tmp_path, TOML.replace("random", sampler), twins))
        lm = Told()
        run(lm, task)
        for one in lm.asked:
            *shown, asked = (part.split("\nL:")[0].casefold().strip("!") for part in one.context.split("\n\n"))
            assert len(shown) == 3
            assert asked not in shown


def test_results_by_language_and_clusters(tmp_path: Path) -> None:
    lm = Told(lambda _context, text: -1.0 if text == " good" else -2.0)
    scores = run(lm, tasks.load(write(tmp_path, 'kind = "classify"\nprompt = "T: {text}\\nL:"\n', DATA)))
    assert list(scores.parts) == ["de", "en"]
    assert (scores.parts["de"]["accuracy"].n, scores.parts["en"]["accuracy"].n) == (10, 6)
    assert scores.accuracy.method == "Wilson, clustered"
    assert {item.group for item in scores.items} == {"g0", "g1", "g2", "g3"}
    assert scores.majority == 0.5
    assert list(scores.parts["en"]) == list(scores.metrics)


def test_orders_of_the_shots_are_scored_and_their_spread_reported() -> None:
    """A model that says what the last shot says: every order of the shots has another accuracy."""
    data = [{"text": f"{label} {n}", "label": label} for n in range(10) for label in ("good", "bad")]
    pool = rows(*({"text": f"shot {label}", "label": label} for label in ("good", "bad", "bad")), name="s.jsonl")
    lm = Told(lambda context, text: -1.0 if context.split("\n\n")[-2].endswith(text) else -2.0)
    scores = run(lm, make({**CLASSIFY, "shots": 2, "orders": 2}, *data[:15], shots=pool))
    assert lm.calls == 1
    low, high = (scores.metrics[f"accuracy_{end}_order"] for end in ("lowest", "highest"))
    assert (low.value, high.value) == pytest.approx((7 / 15, 8 / 15))
    assert scores.accuracy.value == pytest.approx(0.5)
    assert {item.values["accuracy"] for item in scores.items} == {0.5}
    assert next(iter(scores.metrics)) == "accuracy"
    assert "accuracy_lowest_order" not in run(lm, make({**CLASSIFY, "shots": 2}, *data, shots=pool)).metrics


def test_fixed_shots_of_their_own_file_keep_its_order(tmp_path: Path) -> None:
    shown = [{"text": f"shot {n}", "label": "good"} for n in range(4)]
    (tmp_path / "shots.jsonl").write_text("".join(json.dumps(one) + "\n" for one in shown), "utf-8")
    toml = 'kind = "classify"\nprompt = "{text}:"\nshots = 3\nshots_data = "shots.jsonl"\n'
    lm = Told()
    run(lm, tasks.load(write(tmp_path, toml, DATA)))
    assert all(one.context.startswith("shot 0: good\n\nshot 1: good\n\nshot 2: good\n\n") for one in lm.asked)


def test_h073_another_way_of_asking_is_another_version(tmp_path: Path) -> None:
    found = {
        tasks.load(write(tmp_path, TOML + more, data)).version
        for data in (DATA, DATA[:-1])
        for more in ("", "seed = 1\n", 'separator = "\\n"\n', 'overflow = "cut"\n', '[labels]\ngood = "g"\nbad = "b"\n')
    }
    assert len(found) == 10
    path = write(tmp_path, TOML, DATA)
    version = tasks.load(path).version
    path.write_text(path.read_text("utf-8").replace('name = "t"', 'name = "other"'), "utf-8")
    assert tasks.load(path).version == version


def test_how_says_what_was_asked(tmp_path: Path) -> None:
    how = run(FakeLM("f"), tasks.load(write(tmp_path, TOML, DATA))).how
    assert (how.shots, how.sampler, how.stops, how.cut) == (3, "random", (), 0)
    assert how.prompt.count("\nL:") == 4
    assert how.normalisation == "sum of token log-likelihoods"
    none = run(FakeLM("f"), make(CLASSIFY, *DATA)).how
    assert (none.shots, none.sampler) == (0, "none")


def test_too_few_shots_and_rows_without_what_is_asked() -> None:
    with pytest.raises(DataError, match="only 1 rows are not the item itself"):
        run(FakeLM("f"), make({**CLASSIFY, "shots": 2}, *DATA[:2]))
    with pytest.raises(DataError, match=r"data\.jsonl line 2 has no field 'text'"):
        make(CLASSIFY, DATA[0], {"label": "bad"})


def test_a_longer_context_changes_nothing() -> None:
    """What the engine is given does not depend on the room it has."""
    task = make({**CLASSIFY, "shots": 2, "overflow": "cut"}, *DATA)
    one, two = (run(FakeLM("f", context=size), task) for size in (300, 3000))
    assert one == two


def test_a_task_and_its_score_are_plain_values() -> None:
    from basewright.plain import from_plain, to_plain

    scores = run(FakeLM("f"), make({**CLASSIFY, "shots": 2}, *DATA))
    assert from_plain(Scores, json.loads(json.dumps(to_plain(scores), allow_nan=False))) == scores
