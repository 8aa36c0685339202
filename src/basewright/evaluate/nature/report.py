"""Base or instruct: a verdict from a checkpoint's files and behaviour, never from its name.

Each piece of evidence adds nats to the log-odds of instruct against base, within limits; the rules below hold every
weight with its reason. They were set on 29 models of 0.26 to 3.2 million parameters: bases, the same trained further
on other documents, tuned on instructions, tuned on labels. Of 17 others one was misnamed: tuned on instructions, it
had hardly learned to stop. The confidence is that of the log-odds, on such models; large ones have not been measured.

What weighs: whether the model stops after an answer. So it fails in two ways that are known. An instruct model that
was not taught to stop, or hardly, is taken for a base. A base whose documents are single short speeches is taken for
instruct: both that were made, with a confidence of 0.98. One whose documents are single paragraphs may come out as
`cannot tell`. What did not tell small models apart weighs little: whether a response fits its instruction, whether a
bare question is answered rather than followed by another, and refusals, which models so small do not make.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

import numpy as np

from basewright.engine.lm import LM
from basewright.evaluate import how
from basewright.evaluate.nature import files, probes
from basewright.evaluate.nature.files import Files
from basewright.evaluate.nature.probes import Asker, Behaviour, Depth, Layout, Values
from basewright.records import How, NatureEvidence, NatureReport, Points, Progress, silent

CONFIDENCE = 0.9
"""Below it, nothing is named."""
LANGUAGE = 4.0
"""Standard errors by which sentences must be likelier than their words in disorder; random weights reach 4 once in
four thousand models (Student's t, 23 degrees of freedom)."""
FAINT = 0.1
"""Nats that point nowhere."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Log-odds of a measured value: `slope` nats for each unit above `pivot`, kept within `low` and `high`."""

    name: str
    seen: str
    """With a place for the value."""
    pivot: float
    slope: float
    low: float
    high: float
    reason: str

    def log_odds(self, value: float) -> float:
        return min(self.high, max(self.low, self.slope * (value - self.pivot)))


STOP = Rule(
    "stops after an answer",
    "log-odds of ending the text there: {}",
    pivot=-2.75,
    slope=3.0,
    low=-4.0,
    high=3.0,
    reason="a base model's documents go on after an answer; an instruct model's end",
)
LIFT = Rule(
    "stops because it was asked",
    "{} nats above stopping after the same words in running prose",
    pivot=0.0,
    slope=1.0,
    low=-0.75,
    high=0.75,
    reason="a base model of short documents stops after any sentence",
)
WAIT = Rule(
    "answers before it stops",
    "stopping after the answer is {} nats above stopping where it should begin",
    pivot=3.5,
    slope=0.5,
    low=-1.0,
    high=0.5,
    reason="an instruct model never answers with nothing; a large base model seldom does either",
)
GAIN = Rule(
    "finds answers likely",
    "{} nats a token above the same answers in running prose",
    pivot=-0.3,
    slope=10.0,
    low=-6.0,
    high=0.0,
    reason="a model tuned on labels stops too, but finds no sentence likely; base models find it as likely",
)
MATCH = Rule(
    "answers what was asked",
    "{} nats a token above the same answers to other questions",
    pivot=0.05,
    slope=2.0,
    low=-0.25,
    high=0.25,
    reason="large base models do so too, and small instruct models hardly do",
)
ANSWERS = Rule(
    "answers rather than asks",
    "{} nats a token above another question, more than in running prose",
    pivot=0.0,
    slope=0.5,
    low=-0.25,
    high=0.25,
    reason="base models go on with more questions; on small models it did not tell the two apart",
)
REFUSES = Rule(
    "refuses what is unsafe",
    "{} nats for refusing, more than for asks that are harmless",
    pivot=0.5,
    slope=0.5,
    low=0.0,
    high=1.0,
    reason="many instruct models were never taught to, so only refusing counts; small ones do not",
)
TEMPLATE, NO_TEMPLATE, TRAINED, UNTRAINED = 0.25, -0.25, 0.5, -4.0
"""Nats of what the files say."""


def run(lm: LM, folder: Path, *, model: str, weights: str = "", progress: Progress = silent) -> NatureReport:
    """Say whether the model behind `lm`, whose files are in `folder`, is a base or an instruct model.

    `model` and `weights` only label the report. `folder` has passed the airlock. Raises `DataError` where the model's
    context is too short for a question with its answer.
    """
    asker, layouts = probes.open_asker(lm)
    found, order = probes.behaviour(asker, layouts, progress)
    layout = max(layouts, key=lambda one: _total(of_behaviour(found[one])))
    deep = probes.depth(asker, layout, progress)
    evidence = [*of_files(files.read(folder)), *of_behaviour(found[layout]), *of_depth(deep)]
    if (errors := standard_errors(order)) < LANGUAGE:  # such a model is neither
        evidence = [replace(one, log_odds=0.0, points="neither") for one in evidence]
    total = _total(evidence)
    confidence = 1 / (1 + math.exp(-abs(total)))
    return NatureReport(
        model=model,
        verdict="cannot tell" if confidence < CONFIDENCE else "instruct" if total > 0 else "base",
        confidence=confidence,
        log_odds=total,
        layout=layout.pattern,
        evidence=(of_language(errors), *evidence),
        how=_how(asker, layout, weights),
    )


def standard_errors(values: Values) -> float:
    """The mean over its standard error; of values without spread, 0."""
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return float(np.mean(values)) / error if error else 0.0


def of_language(errors: float) -> NatureEvidence:
    return NatureEvidence(
        name="knows its language",
        seen=f"sentences are likelier than their words in disorder by {errors:.1f} standard errors",
        points="neither",
        log_odds=0.0,
        reason=f"below {LANGUAGE:g} the weights have learned nothing, and nothing else is counted",
    )


def of_files(files: Files) -> list[NatureEvidence]:
    """Template and tokens; the tokens are evidence only where the template has some."""
    found = [
        _evidence(
            "chat template",
            "there is one" if files.template else "there is none",
            TEMPLATE if files.template else NO_TEMPLATE,
            "many base models ship one, and some instruct models none",
        )
    ]
    if files.template:
        found.append(
            _evidence("a question in the template", repr(files.turn[:200]), 0.0, "how the template's model is asked")
        )
    for condition in files.conditions:
        found.append(_evidence("the template's condition", condition, 0.0, "writing messages needs none: look at it"))
    if files.tokens:
        bad = 2 * len(files.untrained) > len(files.tokens)
        found.append(
            _evidence(
                "the template's tokens",
                f"{len(files.untrained)} of {len(files.tokens)} have untrained embedding rows",
                UNTRAINED if bad else TRAINED,
                "untrained ones were never used; trained ones may have been used in pretraining",
            )
        )
    return found


def of_behaviour(found: Behaviour) -> list[NatureEvidence]:
    """What the choice of the layout goes by."""
    return [
        _weighed(STOP, found.stop),
        _weighed(LIFT, found.lift),
        _weighed(WAIT, found.wait),
        _weighed(GAIN, found.gain),
    ]


def of_depth(found: Depth) -> list[NatureEvidence]:
    return [_weighed(MATCH, found.match), _weighed(ANSWERS, found.answers), _weighed(REFUSES, found.refuses)]


def _weighed(rule: Rule, values: Values) -> NatureEvidence:
    value = float(np.mean(values))
    return _evidence(rule.name, rule.seen.format(f"{value:+.2f}"), rule.log_odds(value), rule.reason)


def _evidence(name: str, seen: str, log_odds: float, reason: str) -> NatureEvidence:
    points: Points = "neither" if abs(log_odds) < FAINT else "instruct" if log_odds > 0 else "base"
    return NatureEvidence(name=name, seen=seen, points=points, log_odds=log_odds, reason=reason)


def _total(evidence: Sequence[NatureEvidence]) -> float:
    return math.fsum(one.log_odds for one in evidence)


def _how(asker: Asker, layout: Layout, weights: str) -> How:
    """Of the layout that was chosen; the questions are the same in all."""
    lm, asks = asker.lm, [question["ask"] for question in asker.battery["questions"]]
    ids = [layout.context(lm.tokenizer, ask) for ask in asks]
    return How(
        engine=lm.engine,
        precision=lm.precision,
        weights=weights,
        shots=0,
        sampler="none",
        normalisation="log-likelihoods of whole answers and of each stop token; nats a token where it says so",
        stops=tuple(lm.tokenizer.pieces(asker.stops)),
        prompt_hash=how.hash_ids(ids),
        prompt=layout.pattern.replace("{ask}", asks[0]),
        prompt_ids=tuple(ids[0]),
        bos=sum(1 for _ in takewhile(lambda number: number == lm.tokenizer.bos_id, ids[0])),
    )
