"""Checks of what rows say, before they are tokens: that all can be used, that labels hold, that nothing is held out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from basewright.data import near
from basewright.data.prepare import Prepared
from basewright.data.rows import normal
from basewright.data.shapes import Row
from basewright.data.split import RUN
from basewright.prove.row_checks import counted
from basewright.records import Check

READ = "every row can be read"
LONG = "no row is too long"
UNSEEN = "held-out rows are not learned"
ONE_LABEL = "equal texts have equal labels"
SPELT = "labels are spelt in one way"
REPEATED = "labels repeat"
SEVERAL = "there is something to tell apart"
RARE = 20
"""A label this many times rarer than one nearly like it is a slip of the pen."""
ALIKE = 0.85
"""Share of letters two labels have in common, in order (Ratcliff and Obershelp), from which one may be the other."""


def data_checks(data: Prepared, held: Prepared | None) -> list[Check]:
    """Each counts what breaks it; the limit is 0."""
    checks = [
        counted(READ, [f"{one.where}: {one.why}" for one in data.refused], "rows that cannot be used as they are"),
        counted(LONG, [f"{one.where}: {one.why}" for one in data.too_long], "rows that are too long, and none was cut"),
    ]
    if data.labels:
        checks.append(_several(data.labels))
    if data.shape == "text-label":
        checks += _label_checks(data.rows, data.labels)
    if held is not None:
        twins = near.overlap(data.rows, held.rows)
        checks.append(
            counted(
                UNSEEN,
                [f"{twin.row.where} and {twin.first.where}" for twin in twins],
                f"held-out rows that ask the same as a training row, {RUN} words of it, or nearly it and its answer",
            )
        )
    return checks


def _several(labels: Mapping[str, int]) -> Check:
    return counted(SEVERAL, list(labels) if len(labels) < 2 else [], "labels, where all rows have the same one")


def _label_checks(rows: Sequence[Row], labels: Mapping[str, int]) -> list[Check]:
    said = defaultdict(set)
    for row in rows:
        said[normal(row.asked)].add(row.answer)
    torn = [f"{text[:60]}: {', '.join(sorted(them))}" for text, them in said.items() if len(them) > 1]
    single = [label for label, count in labels.items() if count == 1]
    return [
        counted(ONE_LABEL, torn, "texts that carry several labels"),
        counted(REPEATED, single, "labels of one row only; if there are many, text and label may be swapped"),
        counted(SPELT, _slips(labels), "labels that look like a slip of the pen for another"),
    ]


def _slips(labels: Mapping[str, int]) -> list[str]:
    """Labels that differ from a commoner one in case or marks only, or in few letters and are far rarer."""
    plain = {label: "".join(one for one in label.casefold() if one.isalnum()) for label in labels}
    twice = {word for word, count in Counter(plain.values()).items() if count > 1 and word}
    slips = [label for label, word in plain.items() if word in twice]
    for label, count in labels.items():
        commoner = [one for one, other in labels.items() if other >= RARE * count]
        slips += [f"{label} for {one}" for one in commoner if SequenceMatcher(None, label, one).ratio() >= ALIKE]
    return slips
