"""General text that is replayed in training is never the text that forgetting is measured on."""

from __future__ import annotations

from collections.abc import Sequence

from basewright.data.split import RUN, runs
from basewright.errors import Refused
from basewright.prove.after import general_texts


def require_unmeasured(texts: Sequence[str], name: str) -> None:
    """Raise `Refused` where `texts` share RUN words in a row with the package's general text (H078)."""
    measured = {run for text in general_texts() for run in runs(text)}
    for text in texts:
        shared = sorted(measured & runs(text))
        if shared:
            raise Refused(
                f"{name} holds text that forgetting is measured on: {shared[0]!r}",
                fix=f"take out what shares {RUN} words in a row with it, or give other text: --replay-text",
            )
