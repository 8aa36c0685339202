"""README.md of a tuned model: what it is, how it is asked and loaded, what it was made of and what was measured."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from basewright import __version__
from basewright.catalog import licences
from basewright.data.prepare import Prepared, wanted
from basewright.records import (
    Certificate,
    Check,
    Example,
    Interval,
    Judged,
    Layout,
    Measured,
    Scores,
    Surprise,
    TrainSettings,
    Weights,
    record,
)
from basewright.release import head_card
from basewright.release.markdown import checks, comparison, count, fence, line, percent, table
from basewright.text import layout as layouts


@record
class Tuning:
    """Everything a card is written from, beside what was measured."""

    name: str
    base: Weights
    base_folder: Path
    method: str
    lora: str
    """Rank, alpha and targets in words; empty where all weights were trained."""
    trained: int
    """Parameters."""
    train: TrainSettings
    tokens: int
    losses: tuple[float, float]
    """Nats, first and last step."""
    unit: str
    """What a loss is of: `supervised token`, or `pair` of answers."""
    layout: Layout
    bos: bool
    stop_ids: tuple[int, ...]
    stops: tuple[str, ...]
    """The same as text."""
    certificate: Certificate
    data: Prepared
    held: Prepared | None
    values: tuple[tuple[str, str, str], ...]
    """Setting, value, reason."""
    beside: tuple[str, ...]
    """What else is to be said of the training, in sentences."""
    general: str
    """What general text was measured on."""
    labels: tuple[str, ...] = ()
    """Of the classification head that gives them; empty where answers are written."""


def card(tuning: Tuning, measured: Measured | Scores | None, merged: Sequence[Check] = (), whole: bool = False) -> str:
    """The page. `whole`: beside a model's own files; `merged` are the checks of a merge, if there was one. `measured`
    of a head are its scores, if any."""
    whole = whole or not tuning.lora
    if isinstance(measured, Measured):
        used = (_load(tuning, whole), _prompt(tuning), _measured(tuning, measured))
    else:
        used = (head_card.load(tuning.layout), head_card.classes(tuning.labels), head_card.scored(measured))
    parts = [
        _what(tuning, whole),
        *used,
        _merged(merged),
        _data(tuning),
        _settings(tuning),
        _limits(tuning),
        _licence(tuning),
    ]
    sections = ["\n".join(part) for part in parts]
    body = "\n\n".join(section for section in sections if section)
    return "\n".join(_front_matter(tuning, whole)) + "\n\n" + body + "\n"


def _front_matter(tuning: Tuning, whole: bool) -> Iterator[str]:
    """JSON strings are YAML strings, whatever a name holds."""
    licence = tuning.base.card.licence
    terms = licences.find(licence)
    yield "---"
    if len(terms) == 1 and terms[0] and terms[0].hub:
        yield f"license: {terms[0].hub}"
    else:
        yield "license: other"
        yield f"license_name: {_json(re.sub(r'[^a-z0-9.]+', '-', licence.casefold()))}"
    yield f"base_model: {_json(tuning.base.card.id)}"
    yield f"base_model_relation: {'finetune' if whole else 'adapter'}"
    yield f"language: {_json(list(tuning.base.card.languages))}"
    yield f"library_name: {'transformers' if whole else 'peft'}"
    yield f"pipeline_tag: {'text-classification' if tuning.labels else 'text-generation'}"
    yield f"tags: {_json(['basewright', tuning.method])}"
    yield "---"


def _what(tuning: Tuning, whole: bool) -> Iterator[str]:
    base = tuning.base
    form = "a whole model" if whole else "an adapter, to be put on its base"
    yield f"# {line(tuning.name)}\n"
    yield (
        f"The base model `{base.card.id}` ({count(base.card.parameters)} parameters), tuned by `{tuning.method}` on"
        f" {count(tuning.certificate.rows)} rows of the shape {tuning.data.shape}. This folder holds {form}."
    )
    yield f"\nBase commit `{base.commit}`{f', revision `{base.revision}` of its hub' if base.revision else ''}."
    yield f"Made with basewright {__version__}."


# --- use ------------------------------------------------------------------------------------------


def _load(tuning: Tuning, whole: bool) -> Iterator[str]:
    yield "## Load it\n"
    if whole:
        yield "With transformers, where this folder is `FOLDER`:\n"
        names, opened = "", 'model = AutoModelForCausalLM.from_pretrained("FOLDER")'
    else:
        yield f"With peft, where this folder is `FOLDER` and the files of `{tuning.base.card.id}` are in `BASE`:\n"
        names = "from peft import PeftModel\n"
        opened = (
            'base = AutoModelForCausalLM.from_pretrained("BASE")\nmodel = PeftModel.from_pretrained(base, "FOLDER")'
        )
    ends = list(tuning.stop_ids)
    asked = f'ids = tokenizer({_json(_asked(tuning))}, return_tensors="pt")\n'
    if tuning.data.chat is not None:
        asked = _conversation(whole)
    yield from fence(
        f"{names}from transformers import AutoModelForCausalLM, AutoTokenizer\n\n{opened}\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{"FOLDER" if whole else "BASE"}")\n'
        f"{asked}"
        f"answer = model.generate(**ids, max_new_tokens=64, do_sample=False, eos_token_id={ends})\n"
        'print(tokenizer.decode(answer[0, ids["input_ids"].shape[1]:], skip_special_tokens=True))',
        "python",
    )
    yield "\nWith Basewright, by this folder or by the id of the result, on a text that is put into the layout:\n"
    yield from fence('basewright complete RESULT --text "…"\nbasewright serve RESULT', "sh")


def _prompt(tuning: Tuning) -> Iterator[str]:
    bos = "starts with the BOS token, which the tokenizer adds" if tuning.bos else "starts without BOS"
    ends = ", ".join(f"{number} (`{text}`)" for number, text in zip(tuning.stop_ids, tuning.stops, strict=True))
    shown = shortest(tuning.data)
    yield "## The prompt, exactly\n"
    yield f"The model learned this layout and no other. A prompt {bos}. An answer ends at the token {ends}.\n"
    chat = tuning.data.chat
    yield from fence(tuning.layout.prompt if chat is None else chat.shown(tuning.layout.prompt))
    if chat is not None:
        yield "\nIt is written by the chat template, in which control tokens stand as they are spelled here.\n"
    if shown is not None:
        asked, answer = _parted(shown)
        yield "\nA row of the training data as the model reads it; what is learned stands in the second block:\n"
        yield from fence(asked or "(nothing)")
        yield ""
        yield from fence(answer)


def _parted(shown: Example) -> tuple[str, str]:
    """(what stands before the last answer, that answer)."""
    parts = [list(group) for _, group in groupby(shown.pieces, lambda piece: piece.learned)]
    texts = ["".join(piece.text for piece in part) for part in parts]
    return "".join(texts[:-1]), texts[-1]


def _conversation(whole: bool) -> str:
    """How transformers asks, in a line of Python: with the template that was learned."""
    learned = "" if whole else 'chat_template=open("FOLDER/chat_template.jinja").read(), '
    return (
        f'ids = tokenizer.apply_chat_template([{{"role": "user", "content": "…"}}], {learned}'
        'add_generation_prompt=True, return_dict=True, return_tensors="pt")\n'
    )


def shortest(data: Prepared) -> Example | None:
    """The shortest training row; a held-out row is never shown."""
    rows = wanted(data)
    return min(rows, key=lambda one: (sum(len(piece.text) for piece in one.pieces), one.id), default=None)


def _asked(tuning: Tuning) -> str:
    shown = shortest(tuning.data)
    text = "".join(piece.text for piece in shown.pieces[:-1]) if shown else ""
    return text or layouts.prompt(tuning.layout, "Once upon a time")


# --- what was measured ----------------------------------------------------------------------------


def _measured(tuning: Tuning, measured: Measured) -> Iterator[str]:
    yield "## Before and after\n"
    if tuning.held is None:
        yield "No rows were held out (`--test`), so nothing is known of rows that were not learned.\n"
    else:
        yield f"On {count(len(tuning.held.taught))} rows of `{line(tuning.held.name)}`, of which none was learned.\n"
    rows = [*_judged(measured.judged), *_surprises(measured)]
    yield from table(("", "base", "tuned", "tuned minus base"), rows)
    if measured.judged:
        yield f"\nHow: {measured.judged.how}. {comparison(measured.judged.gain)}"
    yield f"\nGeneral text: {tuning.general}."
    if measured.tasks:
        yield "\nOther tasks, not tuned for (a loss is forgetting):\n"
        yield from table(
            ("task", "metric", "base", "tuned", "tuned minus base", "the tuned model is"),
            [
                (
                    one.task,
                    one.metric,
                    f"{one.second.value:.4f}",
                    f"{one.first.value:.4f}",
                    signed(one.difference),
                    one.verdict,
                )
                for one in measured.tasks.tasks
            ],
        )
    else:
        yield "No other task was measured."


def _judged(judged: Judged | None) -> Iterator[tuple[str, ...]]:
    if judged:
        yield judged.metric, percent(judged.before), percent(judged.after), percent(judged.gain.difference)
        if judged.majority:
            yield "most frequent answer", f"{100 * judged.majority:.1f} %", f"{100 * judged.majority:.1f} %", ""


def _surprises(measured: Measured) -> Iterator[tuple[str, ...]]:
    named = (("held-out rows, ", measured.held), ("general text, ", measured.general))
    for name, one in named:
        if one:
            yield f"{name}{one.unit}", f"{one.before:.4f}", f"{one.after:.4f}", _change(one)


def _change(one: Surprise) -> str:
    return signed(one.change)


def signed(it: Interval) -> str:
    """A difference with its interval; unbounded where one text bounds no mean."""
    if it.high - it.low > 1e300:
        return f"{it.value:+.4f}, no interval of {it.n}"
    return f"{it.value:+.4f} [{it.low:+.4f}, {it.high:+.4f}], {100 * it.confidence:g} %, n = {it.n}"


def _merged(merged: Sequence[Check]) -> Iterator[str]:
    if merged:
        yield "## The merge\n"
        yield "The adapter was merged into the weights, and the result compared with the adapter on its base.\n"
        yield from checks([("merge", check) for check in merged])


# --- what it was made of --------------------------------------------------------------------------


def _data(tuning: Tuning) -> Iterator[str]:
    seen, data = tuning.certificate, tuning.data
    yield "## Data\n"
    yield from table(
        ("", ""),
        (
            ("source", f"`{line(data.name)}`, {data.shape}"),
            ("rows read", count(data.ledger.read)),
            *((f"rows {fate.what}", f"{count(fate.rows)}: {fate.why}") for fate in data.ledger.fates),
            ("texts learned", count(seen.rows)),
            ("tokens", f"{count(seen.tokens)}, loss on {count(seen.supervised_tokens)}; longest {count(seen.longest)}"),
            *(
                (("labels", ", ".join(f"`{line(name)}` {n}" for name, n in seen.labels.items())),)
                if seen.labels
                else ()
            ),
            ("hash", f"`{seen.data_hash}`"),
            ("checks passed", str(len(seen.checks))),
        ),
    )
    for hint in data.hints:
        yield f"\nSeen in the rows: {hint.kind}, in {count(hint.rows)}. A hint; nothing was changed."


def _settings(tuning: Tuning) -> Iterator[str]:
    train, (first, last) = tuning.train, tuning.losses
    yield "## Training\n"
    yield from table(
        ("setting", "value", "why"),
        (
            *tuning.values,
            ("schedule", f"cosine to {train.final_learning_rate:g}", ""),
            ("clip", f"{train.clip:g}", "of the gradient's norm"),
            ("seed", str(train.seed), ""),
        ),
    )
    of = f" ({tuning.lora})" if tuning.lora else ""
    yield f"\nTrained parameters: {count(tuning.trained)}{of}. Tokens seen: {count(tuning.tokens)}."
    yield f"Loss, nats per {tuning.unit}: {first:.4f} at the first step, {last:.4f} at the last."
    yield from tuning.beside


def _limits(tuning: Tuning) -> Iterator[str]:
    card = tuning.base.card
    languages = ", ".join(card.languages) or "unknown"
    yield "## Limits\n"
    yield f"- It reads at most {count(card.context)} tokens. Languages of the base: {languages}."
    yield "- Numbers hold for texts drawn like those it was measured on, and their intervals say how far."
    yield "- Facts, other tasks, fairness and misuse were not measured, unless said above."
    yield "- A prompt in another layout than the one above was not trained."


def _licence(tuning: Tuning) -> Iterator[str]:
    licence = tuning.base.card.licence
    yield "## Licence\n"
    yield f"`{licence}`, from the base model. The rows it was tuned on may ask for more.\n"
    for part, terms in zip(licences.parts(licence), licences.find(licence), strict=True):
        if terms is None:
            yield f"The licence `{line(part)}` is not known here: read it before you hand this on."
            continue
        read = "read in the licence's text" if terms.checked else "not checked against the licence's text"
        yield f"{terms.title} (<{terms.source.url}>; duties {read}, {terms.source.read_on}):\n"
        yield from (f"- {duty}" for duty in terms.duties or ("nothing is asked of you",))
        if terms.use_policy:
            yield f"- the use policy: <{terms.use_policy}>"
        if terms.display:
            yield f"- shown word for word: {terms.display}"
        if terms.name_prefix:
            yield f"- a name that begins with {terms.name_prefix}"
        yield ""
    yield "Who hands this on has the same duties. This list helps to keep them; it is not legal advice."


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
