"""From labelled data to a recipe: what was seen decides each setting, and each setting says why."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from basewright import machine
from basewright.data import rows as data_rows
from basewright.data import task as tasks
from basewright.errors import DataError, DoesNotFit
from basewright.evaluate import classify
from basewright.looking import bases, table
from basewright.looking import seen as seeing
from basewright.looking.bases import Base
from basewright.looking.columns import counts
from basewright.looking.seen import LeftOut, Row, Seen
from basewright.records import Item, Layout, ModelCard, Progress, Task, record, silent
from basewright.text import encode, layout
from basewright.text.tokenizer import Tokenizer

STEPS = ("steps: rows read", "steps: tokens counted", "steps: near-duplicates found")
ITEMS = 400
"""Rows held out to choose on, and as many to test on: 95 % intervals of about 5 points either way."""
MOST_SHARE = 0.25
MOST_TOO_LONG = 0.05
"""Share of the rows that are left out where they are longer than a context; with more, the model is."""
EXAMPLES = (3000, 6000)
PASSES = 6
PILOT = 1000
FEWEST_SHOTS, MOST_SHOTS = 4, 16
LONGEST = 4
"""Items that are looked at for the longest prompt; what is before them is the same for all."""
PLAIN = re.compile(r"[A-Za-z][A-Za-z _-]{1,30}")


@record
class Setting:
    key: str
    value: str | int | float | tuple[str, ...]
    why: str


@record
class Draft:
    name: str
    seen: Seen
    near_duplicates: int
    parts: dict[str, int]
    """Rows of each part of the split."""
    bases: tuple[Base, ...]
    free: int
    """Bytes of memory."""
    settings: tuple[Setting, ...]
    as_they_are: bool
    """Whether a recipe can read the data itself; else its rows are written anew."""


def draft(
    path: Path, name: str, text: str | None = None, label: str | None = None, progress: Progress = silent
) -> tuple[Draft, list[Row]]:
    """A recipe's settings for the data at `path`, and the rows it is about; the task is made once, to see that it can.

    Raises `DataError` for data that is no task, `DoesNotFit` where no model here can take it.
    """
    found, rows = seeing.look(path.name, table.read(path), text, label)
    progress(STEPS[0], 1, len(STEPS))
    form = Layout(prompt=_prompt(found.text, found.label), separator="\n\n")
    found, rows, taken = _taken(found, rows, form)
    progress(STEPS[1], 2, len(STEPS))
    able = [card for card in bases.here().values() if card.id in {base.model for base in taken if not base.why_not}]
    share = round(max(0.02, min(MOST_SHARE, ITEMS / len(rows))), 2)
    task = _task(name, rows, form, share)
    progress(STEPS[2], 3, len(STEPS))
    shots = _shots(task, able)
    parts = {"train": len(task.train), "choose": len(task.choose), "test": len(task.test)}
    drafted = Draft(
        name=name,
        seen=found,
        near_duplicates=task.ledger.near_duplicates,
        parts=parts,
        bases=taken,
        free=machine.memory(),
        settings=(),
        as_they_are=_as_they_are(path, found, rows),
    )
    return replace(drafted, settings=_settings(drafted, form, share, shots)), rows


def written(rows: Sequence[Row]) -> bytes:
    """Rows as JSON lines."""
    lines = (json.dumps({"text": row.text, "label": row.label}, ensure_ascii=False) for row in rows)
    return ("\n".join(lines) + "\n").encode()


# --- what can take the rows -----------------------------------------------------------------------


def _taken(found: Seen, rows: list[Row], form: Layout) -> tuple[Seen, list[Row], tuple[Base, ...]]:
    """The models, and the rows without the few that are longer than a context. Raises `DoesNotFit`."""
    cards = bases.here()
    tokens = {name: bases.lengths(bases.tokenizer_of(card), rows, form) for name, card in cards.items()}
    over = {
        place
        for name, lengths in tokens.items()
        for place, count in enumerate(lengths)
        if count > cards[name].context and _share_over(lengths, cards[name].context) <= MOST_TOO_LONG
    }
    kept = [place for place in range(len(rows)) if place not in over]
    tokens = {name: [lengths[place] for place in kept] for name, lengths in tokens.items()}
    size = bases.at_once(max((max(c) for name, c in tokens.items() if max(c) <= cards[name].context), default=1))
    space = machine.probe(Path.cwd())
    taken = tuple(bases.weigh(cards[name], lengths, size, space) for name, lengths in tokens.items())
    if all(base.why_not for base in taken):
        why = "; ".join(f"{base.model}: {base.why_not}" for base in taken)
        raise DoesNotFit(
            f"no model in the package can take rows of {max(b.tokens.most for b in taken):,} tokens: {why}",
            fix="shorten the texts to the part that decides the label, or see basewright catalog",
        )
    if over:
        gone = LeftOut(why="longer than the context of a candidate", places=tuple(rows[i].place for i in sorted(over)))
        left = [rows[place] for place in kept]
        found = replace(
            found, kept=len(left), left_out=(*found.left_out, gone), labels=dict(counts([row.label for row in left]))
        )
        rows = left
    return found, rows, taken


def _share_over(counts: Sequence[int], context: int) -> float:
    return sum(count > context for count in counts) / len(counts)


def _task(name: str, rows: Sequence[Row], form: Layout, share: float) -> Task:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.jsonl"
        path.write_bytes(written(rows))
        return tasks.make(name, path, choose=share, test=share, layout=form, shots=0)


def _shots(task: Task, cards: Sequence[ModelCard]) -> int:
    """One solved example of each label, as far as every candidate's context holds them before its longest items."""
    shots = min(MOST_SHOTS, max(FEWEST_SHOTS, len(task.labels)))
    for card in cards:
        tokenizer = bases.tokenizer_of(card)
        items = sorted((*task.choose, *task.test), key=lambda item: len(tokenizer.ids(item.text)))[-LONGEST:]
        while shots and _longest(replace(task, shots=shots), items, tokenizer) > card.context:
            shots -= 1
    return shots


