"""README.md of a release: the model card. Every number in it is in proof.json too, with how it was made."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator

from basewright import __version__
from basewright.records import LORA_NAMES, Scores
from basewright.release import facts
from basewright.release.markdown import checks, comparison, count, fence, interval, line, percent, size, table
from basewright.release.parts import Parts, label, path_of
from basewright.text import layout


def card(parts: Parts) -> str:
    """The whole page: YAML that model hubs read, then sections for a person."""
    sections = (_what, _use, _prompt, _proven, _artifacts, _chosen, _trained, _lineage, _limits, _licence)
    body = "\n\n".join("\n".join(section(parts)) for section in sections)
    return "\n".join(_front_matter(parts)) + "\n\n" + body + "\n"


def _front_matter(parts: Parts) -> Iterator[str]:
    """JSON strings are YAML strings, whatever a name holds."""
    yield "---"
    if parts.duties.hub:
        yield f"license: {parts.duties.hub}"
    else:
        yield "license: other"
        yield f"license_name: {_json(re.sub(r'[^a-z0-9.]+', '-', parts.duties.licence.casefold()))}"
    yield f"base_model: {_json(parts.card.id)}"
    yield "base_model_relation: finetune"
    yield f"language: {_json(list(parts.card.languages))}"
    yield "library_name: transformers"
    yield "pipeline_tag: text-generation"
    yield f"tags: {_json(['basewright', 'lora', 'text-classification', *(['gguf'] if parts.gguf else [])])}"
    yield "---"


def _what(parts: Parts) -> Iterator[str]:
    after = parts.proof.record.after
    yield f"# {line(parts.name)}"
    yield ""
    for display in parts.duties.displays:
        yield f"**{display}**\n"
    yield (
        f"A base model, `{parts.card.id}` ({count(parts.card.parameters)} parameters), tuned to one task:"
        f" `{line(parts.task.name)}`. It reads a text and continues the pattern below with one of"
        f" {len(parts.task.labels)} labels: {', '.join(f'`{line(name)}`' for name in parts.task.labels)}."
    )
    yield ""
    yield (
        f"On {after.accuracy.n} held-out texts it is right on {percent(after.accuracy)}; always answering the most"
        f" frequent label is right on {100 * after.majority:.1f} %."
    )


def _use(parts: Parts) -> Iterator[str]:
    ask = {"prompt": parts.prompt, "temperature": 0}
    yield "## Use it\n"
    yield "With Basewright, over the OpenAI completions API (ADDRESS is what the first command prints):\n"
    request = {"model": parts.name, **ask, "max_tokens": parts.max_tokens, "stop": list(parts.stops)}
    yield from fence(
        f"basewright serve {shlex.quote(parts.name)}\n"
        f'curl "$ADDRESS/v1/completions" -H "Content-Type: application/json" -d {shlex.quote(_json(request))}',
        "sh",
    )
    yield "\nWith transformers, in this folder:\n"
    yield from fence(
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'tokenizer = AutoTokenizer.from_pretrained("model")\n'
        'model = AutoModelForCausalLM.from_pretrained("model")\n'
        f"prompt = {_json(parts.prompt)}\n"
        'ids = tokenizer(prompt, return_tensors="pt")\n'
        f"answer = model.generate(**ids, max_new_tokens={parts.max_tokens}, do_sample=False)\n"
        'print(tokenizer.decode(answer[0, ids["input_ids"].shape[1]:], skip_special_tokens=True).strip())',
        "python",
    )
    if parts.gguf:
        request = {**ask, "n_predict": parts.max_tokens, "stop": list(parts.stops)}
        yield "\nWith llama.cpp (the raw completion, no chat template), or `ollama create NAME -f Modelfile`:\n"
        yield from fence(
            f"llama-server -m {shlex.quote(path_of(parts.gguf))} -c {parts.card.context} --port 8080\n"
            f"curl http://127.0.0.1:8080/completion -d {shlex.quote(_json(request))}",
            "sh",
        )


def _prompt(parts: Parts) -> Iterator[str]:
    bos = "starts with the BOS token, which the tokenizer adds" if parts.adapter.record.bos else "starts without BOS"
    yield "## The prompt, exactly\n"
    yield f"The model learned this layout and no other; `{{text}}` is the text to label. A prompt {bos}.\n"
    yield from fence(parts.adapter.record.layout.prompt)
    yield "\nA row of the training data as the model reads it. It continues with"
    yield f"`{layout.target(parts.example.label)}` (with the space), then EOS:\n"
    yield from fence(parts.prompt)


def _proven(parts: Parts) -> Iterator[str]:
    proof = parts.proof.record
    before, after = proof.before, proof.after
    yield "## What was proven\n"
    yield f"On the `{after.split}` split, which neither training nor choosing saw.\n"
    yield from table(
        ("", f"before (`{before.model}`, {_shots(before)})", f"after ({_shots(after)})"),
        (
            ("accuracy", percent(before.accuracy), percent(after.accuracy)),
            ("surprise of the right label, bits", interval(before.bits), interval(after.bits)),
            ("most frequent label", f"{100 * before.majority:.1f} %", f"{100 * after.majority:.1f} %"),
            ("general text, bits per byte", f"{proof.general_bits_before:.4f}", f"{proof.general_bits_after:.4f}"),
        ),
    )
    yield ""
    yield f"{comparison(proof.gain)} Intervals: {after.accuracy.method} and {proof.gain.difference.method}.\n"
    yield f"Made with engine `{after.how.engine}` in {after.how.precision}; prompts `{after.how.prompt_hash}`."
    yield "Answers are compared by the log-likelihood of each label"
    yield f"(normalisation: {line(after.how.normalisation)}). Item by item: `proof.json`.\n"
    yield from checks([pair for pair in parts.checks if pair[0] in ("training data", "trained model")])


def _artifacts(parts: Parts) -> Iterator[str]:
    yield "## What is in this folder\n"
    yield "Each form was compared with the trained model before it was released.\n"
    yield from table(
        ("form", "files", "size"),
        [(label(a), ", ".join(f"`{e.name}`" for e in a.files), size(a.size)) for a in parts.artifacts],
    )
    yield ""
    yield from checks([(label(a), check) for a in parts.artifacts for check in a.checks])
    for skipped in parts.converted.record.skipped:
        yield f"\nNot checked here: {line(skipped)}"


def _chosen(parts: Parts) -> Iterator[str]:
    choice = parts.choice.record
    asked, spent = choice.question, choice.spent
    tied = ", ".join(f"`{line(name)}`" for name in choice.tied)
    tie = f"A tie: {tied} cannot be separated; `{line(choice.winner)}` was taken."
    outcome = f"`{line(choice.winner)}` won." if choice.verdict == "winner" else tie
    yield "## How the base was chosen\n"
    yield f"{outcome} Confidence {100 * asked.confidence:.0f} %. Rule: {line(choice.rule)}"
    if choice.beaten_by:
        beaten = ", ".join(f"`{line(name)}`" for name in choice.beaten_by)
        yield f"\n**Scored higher on the same items, without a base model or without tuning one: {beaten}.**"
    yield (
        f"\nSpent: {spent.evaluations} items answered, {spent.tunings} pilot tunings on {spent.examples} training"
        f" examples; measuring everything would have taken {choice.exhaustive.evaluations},"
        f" {choice.exhaustive.tunings} and {choice.exhaustive.examples}.\n"
    )
    yield from table(
        ("candidate", "kind", "parameters", f"accuracy ({asked.decides})", "left"),
        [
            (
                f"`{s.model}`",
                s.kind,
                count(s.parameters) if s.kind == "base model" else "",
                percent(s.score) if s.score else "",
                f"{s.dropped.when}: {s.dropped.reason}" if s.dropped else "",
            )
            for s in choice.ranked
        ],
    )
    for duel in choice.duels:
        yield (
            f"\n`{line(duel.first)}` minus `{line(duel.second)}`: {100 * duel.difference:+.1f} points on {duel.items}"
            f" items, {100 * duel.low:+.1f} to {100 * duel.high:+.1f} for future tunings and items: {duel.outcome}."
        )


def _trained(parts: Parts) -> Iterator[str]:
    adapter, certificate, ledger = parts.adapter.record, parts.certificate.record, parts.task.ledger
    train = adapter.train
    rate = f"{train.learning_rate:g}, warm-up {train.warmup} steps, weight decay {train.weight_decay:g}"
    split = f"{len(parts.task.train)} train, {len(parts.task.choose)} choose, {len(parts.task.test)} test"
    rows = f"{ledger.read} read, {ledger.used} used ({split}), {ledger.duplicates} exact duplicates left out"
    supervised = f"{certificate.tokens}, loss on {certificate.supervised_tokens}; longest {certificate.longest}"
    lora = adapter.lora
    yield "## Training\n"
    yield from table(
        ("", ""),
        (
            (
                "method",
                f"{LORA_NAMES[lora.variant]}, rank {lora.rank}, alpha {lora.alpha:g}, merged into the weights",
            ),
            ("targets", ", ".join(f"`{name}`" for name in adapter.lora.targets)),
            ("trained parameters", count(adapter.trainable)),
            ("steps", f"{train.steps}, at most {train.batch_tokens} tokens each, seed {train.seed}, {train.precision}"),
            ("learning rate", rate),
            ("tokens seen", count(adapter.tokens)),
            ("loss, nats per supervised token", f"{adapter.first_loss:.4f} at first, {adapter.last_loss:.4f} at last"),
            ("compute", _flops(parts)),
            ("rows", rows),
            ("labels", ", ".join(f"`{line(name)}` {n}" for name, n in certificate.labels.items())),
            ("tokens of the data", supervised),
            ("hash of the data", f"`{certificate.data_hash}`"),
        ),
    )
    yield f"\n{_share(parts)}"


def _flops(parts: Parts) -> str:
    rule = 4.0 * parts.card.parameters * parts.adapter.record.tokens
    return (
        f"{parts.adapter.record.flops:.3g} FLOPs counted; 4·N·D = {rule:.3g}"
        " (N parameters of the frozen base, D tokens seen; forward, and backward through the activations)"
    )


def _share(parts: Parts) -> str:
    """The ratio the EU's guidelines ask for (H120); 1e23 FLOPs, their line for a general-purpose model, stands in for
    a base whose compute is unknown."""
    seen = parts.card.tokens_seen
    base = 6.0 * parts.card.parameters * seen if seen else 1e23
    origin = f"6·N·D over the {count(seen)} tokens its card states" if seen else "unknown, so 1e23 stands in"
    return (
        f"Compute of this change over compute of the base: {parts.adapter.record.flops / base:.3g}"
        f" (base: {base:.3g} FLOPs, {origin}). The EU's guidelines for general-purpose AI (C(2025) 7719, points 57 to"
        " 63, read second-hand) name one third as the indicative line above which a modifier counts as a provider."
    )


def _lineage(parts: Parts) -> Iterator[str]:
    yield "## Lineage\n"
    yield from table(
        ("role", "id", "hash of its record"),
        [(row["role"], f"`{row['id']}`", f"`{row['record_sha256']}`") for row in facts.lineage(parts)],
    )
    yield f"\nBase commit `{parts.weights.record.commit}`, task version `{parts.task.version}`,"
    yield f"made with basewright {__version__}. `MANIFEST.json` holds the hash of every file, `bom.json` the ML-BOM"
    yield "(CycloneDX 1.6)."


def _limits(parts: Parts) -> Iterator[str]:
    yield "## Intended use and limits\n"
    yield f"- Meant for one thing: labelling texts like those of `{line(parts.task.name)}` with one of its labels."
    yield "- Asked for the likeliest label it always names one, also for a text where none fits; left to write freely"
    yield "  it can write something that is no label. Have a person look where it matters."
    yield f"- It reads at most {parts.card.context} tokens and has {count(parts.card.parameters)} parameters. It was"
    yield "  not taught to chat, to follow instructions or to know facts, and was not measured on them."
    yield f"- Languages of the base: {', '.join(parts.card.languages)}. In any other it was not measured."
    yield f"- The numbers hold for texts drawn like the {parts.proof.record.after.accuracy.n} it was measured on, and"
    yield "  their intervals say how far; texts of another origin can do worse. Fairness and misuse were not measured."
    yield "- Its labels are statistics, not professional advice."


def _licence(parts: Parts) -> Iterator[str]:
    yield "## Licence\n"
    yield f"`{parts.duties.licence}`, from the base model. What was changed is in `NOTICE`.\n"
    if parts.duties.non_commercial:
        yield "**Not for commercial use.**\n"
    for terms in parts.duties.terms:
        read = "read in the licence's text" if terms.checked else "not checked against the licence's text"
        yield f"{terms.title} (<{terms.source.url}>; duties {read}, {terms.source.read_on}):\n"
        yield from (f"- {duty}" for duty in terms.duties or ("nothing is asked of you",))
        if terms.use_policy:
            yield f"- the use policy: <{terms.use_policy}>"
        yield ""
    yield "Who hands this model on has the same duties. This list helps to keep them; it is not legal advice."


def _shots(scores: Scores) -> str:
    return f"{scores.how.shots} examples in the prompt" if scores.how.shots else "no examples in the prompt"


def _json(value: object) -> str:
    """JSON that is YAML and Python too: characters beyond ASCII as themselves, since surrogate pairs are neither."""
    return json.dumps(value, ensure_ascii=False)
