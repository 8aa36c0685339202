"""The page of a tuning is whole for every kind of rows, and harmless whatever they say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from basewright.catalog import cards
from basewright.pages import phrases
from basewright.plan import make
from basewright.records import (
    Answered,
    Ask,
    Certificate,
    Check,
    Comparison,
    Continued,
    Interval,
    Judged,
    Layout,
    Machine,
    Measured,
    Overlay,
    Sample,
    Speed,
    Surprise,
    Tuned,
)
from basewright.report.tuning import Steps, needed, render
from basewright.stats import paired
from tests.choose.making import HOSTILE
from tests.pages.reading import Read, assert_alone, policy_lets_only_the_style_work
from tests.release.making import stamp


def between(value: float, low: float, high: float) -> Interval:
    return Interval(value=value, low=low, high=high, n=40, confidence=0.95, method="Wilson")


def compared(before: int, after: int) -> Comparison:
    return paired.compare("tuned", [n < after for n in range(40)], "base", [n < before for n in range(40)])


def judged(before: int, after: int, text: str = "a red lamp") -> Judged:
    items = tuple(
        Answered(
            item=str(n), asked=text, expected="warm", before="cold", after="warm", right_before=n < before,
            right_after=n < after,
        )
        for n in range(40)
    )  # fmt: skip
    return Judged(
        metric="accuracy",
        how="the likeliest of 2 labels",
        before=between(before / 40, 0.3, 0.6),
        after=between(after / 40, 0.7, 0.95),
        gain=compared(before, after),
        majority=0.5,
        items=items,
    )


def tuned(found: Judged | None, text: str = "a red lamp") -> Tuned:
    said = Surprise(unit="bits per byte", texts=14, size=900, before=2.0, after=2.1, change=between(0.1, 0.02, 0.2))
    sample = Sample(
        asked=text,
        expected="warm",
        before=Continued(text=text, finish="length"),
        after=Continued(text="warm", finish="stop"),
    )
    measured = Measured(
        held=replace(said, unit="nats per supervised token") if found else None,
        judged=found,
        general=said,
        tasks=None,
        samples=(sample,) if found else (),
    )
    return Tuned(
        base="one", base_commit="c" * 64, method="lora", made="adapter-1", sha256="s" * 64,
        layout=Layout(prompt="T: {text}\nL:", separator="\n\n"), bos=True, stop_ids=(0,), measured=measured, files=(),
    )  # fmt: skip


CERTIFICATE = Certificate(
    base="one", data_hash="h", rows=120, tokens=900, supervised_tokens=300, longest=40, labels={}, bos_id=0, eos_id=0,
    pad_id=1, overlays=(Overlay(item="r1", tokens=(("T: red", False), (" warm", True))),),
    checks=(Check(name="c", value=0.0, limit=0.0, passed=True, how="h"),),
)  # fmt: skip


PLAN = make.make(
    cards.get("foundling-prose"),
    Machine(devices=(), cores=1, ram=2**33, disk_free=None),
    Ask(job="lora", context=64, micro_tokens=64, batch=1, rank=8),
)
SPEED = Speed(tokens_per_second=900.0, bound="arithmetic", efficiency=0.6, source="", tokens=9000, seconds=10.0)


def page(made: Tuned, losses: tuple[float, ...] = (3.0, 2.0, 1.0), held: str = "held.jsonl") -> str:
    return render(
        made,
        CERTIFICATE,
        Steps(losses=losses, unit="supervised token"),
        made_on="2026-11-26",
        data="rows.jsonl",
        held=held,
        settings=(("rank", "8", "given"),),
        needed=needed(CERTIFICATE, replace(PLAN, speed=SPEED), stamp("adapter")),
        versions={"torch": "2"},
    )


@pytest.mark.parametrize("made", [tuned(None), tuned(judged(20, 38)), tuned(judged(20, 21)), tuned(judged(30, 12))])
def test_it_is_whole_and_alone(made: Tuned) -> None:
    text = page(made)
    assert text == page(made)
    assert_alone(text)
    policy_lets_only_the_style_work(text)
    read = Read(text)
    assert read.tags.count("h1") == 1
    assert "None" not in read.text
    assert "General text surprises it more than before: 2.000 bits a byte became 2.100." in read.text


def test_the_verdict_is_only_as_sure_as_the_rows_are() -> None:
    better, same, worse = (Read(page(tuned(judged(*pair)))).text for pair in ((20, 38), (20, 21), (30, 12)))
    assert "is right on 95.0%, and its base 50.0%. That is 45 points more; on rows drawn likewise" in better
    assert "cannot be told apart with 95% confidence" in same
    assert "points fewer" in worse
    assert "Rows that became right: 18 shown" in better
    assert "Rows that became wrong: none." in better
    assert "nothing is known of rows" in Read(page(tuned(None))).text


def test_the_certificate_stands_beside_what_was_planned_and_what_it_came_to() -> None:
    peak = phrases.size(PLAN.memory.total)
    said = f"900 tokens an epoch. Planned: about 10.0 seconds and {peak} at the peak; it took 12.5 seconds and 954 MiB."
    assert said in Read(page(tuned(None))).text
    assert f"Planned: {peak} at the peak" in needed(CERTIFICATE, PLAN, stamp("adapter"))


def test_one_step_makes_no_curve() -> None:
    assert "One step makes no curve" in page(tuned(None), losses=(1.0,))
    assert "3.000 at the first of 3 steps, 1.000 at the last" in page(tuned(None))


@pytest.mark.parametrize("text", HOSTILE)
def test_h106_rows_cannot_say_anything_to_the_page(text: str) -> None:
    made = page(tuned(judged(20, 38, text), text))
    assert Read(made).tags == Read(page(tuned(judged(20, 38)))).tags
    assert "<script" not in made
