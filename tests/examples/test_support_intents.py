"""The second example: what its page says of the rows is true of the rows."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from basewright import recipe as recipes
from basewright.data import rows, split
from basewright.data import task as tasks
from basewright.records import Layout

EXAMPLES = Path(__file__).parents[2] / "examples"
PAGE = (EXAMPLES / "data" / "README.md").read_text("utf-8").split("`support-intents.jsonl`")[1]
ITEMS = rows.read(EXAMPLES / "data" / "support-intents.jsonl")
AGAIN = 8
"""Messages that were sent twice."""


def test_as_many_rows_of_as_many_intents_as_the_page_says() -> None:
    counts = Counter(item.label for item in ITEMS)
    assert f"{len(ITEMS)} messages" in PAGE.replace("\n", " ")
    assert f"{min(counts.values())} to {max(counts.values())} of each of eight intents" in PAGE.replace("\n", " ")
    assert len(counts) == 8
    lengths = sorted(len(item.text) for item in ITEMS)
    assert f"From {lengths[0]} to {lengths[-1]} characters, half under 70" in PAGE
    assert lengths[len(lengths) // 2] < 70


def test_no_two_share_eight_words_but_the_messages_sent_again() -> None:
    owners: dict[str, set[str]] = {}
    for item in ITEMS:
        words = rows.normal(item.text).split()
        for place in range(len(words) - 7):
            owners.setdefault(" ".join(words[place : place + 8]), set()).add(item.id)
    shared = {frozenset(ids) for ids in owners.values() if len(ids) > 1}
    labels = {item.id: item.label for item in ITEMS}
    assert len(shared) == AGAIN
    assert all(len({labels[one] for one in pair}) == 1 for pair in shared)


def test_no_row_is_a_duplicate_and_those_sent_again_stay_together() -> None:
    _, ledger = split.deduplicate(ITEMS)
    assert (ledger.duplicates, ledger.near_duplicates) == (0, AGAIN)


def test_the_debatable_rows_of_the_page_are_there_with_the_label_it_says() -> None:
    lines = re.findall(r"^\| (\".*?) \| ([a-z-]+) \| [a-z-]+ \|$", PAGE, flags=re.M)
    assert len(lines) == 14
    for quotes, label in lines:
        for begins in re.findall(r'"((?:\\"|[^"])*)"', quotes):
            found = [item.label for item in ITEMS if item.text.startswith(begins.replace('\\"', '"'))]
            assert found == [label], begins


def test_the_recipe_makes_its_task() -> None:
    path = EXAMPLES / "support-intents.toml"
    section = recipes.read(path).task
    assert isinstance(section.test, float)
    made = tasks.make(
        "support-intents",
        path.parent / section.data,
        choose=section.choose,
        test=section.test,
        layout=Layout(prompt=section.prompt, separator=section.separator),
        shots=section.shots,
    )
    assert len(made.labels) == 8
    assert min(len(made.choose), len(made.test)) > 180
