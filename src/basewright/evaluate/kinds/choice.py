"""Multiple choice by log-likelihood, under every usual normalisation at once.

The names and formulas are those of lm-evaluation-harness: `acc` the plain sum, `acc_norm` by characters, `acc_bytes`
by UTF-8 bytes, `acc_mutual_info` less the choice's own likelihood; and `acc_tokens`, by tokens. A choice's length is
without the white space in front of it. Ties go to the first.
"""

from __future__ import annotations

from string import ascii_uppercase

from basewright.errors import DataError
from basewright.evaluate import metrics, shots, template
from basewright.evaluate.items import Row, field_text, field_texts
from basewright.evaluate.question import Answer, Ask, Judged, Kind, Question, Runs
from basewright.evaluate.spec import ChoiceSpec
from basewright.records import Interval

METRICS = {
    "sum": "acc",
    "characters": "acc_norm",
    "bytes": "acc_bytes",
    "tokens": "acc_tokens",
    "unconditional": "acc_mutual_info",
}


def question(spec: ChoiceSpec, row: Row) -> Question:
    contexts = field_texts(row, "contexts", 2) if "contexts" in row.fields else ()
    choices = tuple(spec.choices or ()) or (
        field_texts(row, "choices", 2) if "choices" in row.fields or not contexts else ()
    )
    if contexts and choices and len(contexts) != len(choices):
        raise DataError(f"{row.where} has {len(contexts)} contexts and {len(choices)} choices", fix="correct that row")
    if len(options := choices or contexts) > len(ascii_uppercase):
        raise DataError(f"{row.where} has more than {len(ascii_uppercase)} choices", fix="correct that row")
    gold = _gold(row, options)
    lettered = "\n".join(f"{letter}. {text}" for letter, text in zip(ascii_uppercase, choices, strict=False))
    shown = {**row.fields, **({"options": lettered} if choices else {})}
    continuations = tuple(
        template.fill(spec.answer, {**shown, "answer": text, "letter": letter}, row.where)
        for letter, text in zip(ascii_uppercase, options, strict=False)
    )
    if empty := [text for text in continuations if not text.strip()]:
        raise DataError(f"{row.where} has a choice of white space, {empty[0]!r}", fix="correct that row")
    if contexts:
        prompts = [template.prompt(spec.prompt, {**shown, "context": text}, row.where) for text in contexts]
        asks = [Ask(text, (after,)) for text, after in zip(prompts, continuations, strict=True)]
    else:
        prompts = [template.prompt(spec.prompt, shown, row.where)] * len(options)
        asks = [Ask(prompts[0], continuations)]
    return Question(
        id=row.id,
        asks=(*asks, Ask(spec.unconditional, continuations, bare=True)),
        solved=prompts[gold] + continuations[gold],
        options=options,
        gold=gold,
        label=ascii_uppercase[gold],
        key=shots.key("\n".join(sorted(set(prompts)))),
        group=row.group,
        parts=row.parts,
    )


def judge(spec: ChoiceSpec, question: Question, answer: Answer) -> Judged:
    *asked, unconditional = answer.likelihoods
    found = [one for likelihoods in asked for one in likelihoods]
    texts = [text.lstrip() for text in question.asks[-1].continuations]
    nats = [one.nats for one in found]
    scores = {
        "sum": nats,
        "characters": [value / len(text) for value, text in zip(nats, texts, strict=True)],
        "bytes": [value / len(text.encode()) for value, text in zip(nats, texts, strict=True)],
        "tokens": [one.nats / len(one.logprobs) for one in found],
        "unconditional": [value - alone.nats for value, alone in zip(nats, unconditional, strict=True)],
    }
    picked = {name: values.index(max(values)) for name, values in scores.items()}
    choice = picked[spec.normalisation]
    return Judged(
        question=question,
        answer=question.options[choice],
        values={METRICS[name]: float(place == question.gold) for name, place in picked.items()},
        choice=choice,
    )


def summary(spec: ChoiceSpec, runs: Runs, confidence: float) -> dict[str, Interval]:
    return metrics.means(list(dict.fromkeys([METRICS[spec.normalisation], *METRICS.values()])), runs, confidence)


def normalisation(spec: ChoiceSpec) -> str:
    by = {
        "sum": "sum of token log-likelihoods",
        "unconditional": f"log-likelihood less that after {spec.unconditional!r}",
    }
    return by.get(spec.normalisation, f"log-likelihood by {spec.normalisation} of the choice")


def _gold(row: Row, options: tuple[str, ...]) -> int:
    """`answer` as the text of a choice, its place from 0, or its letter, in this order."""
    value = row.fields.get("answer")
    text = field_text(row, "answer")
    if isinstance(value, str) and text in options:
        return options.index(text)
    if text.isascii() and text.isdigit() and int(text) < len(options):
        return int(text)
    if len(text) == 1 and text in ascii_uppercase[: len(options)]:
        return ascii_uppercase.index(text)
    raise DataError(
        f"{row.where}: the answer {text!r} is none of the {len(options)} choices",
        fix="give its text, its place counted from 0, or its letter",
    )


KIND = Kind(question, judge, summary, normalisation)