def _longest(task: Task, items: Sequence[Item], tokenizer: Tokenizer) -> int:
    """Tokens of the longest few-shot prompt with its label."""
    label = max(len(tokenizer.ids(layout.target(label))) for label in task.labels)
    return max(len(encode.prompt(tokenizer, one)) for one in classify.prompts(task, items, few_shot=True)) + label


def _as_they_are(path: Path, found: Seen, rows: Sequence[Row]) -> bool:
    """Whether a recipe that names the columns reads exactly these rows from the file."""
    if not path.is_file() or not path.suffix:
        return False
    try:
        read = data_rows.read(path, (found.text, found.label))
    except DataError:
        return False
    return [(item.text, item.label) for item in read] == [(row.text, row.label) for row in rows]


# --- settings -------------------------------------------------------------------------------------


def _prompt(text: str, label: str) -> str:
    """The columns' own names where they are words: a base model reads them."""
    return f"{_title(text, 'Text')}: {{text}}\n{_title(label, 'Label')}:"


def _title(name: str, otherwise: str) -> str:
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return " ".join(re.split(r"[ _-]+", split)).strip().capitalize() if PLAIN.fullmatch(split) else otherwise


def _settings(made: Draft, form: Layout, share: float, shots: int) -> tuple[Setting, ...]:
    able = [base for base in made.bases if not base.why_not]
    size = bases.at_once(max(base.tokens.most for base in able))
    rows = made.parts["train"]
    examples = max(EXAMPLES[0], min(EXAMPLES[1], PASSES * rows), rows)  # every row is seen, however many there are
    need = max(base.need for base in able)
    return (
        *_columns(made),
        Setting(key="task.prompt", value=form.prompt, why="the columns' own names: a base model reads them as words"),
        Setting(key="task.choose", value=share, why=_items(made.parts["choose"], "candidates are compared on")),
        Setting(key="task.test", value=share, why=_items(made.parts["test"], "nothing is chosen on")),
        Setting(key="task.shots", value=shots, why=_why_shots(shots, len(made.seen.labels))),
        Setting(
            key="candidates.models",
            value=tuple(base.model for base in able),
            why="in the package, and they fit; others: basewright catalog, then basewright pull NAME",
        ),
        Setting(
            key="limits.memory",
            value="auto",
            why=f"{made.free / 2**30:.1f} GiB are free now, the largest candidate needs {need / 2**30:.1f}",
        ),
        Setting(key="choose.examples", value=PILOT, why="examples of the last pilot tuning; those before see 200, 400"),
        Setting(key="choose.repeats", value=2, why="tunings a finalist may get, each with another seed"),
        Setting(key="choose.on_tie", value="cheapest", why='says that it is a tie and goes on; "stop" stops there'),
        Setting(key="tune.examples", value=examples, why=f"{examples / rows:.1f} passes over the rows"),
        Setting(
            key="tune.micro_tokens", value=size, why=f"the longest row has {max(b.tokens.most for b in able)} tokens"
        ),
        Setting(key="tune.batch_tokens", value=size, why="small batches: more steps, which small models need"),
        Setting(
            key="prove.forgetting",
            value=1.0,
            why="a classifier need not write prose: loss on general text may double; 0.1 is for models that do",
        ),
    )


def _columns(made: Draft) -> list[Setting]:
    """Named where the recipe reads the data itself and they are not called as it expects."""
    seen = made.seen
    both = (
        Setting(key="task.text", value=seen.text, why=seen.text_why),
        Setting(key="task.label", value=seen.label, why=seen.label_why),
    )
    expected = zip(both, data_rows.COLUMNS, strict=True)
    return [one for one, name in expected if made.as_they_are and one.value != name]


def _items(count: int, what: str) -> str:
    half = 100 * 1.96 * math.sqrt(0.25 / count)
    return f"{count} rows {what}: a score is known to {half:.0f} points either way at worst"


def _why_shots(shots: int, labels: int) -> str:
    if shots == 0:
        return "the rows are too long for solved examples before them"
    if shots >= labels:
        return "one solved example or more of each label before an item"
    return f"solved examples before an item: as many of {labels} labels as a context holds, {MOST_SHOTS} at most"
