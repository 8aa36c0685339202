"""Comparing two models' scores: verdicts, what may be compared and what is refused, and the laws of both."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.errors import UsageError
from basewright.evaluate.compare import compare
from basewright.plain import from_plain, to_plain
from basewright.records import Comparisons, How, Interval, ItemScore, Scores, TaskComparison

HOW = How(
    engine="torch",
    precision="float32",
    weights="w",
    shots=0,
    sampler="none",
    normalisation="sum",
    stops=(),
    prompt_hash="h",
    prompt="Q:",
    prompt_ids=(1, 2),
    bos=1,
)


def scores(
    model: str,
    values: Sequence[float],
    *,
    task: str = "t",
    metric: str = "accuracy",
    groups: Sequence[str] = (),
    how: How = HOW,
    **other: Any,
) -> Scores:
    """Scores with these values; answers say the value, ids the place."""
    names = groups or [""] * len(values)
    items = tuple(
        ItemScore(item=f"i{place}", answer=f"{model} {value:g}", values={metric: float(value)}, group=group)
        for place, (value, group) in enumerate(zip(values, names, strict=True))
    )
    value = sum(values) / len(values)
    whole = Interval(value=value, low=value, high=value, n=len(values), confidence=0.95, method="test")
    facts: dict[str, Any] = {"version": "v", "split": "test", "majority": 0.0, "expected": len(values), **other}
    return Scores(model=model, task=task, metrics={metric: whole}, items=items, how=how, **facts)


def only(found: Comparisons) -> TaskComparison:
    assert len(found.tasks) == 1
    return found.tasks[0]


def refused(first: Scores, second: Scores) -> str:
    with pytest.raises(UsageError) as caught:
        compare([first], [second])
    return caught.value.message


def test_a_better_model_is_named_with_all_that_shows_it() -> None:
    first, second = scores("a", [1] * 20 + [0] * 5 + [1] * 75), scores("b", [0] * 20 + [1] * 5 + [1] * 75)
    found = only(compare([first], [second]))
    assert (found.verdict, found.test, found.metric) == ("better", "McNemar, exact", "accuracy")
    assert found.p_value == found.adjusted == pytest.approx(0.00408, abs=1e-4)
    assert (found.first.value, found.second.value, found.difference.value) == pytest.approx((0.95, 0.8, 0.15))
    assert (found.first.method, found.difference.method) == ("Wilson", "Newcombe, paired")
    assert 0 < found.difference.low < 0.15 < found.difference.high
    assert found.detectable == pytest.approx((1.95996 + 0.84162) * 5 / 100, rel=1e-4)
    assert [flip.item for flip in found.flips] == [f"i{place}" for place in range(25)]
    assert (found.flips[0].first, found.flips[0].second, found.flips[0].delta) == ("a 1", "b 0", 1)
    assert only(compare([second], [first])).verdict == "worse"


def test_where_lower_is_better_the_lower_is_better() -> None:
    first, second = scores("a", [1.0, 1.2] * 10, metric="bits"), scores("b", [2.0, 2.5] * 10, metric="bits")
    found = only(compare([first], [second]))
    assert (found.verdict, found.test) == ("better", "sign flips")
    assert found.difference.high < 0
    assert found.difference.method == "t"


def test_h076_a_model_cannot_be_separated_from_itself() -> None:
    one = scores("a", [1, 0, 1, 1])
    found = only(compare([one], [one]))
    assert (found.verdict, found.adjusted, found.flips, found.detectable) == ("cannot be separated", 1, (), None)
    assert found.difference.low < 0 < found.difference.high


def test_h076_passages_that_flip_whole_count_as_passages() -> None:
    groups = [str(place // 10) for place in range(40)]
    first = scores("a", [1] * 40, groups=groups)
    second = scores("b", [0] * 40, groups=groups)
    found = only(compare([first], [second]))
    assert (found.test, found.p_value) == ("sign flips of groups", 2 / 2**4)
    assert (found.verdict, found.detectable) == ("cannot be separated", None)
    assert "clustered" in found.first.method
    assert "clustered" in found.difference.method


def test_groups_of_one_item_are_no_groups() -> None:
    names = [str(place) for place in range(30)]
    first, second = scores("a", [1] * 30, groups=names), scores("b", [0] * 30, groups=names)
    assert only(compare([first], [second])).test == "McNemar, exact"


def test_h076_holm_is_over_the_tasks_compared() -> None:
    """8 items of one side only give p = 0.0078: enough for one task, for ten not."""
    first = [scores("a", [1] * 8 + [0] * 20, task=f"t{k}") for k in range(10)]
    second = [
        scores("b", [0] * (8 if k == 3 else 0) + [1] * (0 if k == 3 else 8) + [0] * 20, task=f"t{k}") for k in range(10)
    ]
    alone = only(compare(first[3:4], second[3:4]))
    found = compare(first, second).tasks
    assert alone.verdict == "better"
    assert [alone.adjusted, found[3].p_value, found[3].adjusted] == pytest.approx([2 / 2**8, 2 / 2**8, 20 / 2**8])
    assert {one.verdict for one in found} == {"cannot be separated"}


def test_what_is_detectable_is_so_at_the_level_of_the_family() -> None:
    values, others = [1] * 30 + [0] * 70, [0] * 15 + [1] * 15 + [1] * 15 + [0] * 55
    first, second = ([scores(m, v, task=f"t{k}") for k in range(5)] for m, v in (("a", values), ("b", others)))
    alone, many = only(compare(first[:1], second[:1])), compare(first, second).tasks[0]
    assert alone.detectable is not None
    assert many.detectable is not None
    assert many.detectable > alone.detectable


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "w"}, "version 'v' against 'w'"),
        ({"split": "all"}, "split 'test' against 'all'"),
        ({"metric": "f1"}, "main metric 'accuracy' against 'f1'"),
        ({"how": replace(HOW, shots=5)}, "shots 0 against 5"),
        ({"how": replace(HOW, sampler="nearest")}, "sampler 'none' against 'nearest'"),
        ({"how": replace(HOW, normalisation="bytes")}, "normalisation 'sum' against 'bytes'"),
        ({"how": replace(HOW, stops=("\n",))}, "stops () against ('\\n',)"),
        ({"how": replace(HOW, prompt="Question:")}, "the first prompt reads otherwise"),
        ({"expected": 5}, "b was scored on 4 of 5 items: partial"),
    ],
)
def test_h080_what_does_not_compare_is_refused_by_what_differs(change: dict[str, Any], said: str) -> None:
    assert said in refused(scores("a", [1, 0, 1, 1]), scores("b", [1, 0, 0, 1], **change))


def test_other_items_are_refused() -> None:
    first, second = scores("a", [1, 0]), scores("b", [1, 0])
    other = replace(second, items=(second.items[0], replace(second.items[1], item="x")))
    assert "2 items are of one side only, i1 for instance" in refused(first, other)
    twice = replace(second, items=(second.items[0], second.items[0]))
    assert "items share an id" in refused(twice, first)
    assert "1 items are of one side only" in refused(first, twice)


def test_a_metric_of_all_items_together_is_refused() -> None:
    first, second = scores("a", [1, 0]), scores("b", [1, 0])
    bare = replace(second, items=tuple(replace(item, values={}) for item in second.items))
    assert "nothing to pair" in refused(first, bare)


def test_engine_precision_and_tokens_may_differ_and_are_told() -> None:
    other = replace(HOW, engine="llama.cpp", precision="q8_0", prompt_hash="g", bos=0, prompt_ids=(3,))
    notes = only(compare([scores("a", [1, 0])], [scores("b", [1, 0], how=other)])).notes
    assert notes == (
        "engine torch against llama.cpp",
        "precision float32 against q8_0",
        "bos 1 against 0",
        "the prompts are other tokens",
    )


def test_prompts_cut_to_a_shorter_context_are_told() -> None:
    other = replace(HOW, prompt=":", prompt_hash="g", cut=1)
    assert "cut 0 against 1" in only(compare([scores("a", [1, 0])], [scores("b", [1, 0], how=other)])).notes


def test_perplexities_are_compared_by_their_logarithms() -> None:
    """Of items alike they are a geometric mean, which one item of a huge perplexity does not decide."""
    values = [3.0, 5.0] * 8 + [1e6]
    first, second = (
        scores("a", values, metric="perplexity"),
        scores("b", [1.1 * v for v in values], metric="perplexity"),
    )
    found = only(compare([_geometric(first)], [_geometric(second)]))
    assert (found.metric, found.verdict, found.notes) == ("log perplexity", "better", ())
    assert found.difference.value == pytest.approx(-math.log(1.1))
    assert found.difference.high < 0


def _geometric(scored: Scores) -> Scores:
    logs = [math.log(item.values["perplexity"]) for item in scored.items]
    whole = replace(scored.metrics["perplexity"], value=math.exp(sum(logs) / len(logs)))
    return replace(scored, metrics={"perplexity": whole})


def test_what_cannot_be_a_perplexity_is_refused() -> None:
    first, second = (scores(model, [-3.0, -4.0], metric="perplexity") for model in "ab")
    assert "perplexity of an item is -4, which is none" in refused(first, second)


def test_a_metric_that_weighs_its_items_is_told_from_their_mean() -> None:
    first, second = scores("a", [3.0, 5.0], metric="bits_per_byte"), scores("b", [4.0, 7.0], metric="bits_per_byte")
    pooled = replace(first.metrics["bits_per_byte"], value=3.9)
    found = only(compare([replace(first, metrics={"bits_per_byte": pooled})], [second]))
    assert found.notes == ("bits_per_byte of a is 3.9 over all items together; items weigh the same here",)


def test_tasks_of_one_side_are_listed() -> None:
    first = [scores("a", [1, 0], task="t"), scores("a", [1, 0], task="u")]
    second = [scores("b", [1, 0], task="v"), scores("b", [1, 0], task="t")]
    found = compare(first, second)
    assert only(found).task == "t"
    assert [(one.task, one.reason) for one in found.skipped] == [
        ("u", "only a was scored on it"),
        ("v", "only b was scored on it"),
    ]


def test_nothing_to_compare_is_refused() -> None:
    assert "t: only a was scored on it; u: only b" in refused(scores("a", [1]), scores("b", [1], task="u"))


paired_values = st.lists(st.tuples(st.sampled_from([0, 0.5, 1]), st.sampled_from([0, 0.5, 1])), min_size=1, max_size=30)


@given(paired_values, st.booleans())
def test_swapping_mirrors(values: list[tuple[float, float]], binary: bool) -> None:
    a, b = ([float(v == 1) if binary else v for v in side] for side in zip(*values, strict=True))
    one, two = only(compare([scores("a", a)], [scores("b", b)])), only(compare([scores("b", b)], [scores("a", a)]))
    assert one.p_value == two.p_value
    assert one.detectable == two.detectable
    assert (one.difference.low, one.difference.high) == pytest.approx((-two.difference.high, -two.difference.low))
    mirrored = {"better": "worse", "worse": "better"}
    assert two.verdict == mirrored.get(one.verdict, one.verdict)


@given(paired_values, st.randoms())
def test_items_are_paired_by_id_whatever_their_order(values: list[tuple[float, float]], random: Any) -> None:
    a, b = zip(*values, strict=True)
    first, second = scores("a", a), scores("b", b)
    shuffled = replace(second, items=tuple(random.sample(second.items, len(second.items))))
    assert compare([first], [shuffled]) == compare([first], [second])


def test_a_comparison_survives_the_way_to_disk() -> None:
    found = compare([scores("a", [1, 0, 0.5])], [scores("b", [1, 0.5, 1])])
    assert from_plain(Comparisons, json.loads(json.dumps(to_plain(found), allow_nan=False))) == found
