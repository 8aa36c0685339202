"""Faults put into rows that a chat template wrote, and into the model's tokens: each is found, by its own check."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from basewright.data import files, prepare
from basewright.data.prepare import Options, Prepared
from basewright.errors import Refused, UsageError
from basewright.prove import certificate, chat_checks, data_checks, row_checks
from basewright.prove.chat_checks import Told
from basewright.records import Certificate, Example
from basewright.text import chat as chats
from basewright.text.encode import Encoded, control_id, controlled
from basewright.text.tokenizer import open_tokenizer
from tests.evaluate.chatml import chatml
from tests.models import tiny_llama
from tests.prove.test_faults import labelled, pairs, preferences, ratings, talks
from tests.text.chats import CHATML, INST, TURNS, chat, tokenizer

Rows = list[dict[str, Any]]
LIMIT, SIZE, PAD = 96, 10_000, 1


def prepared(rows: Rows, tmp: Path, source: str | chats.Chat = CHATML, **options: Any) -> Prepared:
    path = tmp / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    made = chat(source) if isinstance(source, str) else source
    return prepare.prepare(files.read(path), made.tokenizer, LIMIT, Options(chat=made, **options))


def told(data: Prepared) -> list[Told]:
    assert data.chat is not None
    examples = [one for taught in data.taught for one in prepare.examples(taught)]
    said = [turns for row in data.rows for turns in prepare.conversations(row, data.layout)]
    rows = prepare.encoded(data.taught, data.chat.tokenizer)
    return [Told(*one, data.shape in ("preference", "kto")) for one in zip(examples, rows, said, strict=True)]


def failed(texts: list[Told], source: str = CHATML, pad: int = 1, **more: Any) -> set[str]:
    checks = chat_checks.chat_checks(texts, chat(source), pad, LIMIT, SIZE, **more)
    return {check.name for check in checks if not check.passed}


@pytest.mark.parametrize("rows", [pairs, labelled, talks, preferences, ratings], ids=lambda rows: rows.__name__)
@pytest.mark.parametrize("source", [CHATML, INST, TURNS], ids=["ChatML", "Llama 2", "Gemma"])
def test_without_a_fault_all_checks_pass(rows: Callable[[], Rows], source: str, tmp_path: Path) -> None:
    data = prepared(rows()[:12], tmp_path, source)
    assert (len(data.rows), data.refused, len(data.stop_ids)) == (12, (), 1)
    assert failed(told(data), source) == set()


def number(text: str) -> int:
    return control_id(tokenizer(), text)


def spliced(row: Encoded, at: int, ids: list[int], learned: bool = False, until: int | None = None) -> Encoded:
    end = at if until is None else until
    return Encoded((*row.ids[:at], *ids, *row.ids[end:]), (*row.mask[:at], *[learned] * len(ids), *row.mask[end:]))


def masked(change: Callable[[list[bool]], list[bool]]) -> Callable[[Encoded], Encoded]:
    return lambda row: replace(row, mask=tuple(change(list(row.mask))))


def begin(row: Encoded) -> int:
    return row.mask.index(True)


def end(row: Encoded) -> int:
    """Behind the first answer."""
    return row.mask.index(False, begin(row))


TOKEN_FAULTS: dict[str, tuple[Callable[[Encoded], Encoded], set[str]]] = {
    "the prompt is learned": (masked(lambda mask: [True] * len(mask)), {chat_checks.LEARNED, row_checks.STOPS}),
    "the assistant's header is learned": (
        lambda row: replace(row, mask=tuple(m or i == begin(row) - 1 for i, m in enumerate(row.mask))),
        {chat_checks.LEARNED},
    ),
    "mask one too late": (
        masked(lambda mask: [False, *mask[:-1]]),
        {chat_checks.LEARNED, row_checks.STOPS},  # the first answer ends in the line's end behind its token
    ),
    "nothing is learned": (
        masked(lambda mask: [False] * len(mask)),
        {chat_checks.LEARNED, row_checks.STOPS, row_checks.TAUGHT},
    ),
    "only the last answer": (
        lambda row: replace(row, mask=tuple(m and i >= end(row) for i, m in enumerate(row.mask))),
        {chat_checks.LEARNED, row_checks.STOPS},
    ),
    "the last end missing": (
        lambda row: Encoded(row.ids[:-1], row.mask[:-1]),
        {chat_checks.READS, chat_checks.LEARNED, chat_checks.CONTROL, row_checks.STOPS},
    ),
    "the last end masked": (masked(lambda mask: [*mask[:-1], False]), {chat_checks.LEARNED, row_checks.STOPS}),
    "the first end masked": (
        lambda row: replace(row, mask=tuple(m and i != end(row) - 1 for i, m in enumerate(row.mask))),
        {chat_checks.LEARNED, row_checks.STOPS},
    ),
    "EOS instead of the template's end": (
        lambda row: Encoded((*row.ids[:-1], number("</s>")), row.mask),
        {chat_checks.READS, row_checks.STOPS},
    ),
    "BOS before the template's text": (
        lambda row: spliced(row, 0, [number("<s>")]),
        {chat_checks.READS, chat_checks.LEARNED, chat_checks.CONTROL},
    ),
    "BOS twice": (
        lambda row: spliced(row, 0, [number("<s>")] * 2),
        {chat_checks.READS, chat_checks.LEARNED, chat_checks.CONTROL, row_checks.STARTS},
    ),
    "BOS inside": (
        lambda row: spliced(row, 5, [number("<s>")]),
        {chat_checks.READS, chat_checks.LEARNED, chat_checks.CONTROL, row_checks.STARTS},
    ),
    "a control token in the question": (
        lambda row: spliced(row, 5, [number("<|im_end|>")], until=6),
        {chat_checks.READS, chat_checks.CONTROL},
    ),
    "a control token read as text": (
        lambda row: spliced(row, 0, tokenizer().ids("<|im_start|>"), until=1),
        {chat_checks.READS, chat_checks.LEARNED, chat_checks.CONTROL},
    ),
    "an answer cut": (
        lambda row: spliced(row, begin(row), [], until=begin(row) + 2),
        {chat_checks.READS, chat_checks.LEARNED},
    ),
    "longer than the model reads": (
        lambda row: spliced(row, 3, list(row.ids) * 3),
        {chat_checks.READS, chat_checks.LEARNED, chat_checks.CONTROL, row_checks.FITS},
    ),
    "an id that is in no table": (lambda row: spliced(row, 3, [SIZE], until=4), {row_checks.INSIDE}),
}


@pytest.mark.parametrize("name", TOKEN_FAULTS)
def test_a_fault_of_the_tokens_is_found(name: str, tmp_path: Path) -> None:
    change, checks = TOKEN_FAULTS[name]
    texts = told(prepared(talks(), tmp_path))
    texts[1] = replace(texts[1], row=change(texts[1].row))
    assert failed(texts) == checks


def test_an_answer_that_is_another_than_the_rows_is_found(tmp_path: Path) -> None:
    texts = told(prepared(talks(), tmp_path))
    pieces = tuple(replace(p, text="Elsewhere.") if p.learned and not p.control else p for p in texts[1].example.pieces)
    changed = Example(id="x", pieces=pieces)
    texts[1] = replace(texts[1], example=changed, row=controlled(tokenizer(), pieces))
    assert failed(texts) == {chat_checks.SAYS}


def test_h065_what_pads_is_no_end(tmp_path: Path) -> None:
    data = prepared(talks(), tmp_path)
    assert failed(told(data), pad=data.stop_ids[0]) == {row_checks.PADDING}


def test_untrained_tokens_are_counted_unless_they_are_trained(tmp_path: Path) -> None:
    texts, ids = told(prepared(talks(), tmp_path)), [number("<|im_start|>"), number("<|im_end|>")]
    assert failed(texts, untrained=ids) == failed(texts, untrained=ids, trains=ids[:1]) == {chat_checks.EMBEDDED}
    assert failed(texts, untrained=ids, trains=ids) == set()
    assert failed(texts, untrained=[texts[0].row.ids[2]]) == {row_checks.TRAINED}


def test_rows_that_a_template_does_not_write_are_refused_with_its_reason(tmp_path: Path) -> None:
    led = [{"messages": [{"role": "system", "content": "Be short."}, *talks()[0]["messages"]]}, *talks()[1:]]
    data = prepared(led, tmp_path, TURNS)
    (why,) = [check for check in data_checks.data_checks(data, None) if not check.passed]
    assert (why.name, "System role not supported" in why.how) == (data_checks.READ, True)
    assert data.ledger.rows("refused") == 1


def test_rows_without_turns_have_no_template(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="plain text has no turns"):
        prepared([{"text": "It goes on."}], tmp_path)
    with pytest.raises(UsageError, match="a classification head reads no turns"):
        prepared(labelled(), tmp_path, pools="last")


def test_a_layout_is_what_the_user_says(tmp_path: Path) -> None:
    data = prepared(labelled(), tmp_path, layout="Clause: {text}\nKind:")
    assert told(data)[0].begin.startswith("<|im_start|>user\nClause: the clock number 0 is gone\nKind:<|im_end|>\n")


# --- models ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tiny_llama(tmp_path_factory.mktemp("models") / "tiny", context=LIMIT, layers=1, width=32)
    return chatml(made, made.parent / "chat", std=0.2)


def test_an_end_that_only_the_output_never_learned_is_untrained(tmp_path: Path) -> None:
    """Of tables that are not tied: such a token can be read, and is never written."""
    folder = tiny_llama(tmp_path / "m", layers=1, width=32, tied=False)
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][7] = 0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert certificate.untrained(folder) == {PAD, 7}  # what pads begins as zeros


def certified(folder: Path, tmp: Path, trains: bool = False) -> Certificate:
    found = open_tokenizer(folder)
    data = prepared(talks(), tmp, chats.open_chat(chats.read(folder), found, "tiny"))
    tokens = certificate.untrained(folder) & set(data.control_ids) if trains else ()
    return certificate.certify_data(folder, "tiny", data, LIMIT, trains=tokens)


def test_a_certificate_names_where_answers_end(base: Path, tmp_path: Path) -> None:
    made = certified(base, tmp_path)
    certificate.require(made)
    end_id = control_id(open_tokenizer(base), "<|im_end|>")
    assert (made.eos_id, made.bos_id, made.pad_id != end_id) == (end_id, None, True)
    learned = "".join(text for text, counts in made.overlays[0].tokens if counts)
    assert learned == "By the sea, clock.<|im_end|>Late.<|im_end|>"


def zeros(table: torch.Tensor) -> None:
    table[-2:] = 0


def alike(table: torch.Tensor) -> None:
    table[-2] = table[-1]


def at_the_mean(table: torch.Tensor) -> None:
    """As transformers enlarges a table (`mean_resizing`)."""
    table[-2:] = table[:-2].mean(0) + 3e-5 * table[:-2].std(0) * torch.tensor([[1.0], [-1.0]])


@pytest.mark.parametrize("fault", [zeros, alike, at_the_mean], ids=lambda fault: fault.__name__)
def test_a_template_of_untrained_tokens_is_refused_with_the_way_on(
    base: Path, tmp_path: Path, fault: Callable[[torch.Tensor], None]
) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "changed"))
    weights = load_file(folder / "model.safetensors")
    fault(weights["model.embed_tokens.weight"])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    made = certified(folder, tmp_path)
    assert [check.name for check in made.checks if not check.passed] == [chat_checks.EMBEDDED]
    with pytest.raises(Refused) as caught:
        certificate.require(made)
    assert "<|im_start|>" in caught.value.message
    assert "--train-embeddings" in caught.value.fix
    certificate.require(certified(folder, tmp_path, trains=True))
