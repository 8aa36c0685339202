"""What the card of a tuned model says where a classification head gives the labels: how it is opened, how it scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from basewright.records import Layout, Scores
from basewright.release.markdown import fence, line, percent, table


def load(layout: Layout) -> Iterator[str]:
    text = layout.prompt.replace("{text}", "…")
    yield "## Load it\n"
    yield "With transformers, where this folder is `FOLDER`:\n"
    yield from fence(
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n\n"
        'model = AutoModelForSequenceClassification.from_pretrained("FOLDER").eval()\n'
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER")\n'
        f'logits = model(**tokenizer({text!r}, return_tensors="pt")).logits\n'
        "print(model.config.id2label[logits.argmax().item()])",
        "python",
    )
    yield "\nWith Basewright, on a text that is put into the layout by itself:\n"
    yield from fence('basewright classify FOLDER "…"', "sh")


def classes(labels: Sequence[str]) -> Iterator[str]:
    yield "## What it tells apart\n"
    yield f"{len(labels)} labels, by the number the head gives them:\n"
    yield from table(("", "label"), [(str(number), f"`{line(label)}`") for number, label in enumerate(labels)])


def scored(scores: Scores | None) -> Iterator[str]:
    yield "## Measured\n"
    if scores is None:
        yield "No rows were held out (`--test`), so nothing is known of rows that were not learned."
        return
    yield f"On {scores.expected} rows of `{line(scores.task)}`, of which none was learned:\n"
    found = [(name, percent(scores.metrics[name])) for name in ("accuracy", "macro_f1")]
    yield from table(("", ""), [*found, ("most frequent label, always", f"{100 * scores.majority:.1f} %")])
