"""Items that flipped, both ways, with their texts."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from basewright.records import Built
from basewright.report import charts, items
from tests.report.making import TESTED, built


def test_flips_are_those_of_the_proof_the_largest_change_first() -> None:
    made = built()
    gained, lost = items.gained(made), items.lost(made)
    assert (gained.number, lost.number) == (24, 2)  # wrong at n % 4 > 0 and right at n % 5 > 0, and the reverse
    assert gained.table.rows[0][0].endswith("late by 39 days.")
    assert all(after == label != before for _, label, before, after in gained.table.rows)
    assert all(before == label != after for _, label, before, after in lost.table.rows)


def test_more_than_the_page_holds_are_counted() -> None:
    made = many(built(), items.SHOWN + 7)
    found = items.gained(made)
    assert (found.number, len(found.table.rows), found.left_out) == (items.SHOWN + 7, items.SHOWN, 7)


def many(made: Built, number: int) -> Built:
    """The same with `number` items that were wrong and are right."""
    proof, task = made.proof.record, made.task
    tested = tuple(replace(task.test[1], id=f"n{n}", text="x" * 5000) for n in range(number))
    wrong = tuple(replace(proof.before.items[1], item=f"n{n}") for n in range(number))
    right = tuple(replace(proof.after.items[1], item=f"n{n}") for n in range(number))
    both = replace(proof, before=replace(proof.before, items=wrong), after=replace(proof.after, items=right))
    return replace(made, task=replace(task, test=tested), proof=replace(made.proof, record=both))


def test_long_texts_are_cut_with_a_mark() -> None:
    text = items.gained(many(built(), 1)).table.rows[0][0]
    assert text == "x" * items.LETTERS + " …"


def test_label_by_label_adds_up() -> None:
    made = built()
    rows = items.by_label(made).rows
    assert [row[0] for row in rows] == list(made.task.labels)
    assert sum(int(row[1]) for row in rows) == TESTED
    assert all(row[4] and not row[4].startswith(row[0]) for row in rows)


def test_the_four_kinds_of_items_are_all_of_them() -> None:
    chart = ElementTree.fromstring(charts.changed(built(), 720))
    counts = [int(one.text or "") for one in chart.iter("text") if one.attrib["class"] == "value"]
    assert counts == [24, 8, 2, 6]
    assert sum(counts) == TESTED
