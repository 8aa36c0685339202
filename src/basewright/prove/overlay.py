"""Training rows as the model sees them: decoded tokens and which of them are learned, for terminal and page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby

from basewright.records import Overlay
from basewright.text.encode import Encoded
from basewright.text.tokenizer import Tokenizer

PART = "�"
"""What a token decodes to that holds a part of a character only."""
DIM, LEARNED, PLAIN = "\x1b[2m", "\x1b[1;32m", "\x1b[0m"
STYLE = (
    "figure.overlay{margin:1em 0;font:14px/1.7 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere}"
    ".overlay span{border-right:1px solid #8883}.overlay ins{background:#2a92;text-decoration:underline}"
    ".overlay figcaption{font:13px sans-serif;opacity:.75}"
)


def overlay(item: str, row: Encoded, tokenizer: Tokenizer) -> Overlay:
    return Overlay(item=item, tokens=tuple(zip(_pieces(row.ids, tokenizer), row.mask, strict=True)))


def terminal(shown: Overlay, colour: bool) -> str:
    """The row in one go: what is learned stands in [brackets], and in colour if asked for."""
    parts = []
    for learned, group in groupby(shown.tokens, key=lambda token: token[1]):
        text = "".join(piece for piece, _ in group)
        text = f"[{text}]" if learned else text
        parts.append(f"{LEARNED if learned else DIM}{text}{PLAIN}" if colour else text)
    return "".join(parts)


def html(overlays: Sequence[Overlay]) -> str:
    """A block for a page, without script or network. Tokens have borders, learned ones are underlined."""
    figures = "\n".join(_figure(shown) for shown in overlays)
    return f"<section><style>{STYLE}</style>\n{figures}\n</section>\n"


def _figure(shown: Overlay) -> str:
    tokens = (_token(piece, learned) for piece, learned in shown.tokens)
    learned = sum(learned for _, learned in shown.tokens)
    caption = f"{escape(shown.item)}: {len(shown.tokens)} tokens, {learned} learned (underlined)"
    return f'<figure class="overlay"><figcaption>{caption}</figcaption>{"".join(tokens)}</figure>'


def _token(piece: str, learned: bool) -> str:
    name = "ins" if learned else "span"
    return f"<{name}>{escape(piece)}</{name}>"


def _pieces(ids: Sequence[int], tokenizer: Tokenizer) -> list[str]:
    """Each token's text as it stands behind the one before, which some decoders need to keep a space; where a
    character is made of several tokens, the last of them shows it."""
    pieces: list[str] = []
    last = begin = 0
    for end in range(1, len(ids) + 1):
        before = _decoded(ids[last:begin], tokenizer)
        text = _decoded(ids[last:end], tokenizer)[len(before) :]
        whole = not text.endswith(PART) or end - begin >= 4  # bytes a character has at most
        pieces.append(text if whole else "")
        last, begin = (begin, end) if whole else (last, begin)
    return pieces


def _decoded(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    return str(tokenizer.backend.decode(list(ids), skip_special_tokens=False))
