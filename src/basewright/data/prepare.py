"""From a source to what is trained on, every row accounted for: read, deduplicated, written as text, made to fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from basewright import store
from basewright.data import near, shapes
from basewright.data.files import Source
from basewright.data.hints import hints
from basewright.data.shapes import Refusal, Row
from basewright.data.split import SIMILAR
from basewright.errors import UsageError
from basewright.records import (
    Classified,
    DataShape,
    Example,
    Fate,
    Head,
    Hint,
    Piece,
    Pools,
    Preference,
    Rated,
    RowFate,
    RowLedger,
)
from basewright.text import encode
from basewright.text import layout as layouts
from basewright.text.chat import Chat, Unfit
from basewright.text.encode import Encoded
from basewright.text.layout import LEARNED, Turn
from basewright.text.tokenizer import Tokenizer

Long = Literal["refuse", "cut", "split"]
Taught = Example | Preference | Rated | Classified
PATTERNS: dict[DataShape, str] = {"text-label": "Text: {text}\nLabel:", "prompt-completion": "{prompt}"}
"""Layouts of the shapes that take one, where none is asked for."""
SHOWN = 3
GAP = " … "
TAIL = 4
"""The last part in TAIL of a window is searched for a place between lines or words to end at."""


@dataclass(frozen=True, slots=True)
class Options:
    shape: DataShape | None = None
    """None: recognised."""
    columns: Mapping[str, str] | None = None
    """What a field is called in the data: {"text": "clause"}."""
    layout: str | None = None
    long: Long = "refuse"
    keep_near: bool = False
    pools: Pools | None = None
    """Which token a classification head reads; None: what is learned is written."""
    chat: Chat | None = None
    """What writes conversations; None: the plain layout."""


@dataclass(frozen=True, slots=True)
class Prepared:
    name: str
    form: str
    shape: DataShape
    layout: str
    taught: tuple[Taught, ...]
    rows: tuple[Row, ...]
    """What each of `taught` says, before the layout; a row that was split is there once for each window."""
    refused: tuple[Refusal, ...]
    too_long: tuple[Refusal, ...]
    ledger: RowLedger
    hints: tuple[Hint, ...]
    unused: tuple[str, ...] = ()
    """Columns that nothing was taken from."""
    ignored: tuple[str, ...] = ()
    """Files of the source that hold no rows."""
    pools: Pools | None = None
    """Which token a classification head reads; None: what is learned is written."""
    chat: Chat | None = None
    """What wrote conversations; None: the plain layout."""

    @property
    def classified(self) -> tuple[Classified, ...]:
        """What a head learns; nothing where what is learned is written."""
        return tuple(one for one in self.taught if isinstance(one, Classified))

    def head(self, tokenizer: Tokenizer) -> Head | None:
        if self.pools is None:
            return None
        return Head(labels=tuple(self.labels), pad_id=encode.padding(tokenizer), pools=self.pools)

    @property
    def control_ids(self) -> tuple[int, ...]:
        """The control tokens that the chat template writes in these rows; none without one."""
        if self.chat is None:
            return ()
        written = (piece for one in self.taught for example in examples(one) for piece in example.pieces)
        texts = {piece.text for piece in written if piece.control}
        return tuple(sorted(encode.control_id(self.chat.tokenizer, text) for text in texts))

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """The control tokens that end an answer in these rows; none in the plain layout, whose end is EOS."""
        if self.chat is None:
            return ()
        last = {examples(one)[0].pieces[-1].text for one in self.taught}
        return tuple(sorted(encode.control_id(self.chat.tokenizer, text) for text in last))

    @property
    def labels(self) -> dict[str, int]:
        """Rows of each label; for rated answers, of those wanted and not."""
        if self.shape == "text-label":
            return dict(sorted(Counter(row.answer for row in self.rows).items()))
        return dict(
            Counter("desirable" if row.desirable else "undesirable" for row in self.rows if row.desirable is not None)
        )


def prepare(source: Source, tokenizer: Tokenizer, context: int, options: Options) -> Prepared:
    """Every row of a source as something to learn that has at most `context` tokens.

    Raises `UsageError` for a shape that is not clear or a layout that does not fit it, `DataError` for a shape that
    is not known.
    """
    raws = shapes.renamed(source.rows, options.columns or {}, source.name)
    shape = options.shape or shapes.recognise(raws, source.name)
    if options.pools and shape != "text-label":
        raise UsageError(
            f"a classification head learns labels, and the rows of {source.name} are {shapes.WORDS[shape]}",
            fix="leave --head out, or name the columns: --column text=COLUMN --column label=COLUMN",
        )
    if options.chat and (options.pools or shape == "text"):
        what = "a classification head reads" if options.pools else "plain text has"
        raise UsageError(f"{what} no turns that a chat template could write", fix="leave --chat-template out")
    pattern = _pattern(shape, options)
    if options.long == "split" and shape != "text":
        raise UsageError(
            f"--long split is for plain text, and these rows are {shape}", fix="--long cut, or shorter rows"
        )
    read, refused = shapes.read(raws, shape)
    unique, equal, alike = near.deduplicate(read)
    if options.keep_near:
        unique, alike = _in_order(read, unique, alike), []
    fitted = [_fit(row, pattern, tokenizer, context, options) for row in unique]
    unfit = [one.refusal for one in fitted if one.refusal and not one.long]
    refused = [*refused, *unfit]
    fates = [
        *(_fate(name, [one for one in fitted if one.what == name]) for name in ("used", "cut", "split")),
        *_refusals([*refused, *(one.refusal for one in fitted if one.refusal and one.long)]),
        _twins("duplicate", "the same as an earlier row", equal),
        _twins(
            "near-duplicate",
            f"{SIMILAR:.0%} of its word trigrams are an earlier row's, in question and answer",
            alike,
        ),
    ]
    pairs = [(taught, one.row) for one in fitted for taught in one.taught]
    return Prepared(
        name=source.name,
        form=source.form,
        shape=shape,
        layout=pattern,
        taught=tuple(taught for taught, _ in pairs),
        rows=tuple(row for _, row in pairs),
        refused=tuple(refused),
        too_long=tuple(one.refusal for one in fitted if one.refusal and one.long),
        ledger=RowLedger(read=len(source.rows), fates=tuple(fate for fate in fates if fate.rows)),
        hints=hints(unique),
        unused=shapes.unused(raws, shape),
        ignored=source.ignored,
        pools=options.pools,
        chat=options.chat,
    )


def examples(taught: Taught) -> tuple[Example, ...]:
    """The texts that something taught puts before the model: two for a preference, chosen first."""
    if isinstance(taught, Example):
        return (taught,)
    if isinstance(taught, Classified):
        raise TypeError("a classified text is no example to write")
    if taught.written:
        return tuple(map(layouts.example, taught.written))
    answers = (taught.chosen, taught.rejected) if isinstance(taught, Preference) else (taught.completion,)
    asked = Piece(text=taught.prompt, learned=False)
    return tuple(layouts.example((asked, Piece(text=answer, learned=True))) for answer in answers)


def wanted(data: Prepared) -> list[Example]:
    """What is to be written: each text, the better of two answers, an answer that is wanted."""
    kept = (one for one in data.taught if not isinstance(one, Rated) or one.desirable)
    return [examples(one)[0] for one in kept]


def plainly(data: Prepared) -> list[Example]:
    """The same in the plain layout, as a base model is asked, whatever wrote the rows."""
    if data.chat is None:
        return wanted(data)
    pattern = PATTERNS.get(data.shape, "{prompt}") if data.layout in ("{text}", "{prompt}") else data.layout
    rows = (row for row in data.rows if row.desirable is not False)
    return [layouts.example(layouts.plain(row.turns, pattern)) for row in rows]


def encoded(taught: Sequence[Taught], tokenizer: Tokenizer) -> list[Encoded]:
    """All texts of what is taught, in order."""
    return [encode.pieces(tokenizer, one) for each in taught for one in examples(each)]


# --- text to fit ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Fitted:
    row: Row
    what: RowFate
    taught: tuple[Taught, ...] = ()
    refusal: Refusal | None = None
    long: bool = True
    """Whether it is refused for its length, and not because a chat template does not write it."""


def _fit(row: Row, pattern: str, tokenizer: Tokenizer, context: int, options: Options) -> _Fitted:
    long = options.long

    def teach(one: Row) -> Taught:
        if options.chat:
            return _spoken(one, pattern, options.chat)
        return _classified(one, pattern) if options.pools else _taught(one, pattern)

    try:
        taught = teach(row)
    except Unfit as fault:
        return _Fitted(row, "refused", refusal=Refusal(row.where, str(fault), shapes.start(row.content)), long=False)
    length = _length(taught, tokenizer, options.pools)
    if length <= context:
        return _Fitted(row, "used", (taught,))
    if long == "split":
        parts = list(windows(row.answer, context - 2, tokenizer))  # beside the start and the end
        pieces = [(Piece(text=part, learned=True),) for part in parts]
        return _Fitted(
            row, "split", tuple(layouts.example(one, ends=i == len(pieces)) for i, one in enumerate(pieces, start=1))
        )
    shorter = _cut(row, lambda one: _length(teach(one), tokenizer, options.pools) <= context) if long == "cut" else None
    if shorter is not None:
        return _Fitted(shorter, "cut", (teach(shorter),))
    alone = " although all that is asked was cut" if long == "cut" else ""
    why = f"longer than {context} tokens{alone}: it has {length}"
    return _Fitted(row, "refused", refusal=Refusal(row.where, why, shapes.start(row.content)))


def _length(taught: Taught, tokenizer: Tokenizer, pools: Pools | None) -> int:
    if isinstance(taught, Classified):
        return len(encode.judged(tokenizer, taught.text, pools or "last").ids)
    return max(len(encode.pieces(tokenizer, one).ids) for one in examples(taught))


def _classified(row: Row, pattern: str) -> Classified:
    text = pattern.replace("{text}", row.asked)
    return Classified(id=_id(text, row.answer), text=text, label=row.answer)


def _taught(row: Row, pattern: str) -> Taught:
    pieces = layouts.plain(row.turns, pattern)
    if row.rejected is None and row.desirable is None:
        return layouts.example(pieces)
    asked = "".join(piece.text + "\n" * piece.learned for piece in pieces[:-1])
    answer = pieces[-1].text
    if row.rejected is None:
        wanted = bool(row.desirable)
        return Rated(id=_id(asked, answer, wanted), prompt=asked, completion=answer, desirable=wanted)
    rejected = layouts.spaced(asked, row.rejected)
    return Preference(id=_id(asked, answer, rejected), prompt=asked, chosen=answer, rejected=rejected)


def conversations(row: Row, pattern: str) -> tuple[tuple[Turn, ...], ...]:
    """What a chat template is given of a row: one conversation, or of a preference two, chosen first."""
    turns = layouts.spoken(row.turns, pattern)
    if row.rejected is None:
        return (turns,)
    return turns, (*turns[:-1], Turn("assistant", row.rejected))


def _spoken(row: Row, pattern: str, chat: Chat) -> Taught:
    """As the chat template writes it. Of preferences and rated answers only the last answer counts. Raises `Unfit`."""
    told = conversations(row, pattern)
    if row.rejected is None and row.desirable is None:
        return layouts.example(chat.conversation(told[0]))
    written = [chat.conversation(turns, last=True) for turns in told]
    asked = "".join(piece.text for piece in written[0] if not piece.learned)
    answers = ["".join(piece.text for piece in one[:-1] if piece.learned) for one in written]
    if row.rejected is None:
        wanted = bool(row.desirable)
        number = _id(asked, answers[0], wanted)
        return Rated(id=number, prompt=asked, completion=answers[0], desirable=wanted, written=tuple(written))
    chosen, rejected = answers
    number = _id(asked, chosen, rejected)
    return Preference(id=number, prompt=asked, chosen=chosen, rejected=rejected, written=tuple(written))


def _id(*content: str | bool) -> str:
    return store.digest(content)[:16]


def _cut(row: Row, fits: Callable[[Row], bool]) -> Row | None:
    """The row with the middle taken out of what is asked, as little as possible; answers stay whole.

    Head and tail say most of a text (Sun et al. 2019, "How to fine-tune BERT", table 2). None where it never fits.
    """
    low, high = 0, max(len(turn.text) for turn in row.turns)
    if not fits(_shortened(row, low)):
        return None
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(_shortened(row, middle)) else (low, middle)
    return _shortened(row, low)


def _shortened(row: Row, longest: int) -> Row:
    if len(row.turns) == 1:
        return row
    head = longest // 2
    turns = tuple(
        turn
        if turn.role in LEARNED or len(turn.text) <= longest + len(GAP)
        else Turn(turn.role, turn.text[:head] + GAP + turn.text[len(turn.text) - (longest - head) :])
        for turn in row.turns
    )
    return replace(row, turns=turns)


def windows(text: str, room: int, tokenizer: Tokenizer) -> Iterator[str]:
    """A text as stretches of at most `room` tokens, which together are the text; they end before a line or a word."""
    while text:
        end = _reach(text, room, tokenizer)
        yield text[:end]
        text = text[end:]


def _reach(text: str, room: int, tokenizer: Tokenizer) -> int:
    ahead = text[: room * 8]
    offsets = tokenizer.backend.encode(ahead, add_special_tokens=False).offsets
    end = len(ahead) if len(offsets) <= room else max(1, offsets[room - 1][1])
    while end < len(text) or len(tokenizer.ids(text[:end])) > room:
        low = max(1, end - end // TAIL)
        place = next((at for mark in ("\n", " ") if (at := text.rfind(mark, low, end)) > 0), end)
        if len(tokenizer.ids(text[:place])) <= room or place == 1:
            return place
        end = max(1, min(place, end * 15 // 16))
    return end


# --- ledger ---------------------------------------------------------------------------------------


def _pattern(shape: DataShape, options: Options) -> str:
    layout = options.layout
    if layout is None:
        bare = "{text}" if shape == "text-label" else "{prompt}"
        return bare if options.pools or options.chat else PATTERNS.get(shape, bare)
    if shape not in PATTERNS:
        raise UsageError(f"rows of the shape {shape} have a layout of their own", fix="leave --layout out")
    return layouts.check_pattern(layout, "text" if shape == "text-label" else "prompt")


def _in_order(read: Sequence[Row], unique: Sequence[Row], alike: Sequence[near.Twin]) -> list[Row]:
    kept = {row.where for row in (*unique, *(twin.row for twin in alike))}
    return [row for row in read if row.where in kept]


def _fate(what: RowFate, fitted: Sequence[_Fitted]) -> Fate:
    why = {"used": "as they are", "cut": "the middle of what is asked was taken out", "split": "into windows"}[what]
    shown = tuple(f"{one.row.where}: {shapes.start(one.row.content)}" for one in fitted[:SHOWN])
    return Fate(what=what, why=why, rows=len(fitted), examples=shown)


def _refusals(refused: Sequence[Refusal]) -> list[Fate]:
    """One fate for each reason; what follows a colon is about one row."""
    reasons: dict[str, list[Refusal]] = {}
    for one in refused:
        reasons.setdefault(one.why.split(":")[0], []).append(one)
    return [
        Fate(
            what="refused",
            why=why,
            rows=len(them),
            examples=tuple(f"{one.where}: {one.why}: {one.shown}" for one in them[:SHOWN]),
        )
        for why, them in reasons.items()
    ]


def _twins(what: RowFate, why: str, twins: Sequence[near.Twin]) -> Fate:
    shown = tuple(f"{row.where} and {first.where}: {shapes.start(row.content)}" for row, first in twins[:SHOWN])
    return Fate(what=what, why=why, rows=len(twins), examples=shown)
