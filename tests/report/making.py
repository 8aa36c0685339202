"""Finished walks of every outcome, made by hand; no test of the report needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from basewright.plain import from_plain, to_plain
from basewright.records import (
    Baseline,
    BaselineKind,
    Baselines,
    Built,
    Certificate,
    Choice,
    Converted,
    Interval,
    Item,
    ItemScore,
    Learned,
    Made,
    Overlay,
    Plans,
    Proof,
    Release,
    Task,
)
from basewright.report.page import render
from basewright.stats import paired
from tests.choose import making as choices
from tests.choose.making import TFIDF
from tests.release import making as releases

TESTED = 40
WHOLE, SCRATCH = "all weights", "from random weights"
CLAUSE = "The supplier pays interest at two percent a month on sums that are late by {} days."
LINES = Overlay(
    item="train0",
    tokens=(
        *((text, False) for text in ("Clause", ":", " Rent", " is", " due\n", "Kind", ":")),
        (" payment", True),
        ("<|end|>", True),
    ),
)


@cache
def built(choice: str = "winner_of_two", formats: tuple[str, ...] = ("f16", "q8_0"), licence: str = "CC0-1.0") -> Built:
    """A walk whose base was chosen as in one of `tests.choose.making.CASES`."""
    with TemporaryDirectory() as folder:
        made = releases.walk(Path(folder), formats=formats, licence=licence)
        release = made.stage(Path(folder) / "out")
    return replace(
        Built(
            task=_task(made.task),
            plans=Plans(plans=()),
            choice=made.choice,
            certificate=made.certificate,
            adapter=made.adapter,
            proof=made.proof,
            baselines=Made(record=baselines(), stamp=releases.stamp("baselines"), folder=Path("baselines-0")),
            converted=made.converted,
            release=Made(record=release, stamp=releases.stamp("release"), folder=Path("release-0")),
        ),
        choice=_with(made.choice, choices.CASES[choice]),
        certificate=_with(made.certificate, replace(made.certificate.record, overlays=(LINES,))),
        proof=_with(made.proof, _proof(made.proof.record)),
    )


def baselines(**right: float) -> Baselines:
    """What else was asked: by name, the share of the test items that is answered right."""
    shares = {"few-shot": 0.25, TFIDF: 0.5, "majority": 0.3, WHOLE: 0.7, SCRATCH: 0.6} | right
    kinds: dict[str, BaselineKind] = {"few-shot": "few-shot", WHOLE: "all weights", SCRATCH: "from scratch"}
    found = [_baseline(name, kinds.get(name, "classical"), share) for name, share in shares.items()]
    curve = tuple(
        Learned(
            rows=rows,
            accuracy={
                "tuned": _share(_answers(lambda n, top=top: n < top * TESTED)),
                WHOLE: _share(_answers(lambda n, top=top: n < top * TESTED)),
                SCRATCH: _share(_answers(lambda n, top=top: n < (top - 0.2) * TESTED)),
            },
        )
        for rows, top in ((160, 0.5), (320, 0.7), (640, 0.8))
    )
    ranked = tuple(sorted(found, key=lambda one: -one.accuracy.value))
    return Baselines(tuned="tuned", found=ranked, curve=curve, skipped=())


def _baseline(name: str, kind: BaselineKind, share: float) -> Baseline:
    items = _answers(lambda n: n < share * TESTED)
    ours = [n % 5 > 0 for n in range(TESTED)]
    ahead = paired.compare("tuned", ours, name, [one.correct for one in items])
    return Baseline(name=name, kind=kind, accuracy=_share(items), items=items, ahead=ahead, how=f"how of {name}")


def _with(made: Made[Any], record: Any) -> Made[Any]:
    return replace(made, record=record)


def _task(task: Task) -> Task:
    items = [Item(id=f"test{n}", text=CLAUSE.format(n), label=task.labels[n % 3]) for n in range(TESTED)]
    return replace(task, test=tuple(items))


def _proof(proof: Proof) -> Proof:
    """Before, every fourth item is right; after, all but every fifth."""
    before, after = (_answers(lambda n: n % 4 == 0), _answers(lambda n: n % 5 > 0))
    return replace(
        proof,
        before=replace(proof.before, items=before, metrics=proof.before.metrics | {"accuracy": _share(before)}),
        after=replace(proof.after, items=after, metrics=proof.after.metrics | {"accuracy": _share(after)}),
        gain=replace(proof.gain, only_first=24, only_second=2),
    )


def _answers(right: Any) -> tuple[ItemScore, ...]:
    labels = releases.LABELS
    return tuple(
        ItemScore(
            item=f"test{n}",
            answer=labels[n % 3] if right(n) else labels[(n + 1) % 3],
            values={"accuracy": float(right(n)), "bits": 0.2 + n / 100 if right(n) else 2.0 + n / 10},
        )
        for n in range(TESTED)
    )


def _share(items: tuple[ItemScore, ...]) -> Interval:
    value = sum(one.correct for one in items) / len(items)
    low, high = max(0.0, value - 0.14), min(1.0, value + 0.1)
    return Interval(value=value, low=low, high=high, n=TESTED, confidence=0.95, method="Wilson")


def renamed(made: Built, texts: Mapping[str, str]) -> Built:
    """The same walk with other texts in its records, wherever they stand."""

    def change(value: Any) -> Any:
        if isinstance(value, dict):
            return {change(key): change(item) for key, item in value.items()}
        if isinstance(value, list):
            return [change(item) for item in value]
        return texts.get(value, value) if isinstance(value, str) else value

    def again(one: Made[Any], cls: type) -> Made[Any]:
        return replace(one, record=from_plain(cls, change(to_plain(one.record))))

    return replace(
        made,
        task=from_plain(Task, change(to_plain(made.task))),
        choice=again(made.choice, Choice),
        certificate=again(made.certificate, Certificate),
        proof=again(made.proof, Proof),
        baselines=again(made.baselines, Baselines),
        converted=again(made.converted, Converted),
        release=again(made.release, Release),
    )


def page(made: Built, command: str = "basewright build a.toml", versions: Mapping[str, str] | None = None) -> str:
    known = versions if versions is not None else {"basewright": "0.1.0", "torch": "2.13.0"}
    return render(made, command=command, measured={"pythia-410m": 35.2}, price_per_hour=0.35, versions=known)
