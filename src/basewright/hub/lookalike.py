"""Names made to be taken for others (H036): an owner that is nearly one of the catalog's."""

from __future__ import annotations

from basewright.catalog import cards
from basewright.errors import Refused
from basewright.hub.api import COMMIT
from basewright.hub.reference import HUB

ALIKE = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("0", "o"), ("1", "l"), ("i", "l"), ("5", "s"), ("_", "-"), (".", "-"))
NEAR = 1
"""Letters put in, left out or exchanged."""


def refuse(repo: str, revision: str | None) -> None:
    """Refuse an owner whose name is nearly, and not just, a curated one's, unless a commit was named."""
    owner = repo.partition("/")[0]
    known = {fact.location.removeprefix(HUB).partition("/")[0] for fact in cards.facts() if HUB in fact.location}
    twin = next((one for one in sorted(known) if is_near(owner, one)), None)
    if twin is None or owner in known or (revision and COMMIT.fullmatch(revision)):
        return
    raise Refused(
        f"{owner} is not {twin}, whose models are in the catalog, and its name is nearly the same",
        fix=f"pull {twin}/{repo.partition('/')[2]}; or, if you mean {owner}, name a whole commit with --revision",
    )


def is_near(name: str, known: str) -> bool:
    """Whether one could be read as the other."""
    if name == known:
        return False
    first, second = _plain(name), _plain(known)
    return first == second or (min(len(first), len(second)) > 4 and _distance(first, second) <= NEAR)


def _plain(name: str) -> str:
    name = name.lower()
    for alike, letter in ALIKE:
        name = name.replace(alike, letter)
    return name.replace("-", "")


def _distance(first: str, second: str) -> int:
    """Damerau and Levenshtein's, of neighbouring letters exchanged too."""
    rows = [list(range(len(second) + 1))]
    for i, a in enumerate(first, 1):
        row = [i]
        for j, b in enumerate(second, 1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == second[j - 2] and first[i - 2] == b:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]
