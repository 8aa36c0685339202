"""A tuned model and its base on the same rows, which neither learned from: surprise, right and wrong, continuations.

Each is a function of two engines and rows of token ids as training sees them (`data.prepare.encoded`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Literal

import numpy as np

from basewright.engine.lm import LM, Pair, Sampling
from basewright.errors import DataError
from basewright.evaluate import classify
from basewright.records import (
    Answered,
    Continued,
    Example,
    Interval,
    Judged,
    Preference,
    Progress,
    Sample,
    Scores,
    Surprise,
    Task,
)
from basewright.stats import intervals, paired
from basewright.text import encode
from basewright.text.encode import Encoded

SHOTS = (8, 4, 2, 1, 0)
"""Solved examples the base is shown: the most that fit its context."""
SHORT = 32
"""Tokens of an answer up to which a greedy answer is compared letter by letter."""
ASKED = 200
"""Rows whose answers are written out; the others only give their likelihood."""
SEPARATOR = "\n\n"
"""Between solved examples; it ends an untuned answer, which has learned no other end."""
SHOWN, WRITTEN = 4, 64
"""Samples, and the most tokens each is continued for."""


def surprise(base: LM, tuned: LM, rows: Sequence[Encoded], confidence: float, progress: Progress) -> Surprise:
    """Nats a supervised token on the bare rows, EOS included; the interval is over rows."""
    before, after = (_nats(lm, rows, progress) for lm in (base, tuned))
    tokens = [sum(row.mask) for row in rows]
    return _surprise("nats per supervised token", before, after, tokens, confidence)


def general(base: LM, tuned: LM, texts: Sequence[str], confidence: float, progress: Progress) -> Surprise:
    """Bits a byte on texts that have nothing to do with the task; the interval is over texts."""
    before, after = ([-one.nats / math.log(2) for one in lm.rolling(texts, progress)] for lm in (base, tuned))
    return _surprise("bits per byte", before, after, [len(text.encode()) for text in texts], confidence)


def _surprise(
    unit: Literal["nats per supervised token", "bits per byte"],
    before: Sequence[float],
    after: Sequence[float],
    sizes: Sequence[int],
    confidence: float,
) -> Surprise:
    whole = sum(sizes)
    deltas = np.array(after) - np.array(before)
    return Surprise(
        unit=unit,
        texts=len(sizes),
        size=whole,
        before=math.fsum(before) / whole,
        after=math.fsum(after) / whole,
        change=intervals.ratio(deltas, np.array(sizes, dtype=np.float64), len(sizes), confidence),
    )


def _nats(lm: LM, rows: Sequence[Encoded], progress: Progress) -> list[float]:
    """Surprise of what each row teaches, in all."""
    asked = [(place, pair) for place, row in enumerate(rows) for pair in stretches(row)]
    found = [0.0] * len(rows)
    for at, answer in lm.score([pair for _, pair in asked], progress):
        found[asked[at][0]] -= answer.nats
    return found


def stretches(row: Encoded) -> list[Pair]:
    """Each learned stretch of a row with all that stands before it."""
    found, end = [], 0
    for learned, group in groupby(row.mask):
        begin, end = end, end + len(list(group))
        if learned:
            found.append(Pair(row.ids[:begin], row.ids[begin:end]))
    return found


# --- right and wrong ------------------------------------------------------------------------------


def labels(base: LM, tuned: LM, task: Task, confidence: float, progress: Progress) -> Judged:
    """Accuracy of the likeliest label on `task.test`: the base few-shot, the tuned model on the bare prompt."""
    after = classify.run(
        tuned, task, "test", model=tuned.name, few_shot=False, confidence=confidence, progress=progress
    )
    before = _few_shot(base, task, confidence, progress)
    items = {item.id: item for item in task.test}
    answered = tuple(
        Answered(
            item=one.item,
            asked=items[one.item].text,
            expected=items[one.item].label,
            before=one.answer,
            after=other.answer,
            right_before=one.correct,
            right_after=other.correct,
        )
        for one, other in zip(before.items, after.items, strict=True)
    )
    how = f"the likeliest of {len(task.labels)} labels; the base after {_solved(before.how.shots)}, tuned on the prompt"
    return _judged("accuracy", how, answered, base, tuned, confidence, after.majority)


def _few_shot(base: LM, task: Task, confidence: float, progress: Progress) -> Scores:
    """With as many solved examples as fit; raises `DataError` where even the bare prompt does not."""
    for shots in SHOTS:
        asked = replace(task, shots=shots)
        try:
            return classify.run(
                base, asked, "test", model=base.name, few_shot=True, confidence=confidence, progress=progress
            )
        except DataError:  # a prompt is too long; nothing was computed yet
            if shots == 0:
                raise
    raise AssertionError("the last try has no shots")


def _solved(shots: int) -> str:
    return f"{shots} solved examples" if shots != 1 else "1 solved example"


def greedy(
    base: LM,
    tuned: LM,
    learned: Sequence[Example],
    held: Sequence[tuple[Example, Example]],
    confidence: float,
    progress: Progress,
) -> Judged | None:
    """Exact match of the greedy answer, where rows are one prompt and one short answer; None where none is.

    The base reads solved examples of `learned`, and what it writes ends at a blank line; the tuned model reads the
    prompt as it was trained and ends by itself. Of each row, `held` has what the tuned model reads and what the base.
    """
    short = sorted((two for two in held if _is_short(two[1], tuned)), key=lambda two: two[0].id)[:ASKED]
    if not short:
        return None
    rows, plain = zip(*short, strict=True)
    encoded = [encode.pieces(tuned.tokenizer, one) for one in rows]
    most = max(sum(row.mask) for row in encoded) + 8  # beside the answer: a base that says a little more is no match
    after = _written(tuned, [asked(row) for row in encoded], Sampling(max_tokens=most), progress)
    solved = sorted((one for one in learned if _is_short(one, base)), key=lambda one: one.id)
    prompts, shots = _shown(base, solved, plain, most)
    before = _written(base, prompts, Sampling(max_tokens=most, stops=(SEPARATOR,)), progress)
    answered = tuple(
        Answered(
            item=one.id,
            asked=one.pieces[0].text,
            expected=one.pieces[1].text.strip(),
            before=was.text.strip(),
            after=now.text.strip(),
            right_before=was.text.strip() == one.pieces[1].text.strip(),
            right_after=now.text.strip() == _said(row),
        )
        for row, one, was, now in zip(rows, plain, before, after, strict=True)
    )
    how = (
        f"the greedy answer, letter by letter, on {len(rows)} of {len(held)} rows, with answers of {SHORT} tokens or "
        f"fewer; the base after {_solved(shots)} and until a blank line, tuned on the prompt and until its end"
    )
    return _judged("exact match", how, answered, base, tuned, confidence)


def _said(row: Example) -> str:
    """What was to be written, without control tokens: a chat template may put words of its own before an answer."""
    return "".join(piece.text for piece in row.pieces if piece.learned and not piece.control).strip()


def _is_short(one: Example, lm: LM) -> bool:
    said = [piece.text for piece in one.pieces if piece.learned]
    answers = len(one.pieces) == 2 and len(said) == 1 and one.ends
    return answers and SEPARATOR not in said[0].strip() and len(lm.tokenizer.ids(said[0])) <= SHORT


def _shown(base: LM, solved: Sequence[Example], rows: Sequence[Example], most: int) -> tuple[list[list[int]], int]:
    """Prompts with as many solved examples as leave room for the answer, and how many."""
    prompts: list[list[int]] = []
    for shots in SHOTS:
        told = SEPARATOR.join("".join(piece.text for piece in one.pieces) for one in solved[:shots])
        texts = [f"{told}{SEPARATOR if told else ''}{one.pieces[0].text.rstrip()}" for one in rows]
        prompts = [encode.prompt(base.tokenizer, text) for text in texts]
        if max(map(len, prompts)) + most <= base.context:
            return prompts, min(shots, len(solved))
    return [ids[-(base.context - most) :] for ids in prompts], 0


def preferred(base: LM, tuned: LM, held: Sequence[Preference], confidence: float, progress: Progress) -> Judged:
    """How often the chosen answer is likelier than the rejected one, in nats of the whole answer."""
    sides = [[_likelier(lm, one) for one in held] for lm in (base, tuned)]
    progress("answers compared", len(held), len(held))
    answered = tuple(
        Answered(
            item=one.id,
            asked=one.prompt,
            expected=one.chosen,
            before=one.chosen if was else one.rejected,
            after=one.chosen if now else one.rejected,
            right_before=was,
            right_after=now,
        )
        for one, was, now in zip(held, *sides, strict=True)
    )
    how = "whether the chosen answer is likelier than the rejected one, both on the prompt"
    return _judged("preferred answer likelier", how, answered, base, tuned, confidence)


def _likelier(lm: LM, one: Preference) -> bool:
    if one.written:
        pairs = [stretches(encode.controlled(lm.tokenizer, text))[-1] for text in one.written]
    else:
        pairs = [Pair(*map(tuple, encode.pair(lm.tokenizer, one.prompt, text))) for text in (one.chosen, one.rejected)]
    nats = {place: answer.nats for place, answer in lm.score(pairs)}
    return nats[0] > nats[1]


def _judged(
    metric: Literal["accuracy", "exact match", "preferred answer likelier"],
    how: str,
    items: tuple[Answered, ...],
    base: LM,
    tuned: LM,
    confidence: float,
    majority: float = 0.0,
) -> Judged:
    before, after = [one.right_before for one in items], [one.right_after for one in items]
    return Judged(
        metric=metric,
        how=how,
        before=_share(before, confidence),
        after=_share(after, confidence),
        gain=paired.compare(tuned.name, after, base.name, before, confidence),
        majority=majority,
        items=items,
    )


def _share(right: Sequence[bool], confidence: float) -> Interval:
    return intervals.proportion(sum(right), len(right), confidence)


# --- continuations --------------------------------------------------------------------------------


def asked(row: Encoded) -> list[int]:
    """What stands before the first learned token; of a plain text, its first third."""
    begin = row.mask.index(True)
    return list(row.ids[: begin if begin > 1 else max(begin, len(row.ids) // 3)])


def samples(base: LM, tuned: LM, rows: Sequence[Encoded], progress: Progress) -> tuple[Sample, ...]:
    """How both go on with the same bare prompts, greedily, and where each stopped."""
    prompts = [asked(row) for row in rows[:SHOWN]]
    room = min(tuned.context - max(map(len, prompts), default=0), WRITTEN)
    sampling = Sampling(max_tokens=room)
    sides = [_written(lm, prompts, sampling, progress) for lm in (base, tuned)]
    return tuple(
        Sample(asked=_text(tuned, ids), expected=_text(tuned, row.ids[len(ids) :]), before=before, after=after)
        for row, ids, before, after in zip(rows, prompts, *sides, strict=False)
    )


def _written(lm: LM, prompts: Sequence[Sequence[int]], sampling: Sampling, progress: Progress) -> list[Continued]:
    found = dict(lm.complete(prompts, [sampling] * len(prompts), progress))
    return [
        Continued(text=found[place].text, finish="stop" if found[place].finish == "stop" else "length")
        for place in range(len(prompts))
    ]


def _text(lm: LM, ids: Sequence[int]) -> str:
    return str(lm.tokenizer.backend.decode(list(ids), skip_special_tokens=True))
