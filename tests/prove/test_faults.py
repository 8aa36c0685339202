"""Faults put into rows, tokens, packing and models on purpose: each is found, by the check that is about it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from basewright.data import files, pack, prepare
from basewright.data.pack import IGNORE, Packed
from basewright.data.prepare import Options
from basewright.errors import Refused
from basewright.prove import certificate, data_checks, row_checks
from basewright.records import Certificate
from basewright.text.encode import Encoded
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from basewright.train import attention, losses
from tests.evaluate.chatml import chatml
from tests.models import tiny_llama

CONTEXT, PAD = 96, 1
THINGS = ("clock", "rope", "ship", "train", "shell", "wall", "table", "book", "sailor", "kitchen", "order", "money")
ASIDE = "nobody in the kitchen looked up when the old clock on the wall struck nine again"
POSITIONS = "packed rows keep their labels and positions"
ISOLATED = "packed rows do not see each other"
LOSS = "accumulation does not change the loss"
OPENED = "packed rows give what each row gives by itself"
"""No check of the certificate: without it the model is not even opened (`train.opened`)."""
GRADIENT = "accumulation does not change the gradient"
Rows = list[dict[str, Any]]


def pairs() -> Rows:
    return [
        {"prompt": f"Where is the {a} of {i}?", "completion": f"The {a} is by the sea."} for i, a in enumerate(THINGS)
    ]


def labelled() -> Rows:
    return [
        {"text": f"the {a} number {i} {'has come in' if i % 2 else 'is gone'}", "label": "arrival" if i % 2 else "loss"}
        for i, a in enumerate(THINGS * 4)
    ]


def talks() -> Rows:
    said = [
        ("user", "Where is the {}?"),
        ("assistant", "By the sea, {}."),
        ("user", "And now?"),
        ("assistant", "Late."),
    ]
    return [{"messages": [{"role": who, "content": what.format(a)} for who, what in said]} for a in THINGS]


def preferences() -> Rows:
    return [{"prompt": f"Name the {a}.", "chosen": f"A {a}.", "rejected": f"No {a}, sorry."} for a in THINGS]


def ratings() -> Rows:
    return [{"prompt": f"Name the {a}.", "completion": f"A {a}.", "label": i % 3 > 0} for i, a in enumerate(THINGS)]


@dataclass
class World:
    """What a certificate is about; a fault changes one thing in it."""

    folder: Path
    scratch: Path
    patch: pytest.MonkeyPatch
    rows: Rows = field(default_factory=pairs)
    held: Rows | None = None
    options: Options = field(default_factory=Options)
    extra: str = ""
    """Lines put behind the rows as they are."""

    def certify(self) -> Certificate:
        tokenizer = open_tokenizer(self.folder)
        prepared = [
            prepare.prepare(self._source(name, rows), tokenizer, CONTEXT, self.options)
            for name, rows in (("rows.jsonl", self.rows), ("test.jsonl", self.held))
            if rows is not None
        ]
        return certificate.certify_data(self.folder, "tiny", prepared[0], CONTEXT, *prepared[1:])

    def _source(self, name: str, rows: Rows) -> files.Source:
        path = self.scratch / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows) + self.extra, "utf-8")
        return files.read(path)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("models") / "tiny", context=CONTEXT)


@pytest.fixture
def world(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(folder=tiny, scratch=tmp_path, patch=monkeypatch)


@pytest.mark.parametrize("rows", [pairs, labelled, talks, preferences, ratings], ids=lambda rows: rows.__name__)
def test_without_a_fault_all_checks_pass(world: World, rows: Callable[[], Rows]) -> None:
    world.rows, world.held = rows(), None
    made = world.certify()
    assert [check.name for check in made.checks if not check.passed] == []
    assert {POSITIONS, ISOLATED, LOSS, GRADIENT} <= {check.name for check in made.checks}
    certificate.require(made)


# --- faults of the rows ---------------------------------------------------------------------------

Fault = Callable[[World], None]


def changed(rows: Callable[[], Rows], at: int, **values: Any) -> Fault:
    def fault(world: World) -> None:
        world.rows = rows()
        world.rows[at] |= values

    return fault


def said(*roles: str) -> Fault:
    return changed(talks, 3, messages=[{"role": role, "content": "By the sea."} for role in roles])


def no_completion(world: World) -> None:
    del world.rows[2]["completion"]


def broken_line(world: World) -> None:
    world.extra = '{"prompt": "half a row'


def swapped(world: World) -> None:
    world.rows = [{"text": row["label"], "label": row["text"]} for row in labelled()]


def too_long(world: World) -> None:
    world.rows[4]["prompt"] = "Where is the ship? " * 60


def answer_too_long(world: World) -> None:
    world.rows[4]["completion"] = "It is by the sea. " * 60
    world.options = Options(long="cut")


def tested_on_training(world: World) -> None:
    world.held = pairs()[5:8]


def tested_in_other_case(world: World) -> None:
    world.held = [{"prompt": pairs()[5]["prompt"].upper().replace(" ", "  "), "completion": "Elsewhere."}]


def tested_on_nearly_the_same(world: World) -> None:
    world.rows[3]["prompt"] = f"Tell me this: {ASIDE}, is it true?"
    world.held = [{"prompt": f"Tell me this: {ASIDE}, is it false?", "completion": pairs()[3]["completion"]}]


def tested_on_a_copied_sentence(world: World) -> None:
    world.rows[3]["prompt"] = f"One two three. {ASIDE}. Four five six seven eight nine ten."
    world.held = [{"prompt": f"What does this mean, in your words and not in mine: {ASIDE}?", "completion": "No."}]


def one_label(world: World) -> None:
    world.rows = [row | {"label": "loss"} for row in labelled()]


def only_wanted(world: World) -> None:
    world.rows = [row | {"label": True} for row in ratings()]


ROW_FAULTS: dict[str, tuple[Fault, str]] = {
    "completion missing": (no_completion, data_checks.READ),
    "completion null": (changed(pairs, 2, completion=None), data_checks.READ),
    "completion empty": (changed(pairs, 2, completion=""), data_checks.READ),
    "completion of spaces": (changed(pairs, 2, completion=" \n "), data_checks.READ),
    "completion a number": (changed(pairs, 2, completion=4.5), data_checks.READ),
    "prompt empty": (changed(pairs, 2, prompt=""), data_checks.READ),
    "half a surrogate pair": (changed(pairs, 2, completion="by the \ud83d sea"), data_checks.READ),
    "a line that is no JSON": (broken_line, data_checks.READ),
    "assistant first": (said("assistant", "user"), data_checks.READ),
    "two users in a row": (said("user", "user", "assistant"), data_checks.READ),
    "two answers in a row": (said("user", "assistant", "assistant"), data_checks.READ),
    "no last answer": (said("user", "assistant", "user"), data_checks.READ),
    "system in the middle": (said("user", "system", "assistant"), data_checks.READ),
    "no messages": (changed(talks, 3, messages=[]), data_checks.READ),
    "a tool's turn": (said("user", "tool", "assistant"), data_checks.READ),
    "chosen and rejected equal": (changed(preferences, 2, rejected="A ship."), data_checks.READ),
    "rating neither true nor false": (changed(ratings, 2, label="maybe"), data_checks.READ),
    "all ratings the same": (only_wanted, data_checks.SEVERAL),
    "one label": (one_label, data_checks.SEVERAL),
    "label misspelt": (changed(labelled, 5, label="arival"), data_checks.SPELT),
    "label in other case": (changed(labelled, 5, label="Arrival"), data_checks.SPELT),
    "label with a mark": (changed(labelled, 5, label="loss."), data_checks.SPELT),
    "label seen once": (changed(labelled, 5, label="fire"), data_checks.REPEATED),
    "columns swapped": (swapped, data_checks.REPEATED),
    "one text, two labels": (changed(labelled, 5, text="the clock number 0 is gone"), data_checks.ONE_LABEL),
    "too long": (too_long, data_checks.LONG),
    "answer too long to cut": (answer_too_long, data_checks.LONG),
    "test rows in training": (tested_on_training, data_checks.UNSEEN),
    "test rows in training, other case": (tested_in_other_case, data_checks.UNSEEN),
    "test rows nearly in training": (tested_on_nearly_the_same, data_checks.UNSEEN),
    "test rows with a copied sentence": (tested_on_a_copied_sentence, data_checks.UNSEEN),
}

# --- faults of the tokens -------------------------------------------------------------------------


def encoded(change: Callable[[Encoded, Tokenizer], Encoded], rows: Callable[[], Rows] = pairs) -> Fault:
    """The second row as a faulty encoder would make it."""

    def fault(world: World) -> None:
        real = prepare.encoded
        world.rows = rows()

        def wrong(taught: Any, tokenizer: Tokenizer) -> list[Encoded]:
            found = real(taught, tokenizer)
            return [found[0], change(found[1], tokenizer), *found[2:]]

        world.patch.setattr(prepare, "encoded", wrong)

    return fault


def masked(change: Callable[[list[bool]], list[bool]], rows: Callable[[], Rows] = pairs) -> Fault:
    return encoded(lambda row, _: replace(row, mask=tuple(change(list(row.mask)))), rows)


def ids(change: Callable[[list[int], Tokenizer], list[int]], rows: Callable[[], Rows] = pairs) -> Fault:
    return encoded(lambda row, tokenizer: replace(row, ids=tuple(change(list(row.ids), tokenizer))), rows)


def spliced(row: Encoded, at: int, ids: list[int], learned: bool, until: int | None = None) -> Encoded:
    """`ids` put in at a place, instead of what is up to `until`."""
    end = at if until is None else until
    return Encoded((*row.ids[:at], *ids, *row.ids[end:]), (*row.mask[:at], *(learned for _ in ids), *row.mask[end:]))


def border(row: Encoded) -> int:
    return row.mask.index(True)


def end_of_first_answer(row: Encoded) -> int:
    return row.mask.index(False, border(row))


def padding_is_eos(world: World) -> None:
    tokenizer = open_tokenizer(world.folder)
    world.patch.setattr(certificate, "open_tokenizer", lambda _: replace(tokenizer, pad_id=tokenizer.eos_id))


def eos_never_trained(world: World) -> None:
    _with_table(world, lambda table: table[0].zero_())


def two_rows_alike(world: World) -> None:
    """As those are that were added in one go and never trained."""
    used = open_tokenizer(world.folder).ids("Where")[0]
    _with_table(world, lambda table: table[used].copy_(table[PAD]))


def _with_table(world: World, change: Callable[[torch.Tensor], Any]) -> None:
    world.folder = Path(shutil.copytree(world.folder, world.scratch / "changed"))
    weights = load_file(world.folder / "model.safetensors")
    change(weights["model.embed_tokens.weight"])
    save_file(weights, world.folder / "model.safetensors", metadata={"format": "pt"})


def template_with_untrained_tokens(world: World) -> None:
    world.folder = chatml(world.folder, world.scratch / "chat")
    size = open_tokenizer(world.folder).size
    encoded(lambda row, _: spliced(row, 1, [size - 2], False))(world)


def template_with_trained_tokens(world: World) -> None:
    """Still no text that was asked for: a template leaks into the answer."""
    world.folder = chatml(world.folder, world.scratch / "chat", std=0.2)
    size = open_tokenizer(world.folder).size
    encoded(lambda row, _: spliced(row, border(row), [size - 2], True))(world)


TOKEN_FAULTS: dict[str, tuple[Fault, str]] = {
    "EOS missing": (encoded(lambda row, _: Encoded(row.ids[:-1], row.mask[:-1])), row_checks.STOPS),
    "EOS masked": (masked(lambda mask: [*mask[:-1], False]), row_checks.STOPS),
    "EOS of the first answer missing": (
        encoded(lambda row, _: spliced(row, end_of_first_answer(row) - 1, [], True, end_of_first_answer(row)), talks),
        row_checks.STOPS,
    ),
    "EOS of the first answer masked": (
        encoded(lambda row, t: spliced(row, (e := end_of_first_answer(row)) - 1, [t.eos_id], False, e), talks),
        row_checks.STOPS,
    ),
    "another token instead of EOS": (ids(lambda row, _: [*row[:-1], PAD]), row_checks.STOPS),
    "loss on padding": (
        encoded(lambda row, t: spliced(row, len(row.ids), [t.pad_id] * 3, True)),
        row_checks.STOPS,
    ),
    "a second text behind the end": (
        encoded(lambda row, _: spliced(row, len(row.ids), [70, 71], False)),
        row_checks.LEARNED,
    ),
    "padding is EOS": (padding_is_eos, row_checks.PADDING),
    "BOS twice": (encoded(lambda row, t: spliced(row, 0, [t.eos_id], False)), row_checks.STARTS),
    "BOS missing": (encoded(lambda row, _: Encoded(row.ids[1:], row.mask[1:])), row_checks.STARTS),
    "BOS before the answer": (
        encoded(lambda row, t: spliced(row, border(row), [t.eos_id], False)),
        row_checks.STARTS,
    ),
    "another token instead of BOS": (ids(lambda row, _: [PAD, *row[1:]]), row_checks.STARTS),
    "loss on the prompt": (masked(lambda mask: [False] + [True] * (len(mask) - 1)), row_checks.LEARNED),
    "loss on half of the prompt": (
        masked(lambda mask: [m or i > mask.index(True) // 2 for i, m in enumerate(mask)]),
        row_checks.LEARNED,
    ),
    "mask one too early": (masked(lambda mask: [*mask[1:], True]), row_checks.LEARNED),
    "mask one too late": (masked(lambda mask: [False, *mask[:-1]]), row_checks.LEARNED),
    "mask upside down": (masked(lambda mask: [not m for m in mask]), row_checks.LEARNED),
    "mask with a hole": (
        encoded(lambda row, _: replace(row, mask=tuple(m and i != border(row) + 2 for i, m in enumerate(row.mask)))),
        row_checks.LEARNED,
    ),
    "only EOS is learned": (masked(lambda mask: [False] * (len(mask) - 1) + [True]), row_checks.LEARNED),
    "only the first answer is learned": (
        masked(lambda mask: [m and i < mask.index(False, mask.index(True)) for i, m in enumerate(mask)], talks),
        row_checks.LEARNED,
    ),
    "only the last answer is learned": (
        masked(lambda mask: [all(mask[i:]) for i in range(len(mask))], talks),
        row_checks.LEARNED,
    ),
    "all masked": (masked(lambda mask: [False] * len(mask)), row_checks.TAUGHT),
    "answer cut, EOS put behind": (
        encoded(lambda row, _: spliced(row, len(row.ids) - 4, [], True, len(row.ids) - 1)),
        row_checks.LEARNED,
    ),
    "answer cut": (encoded(lambda row, _: Encoded(row.ids[:-4], row.mask[:-4])), row_checks.STOPS),
    "prompt cut on the left": (encoded(lambda row, _: spliced(row, 1, [], False, 4)), row_checks.LEARNED),
    "prompt left out": (encoded(lambda row, _: spliced(row, 1, [], False, border(row))), row_checks.LEARNED),
    "answer twice": (
        encoded(lambda row, _: spliced(row, border(row), list(row.ids[border(row) : -1]), True)),
        row_checks.LEARNED,
    ),
    "another vocabulary": (ids(lambda row, _: [row[0], *(i + 1 for i in row[1:-1]), row[-1]]), row_checks.LEARNED),
    "a control token in the answer": (
        encoded(lambda row, _: spliced(row, border(row) + 1, [PAD], True)),
        row_checks.LEARNED,
    ),
    "a template's tokens in the answer": (template_with_trained_tokens, row_checks.LEARNED),
    "a template's untrained tokens": (template_with_untrained_tokens, row_checks.TRAINED),
    "EOS never trained": (eos_never_trained, row_checks.TRAINED),
    "a token that equals another": (two_rows_alike, row_checks.TRAINED),
    "an id beyond the table": (ids(lambda row, _: [*row[:2], 384, *row[3:]]), row_checks.INSIDE),
    "an id below 0": (ids(lambda row, _: [*row[:2], -1, *row[3:]]), row_checks.INSIDE),
    "mask of another length": (masked(lambda mask: mask[:-2]), row_checks.WHOLE),
    "no tokens": (encoded(lambda *_: Encoded((), ())), row_checks.WHOLE),
    "another prompt before the rejected answer": (
        encoded(lambda row, _: spliced(row, 2, [70, 71], False, 3), preferences),
        row_checks.PAIRED,
    ),
    "the chosen answer as the rejected one": (
        encoded(
            lambda row, t: spliced(row, border(row), [*t.ids(" A clock."), t.eos_id], True, len(row.ids)), preferences
        ),
        row_checks.DIFFER,
    ),
    "longer than what is trained at once": (
        encoded(lambda row, _: spliced(row, 1, [70] * CONTEXT, False)),
        row_checks.FITS,
    ),
}

# --- faults of packing, attention and loss --------------------------------------------------------


def packed(change: Callable[[Packed], Packed]) -> Fault:
    def fault(world: World) -> None:
        real = pack.pack
        world.patch.setattr(pack, "pack", lambda rows: change(real(rows)))

    return fault


def leaking_attention(world: World) -> None:
    real = attention._runs
    world.patch.setattr(attention, "_runs", lambda lengths: real((sum(lengths),)))


def attention_of_pairs(world: World) -> None:
    """Only two neighbours see each other, in the middle of a row of more than opening a model tries."""
    real = attention._runs

    def runs(lengths: Any) -> Any:
        half = len(lengths) // 2
        joined = (*lengths[: half - 1], sum(lengths[half - 1 : half + 2]), *lengths[half + 2 :])
        return real(joined if len(lengths) > 4 else lengths)

    world.patch.setattr(attention, "_runs", runs)


def lossy(change: Callable[[Any, Packed], Any]) -> Fault:
    def fault(world: World) -> None:
        real = losses.next_token
        world.patch.setattr(losses, "next_token", lambda model, row: change(real(model, row), row))

    return fault


def prompts(row: Packed) -> int:
    """Tokens that predict nothing, but for the last of each segment."""
    return len(row.ids) - len(row.lengths) - row.supervised


def crossing(row: Packed) -> Packed:
    """The last token of a row predicts the first of the next."""
    return replace(row, labels=np.array([*row.ids[1:], IGNORE]))


PACKING_FAULTS: dict[str, tuple[Fault, str]] = {
    "attention over all": (leaking_attention, OPENED),
    "attention over two neighbours": (attention_of_pairs, ISOLATED),
    "positions that run on": (packed(lambda row: replace(row, positions=np.arange(len(row.ids)))), POSITIONS),
    "positions all 0": (packed(lambda row: replace(row, positions=np.zeros_like(row.ids))), POSITIONS),
    "labels that cross the border": (packed(crossing), POSITIONS),
    "labels not shifted": (
        packed(lambda row: replace(row, labels=np.where(row.labels == IGNORE, IGNORE, row.ids))),
        POSITIONS,
    ),
    "labels shifted twice": (packed(lambda row: replace(row, labels=np.roll(row.labels, -1))), POSITIONS),
    "loss averaged in each micro-batch": (lossy(lambda nats, row: nats / row.supervised), OPENED),
    "loss over all tokens": (lossy(lambda nats, row: nats * len(row.ids) ** 0.5), OPENED),
    "loss averaged over rows that have prompts": (
        lossy(lambda nats, row: nats if prompts(row) == 0 else nats / len(row.lengths)),
        LOSS,
    ),
    "gradient averaged in each micro-batch": (
        lossy(lambda nats, row: nats.detach() + (nats - nats.detach()) / len(row.lengths)),
        GRADIENT,
    ),
}

FAULTS = ROW_FAULTS | TOKEN_FAULTS | PACKING_FAULTS


@pytest.mark.parametrize("name", FAULTS)
def test_h065_h066_h068_h070_h074_h078_a_fault_has_its_check(world: World, name: str) -> None:
    fault, check = FAULTS[name]
    fault(world)
    if check == OPENED:
        with pytest.raises(Refused, match="does not take packed rows"):
            world.certify()
        return
    made = world.certify()
    assert check in [one.name for one in made.checks if not one.passed]
    with pytest.raises(Refused) as caught:
        certificate.require(made)
    assert caught.value.fix
    assert "\n" not in caught.value.message
    caught.value.message.encode()


def test_each_check_is_seen_to_fail() -> None:
    known = {check for _, check in FAULTS.values()}
    modules = [data_checks, row_checks]
    names = {
        value for module in modules for key, value in vars(module).items() if key.isupper() and isinstance(value, str)
    }
    assert names | {POSITIONS, ISOLATED, LOSS, GRADIENT, OPENED} == known
