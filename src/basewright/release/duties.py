"""What the base model's licence asks of a model made from it. The facts are the catalog's; not legal advice."""

from __future__ import annotations

import re
from collections.abc import Mapping

from basewright.catalog.licences import Terms, find, parts, table
from basewright.errors import Refused, nearest
from basewright.records import record


@record
class Duties:
    """The duties of one licence, or of several that all hold (`CC0-1.0 AND PSF-2.0`)."""

    licence: str
    terms: tuple[Terms, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(duty for terms in self.terms for duty in terms.duties))

    @property
    def notices(self) -> tuple[str, ...]:
        return tuple(terms.notice for terms in self.terms if terms.notice)

    @property
    def displays(self) -> tuple[str, ...]:
        return tuple(terms.display for terms in self.terms if terms.display)

    @property
    def non_commercial(self) -> bool:
        return any(terms.non_commercial for terms in self.terms)

    @property
    def hub(self) -> str | None:
        """The one word a model hub knows the licence by, if there is one."""
        return self.terms[0].hub if len(self.terms) == 1 else None


def duties_of(licence: str) -> Duties:
    """What `licence` asks: an SPDX id, a LicenseRef of the table, a hub's name for one, or several with AND.

    Raises `Refused` for a licence the table does not know: an unknown licence is never taken as a free one (H115).
    """
    found = []
    for part, terms in zip(parts(licence), find(licence), strict=True):
        if terms is None:
            raise _unknown(part)
        found.append(terms)
    return Duties(licence=" AND ".join(terms.id for terms in found), terms=tuple(found))


def check_name(duties: Duties, name: str) -> None:
    """Raises `Refused` when the licence wants another beginning of the model's name (H113)."""
    for terms in duties.terms:
        if terms.name_prefix and not _plain(name).startswith(_plain(terms.name_prefix)):
            proper = f"{terms.name_prefix.replace(' ', '-').lower()}-{name}"
            raise Refused(
                f"the {terms.title} wants the name of a model made from it to begin with {terms.name_prefix!r};"
                f" {name!r} does not",
                fix=f'set name = "{proper}" in the recipe',
            )


def check_texts(duties: Duties, texts: Mapping[str, bytes]) -> None:
    """`texts` are the licence files beside the weights. Raises `Refused` when a needed one is missing (H116), or
    when they are the text of another licence than the one that is named (H115)."""
    plain = _plain(" ".join(text.decode("utf-8", errors="replace") for text in texts.values()))
    for terms in duties.terms:
        if terms.agreement and not texts:
            raise Refused(
                f"the {terms.title} wants a copy of its text with the model, and the base's folder holds none",
                fix="put the licence text as LICENSE into the base model's folder, then run basewright build again",
            )
        if texts and not _speaks(terms, plain):
            raise _other_text(duties, texts, "another text")
    for terms in table():  # a custom licence may quote a standard one (Falcon's quotes Apache's), never the reverse
        if terms.agreement and terms not in duties.terms and _speaks(terms, plain):
            raise _other_text(duties, texts, f"the text of {terms.id}")


def _speaks(terms: Terms, plain: str) -> bool:
    return any(_plain(mark) in plain for mark in terms.marks)


def _other_text(duties: Duties, texts: Mapping[str, bytes], found: str) -> Refused:
    return Refused(
        f"the base is declared as {duties.licence}, and {', '.join(texts)} beside its weights is {found}",
        fix="make the licence that is stated for the model and the text beside its weights agree, then build again",
    )


def _unknown(licence: str) -> Refused:
    return Refused(
        f"the licence {licence!r} is not in the table, so its duties are unknown;"
        f" {nearest(licence, [terms.id for terms in table()])}",
        fix='state the licence of the base model: licence = "SPDX-ID" under [candidates] in the recipe',
    )


def _plain(text: str) -> str:
    """For comparing words: case, spaces, hyphens and line breaks do not count."""
    return re.sub(r"[\s_-]+", "", text).casefold()
