"""Make a base model from scratch: tokenizer, corpus, decoder, training, card. What it learned is measured held out."""

from __future__ import annotations

import copy
import sysconfig
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from basewright import store
from basewright.catalog.architectures import shape_of
from basewright.data.corpora import documents
from basewright.data.pack import Ints, Order, Packed, pack, windowed
from basewright.data.windows import Windows, tokenize
from basewright.engine.torch_lm import TorchLM, open_lm
from basewright.errors import DataError
from basewright.records import (
    Checkpoint,
    Corpus,
    HeldOut,
    ModelCard,
    PretrainSettings,
    Progress,
    Source,
)
from basewright.store import Work
from basewright.text import encode
from basewright.text.encode import Encoded
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from basewright.train import attention, baselines, heldout, loop, losses, memorised, pretrained_card, quick, ranks

END = "<|endoftext|>"
PAD = "<|pad|>"
"""Not EOS: a model whose padding is its EOS cannot be taught to stop (H065)."""


class Form(NamedTuple):
    """The control tokens of a tokenizer as tokenizer_config.json names them, and how one text or two stand in them."""

    control: dict[str, str]
    single: str
    pair: str


FORM = Form({"bos_token": END, "eos_token": END, "pad_token": PAD}, f"{END} $A", f"{END} $A {END} $B")


def pretrain(settings: PretrainSettings, root: Path, work: Work, progress: Progress) -> Checkpoint:
    """Write a standard Hugging Face folder (bfloat16 safetensors, tokenizer, config) into `work.out`.

    `root` is what relative corpus paths start from. Resumes from `work.scratch` after a kill.
    """
    corpus_of, scratch = settings.corpus, ranks.own(work.scratch)
    texts, held = learned(corpus_of, root), held_out(corpus_of, root)
    train_tokenizer(texts, settings, FORM, scratch)
    tokenizer = open_tokenizer(scratch)
    ids = partial(encode.document, tokenizer)
    corpus = tokenize(texts, ids, tokenizer.size, scratch / "corpus.npy", progress).windows(settings.context)
    order = Order(corpus.lengths, settings.train.micro_tokens, settings.train.batch_tokens, settings.train.seed)
    model = _new_model(settings, tokenizer)

    def rows(step: int) -> list[Packed]:
        whole = [pack([_all(corpus[i]) for i in micro]) for micro in order.step(step)]
        return [windowed(row, settings.window) for row in whole] if step < settings.window_until else whole

    def validate(trained: Any) -> HeldOut:
        with loop.precision(settings.train.precision):
            return heldout.measure(TorchLM(name=settings.name, model=plain(trained), tokenizer=tokenizer), held)

    state = loop.run(
        model,
        rows,
        losses.next_token,
        settings.train,
        work.scratch,
        progress,
        identity=store.digest({"settings": settings, "corpus": corpus.digest}),
        validate=validate,
        validate_every=settings.validate_every,
        flops_per_token=6.0 * sum(p.numel() for p in model.parameters()),
    )
    write(model, work)
    lm = open_lm(work.out, settings.name)
    held_ids = [encode.document(tokenizer, text) for text in held]
    parameters = sum(p.numel() for p in model.parameters())
    made = Checkpoint(
        name=settings.name,
        card=card_of(settings, tokenizer.size, parameters, state.tokens),
        train=settings.train,
        corpus=settings.corpus.paths,
        documents=len(texts),
        corpus_bytes=sum(len(text.encode()) for text in texts),
        corpus_tokens=len(corpus.ids),
        tokens=state.tokens,
        flops=6.0 * parameters * state.tokens,
        curve=tuple(state.curve),
        baselines=baselines.all_of(held, held_ids, corpus.ids, tokenizer.size),
        held_out=heldout.measure(lm, held),
        memorisation=memorised.measure(lm, _seen(corpus, order, settings.train.steps), held_ids),
        sha256=store.sha256_of(work.out / "model.safetensors"),
    )
    store.write(work.out / "README.md", pretrained_card.page(made, settings).encode())
    return made


def _all(ids: Ints) -> Encoded:
    return Encoded(tuple(ids.tolist()), (True,) * len(ids))


def _seen(corpus: Windows, order: Order, steps: int) -> list[tuple[int, ...]]:
    """Segments that were learned from, of steps spread evenly over the run."""
    spread = np.linspace(0, steps - 1, min(steps, memorised.WINDOWS)).astype(int)
    segments = {order.step(int(step))[0][0] for step in spread}
    return [tuple(corpus[segment].tolist()) for segment in sorted(segments)]


def fingerprint(settings: PretrainSettings, root: Path) -> str:
    """Names and sizes of every file of the corpus: with the settings, what a run is cached by."""
    found = []
    for path in (*settings.corpus.paths, *settings.corpus.held_out):
        place = _place(path, root)
        files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
        found += [(file.name, file.stat().st_size) for file in files if file.exists()]
    return store.digest(found)


# --- corpus ---------------------------------------------------------------------------------------


def learned(corpus: Corpus, root: Path) -> list[str]:
    """Documents up to `max_bytes`, the same share of each path, so that no source crowds out another."""
    shares = {path: corpus.limits.get(path, corpus.max_bytes // len(corpus.paths)) for path in corpus.paths}
    return _read(shares, corpus.exclude + corpus.held_out, corpus, root)


def held_out(corpus: Corpus, root: Path) -> list[str]:
    shares = {path: corpus.held_out_bytes // len(corpus.held_out) for path in corpus.held_out}
    return _read(shares, (), replace(corpus, document_bytes=corpus.held_out_bytes), root)


def _read(shares: dict[str, int], exclude: tuple[str, ...], corpus: Corpus, root: Path) -> list[str]:
    texts: list[str] = []
    left_out = {_place(path, root) for path in exclude}
    for path, left in shares.items():
        for text in documents(_place(path, root), corpus.suffixes, left_out):
            if left <= 0:
                break
            if text.strip():
                texts.append(text[: min(left, corpus.document_bytes)])
                left -= len(texts[-1].encode())
    if not texts:
        raise DataError("the corpus holds no document", fix="correct [corpus].paths and [corpus].suffixes")
    return texts


def _place(path: str, root: Path) -> Path:
    """`{stdlib}` is the running interpreter's own standard library; other paths start from the recipe's folder."""
    return root / path.replace("{stdlib}", sysconfig.get_path("stdlib"))


# --- tokenizer and model --------------------------------------------------------------------------


def train_tokenizer(texts: list[str], settings: PretrainSettings, form: Form, folder: Path) -> None:
    """Byte-level BPE with GPT-2's pre-tokenization, which llama.cpp knows by name."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    control = list(dict.fromkeys(form.control.values()))
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary,
        special_tokens=control,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(
        (text[i : i + 100_000] for text in texts for i in range(0, len(text), 100_000)), trainer
    )
    backend.post_processor = processors.TemplateProcessing(
        single=form.single, pair=form.pair, special_tokens=[(token, backend.token_to_id(token)) for token in control]
    )
    backend.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **form.control,
        "model_max_length": settings.context,
        "clean_up_tokenization_spaces": False,
    }
    store.write_json(folder / "tokenizer_config.json", config)


def _new_model(settings: PretrainSettings, tokenizer: Tokenizer) -> Any:
    attention.install()
    config = LlamaConfig(
        vocab_size=tokenizer.size,
        hidden_size=settings.width,
        intermediate_size=settings.feed_forward,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.kv_heads,
        max_position_embeddings=settings.context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
    )
    torch.manual_seed(settings.train.seed)
    model = LlamaForCausalLM(config).float()
    _start_as_nothing(model)
    model.set_attn_implementation(attention.NAME)
    quick.quicken(model)
    return model


@torch.no_grad()
def _start_as_nothing(model: Any) -> None:
    """Each layer adds zero at first: gradients flow past it, and it learns from what the embedding says alone."""
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()


def plain(model: Any) -> Any:
    """The same weights, whole, in a model that runs as anyone's does."""
    same: Any = type(model)(copy.deepcopy(model.config))
    same.load_state_dict({name: ranks.whole(one) for name, one in model.state_dict().items()}, assign=True)
    same.tie_weights()  # `assign` makes two of one matrix
    same.set_attn_implementation("sdpa")
    return same.eval()


def write(model: Any, work: Work) -> None:
    plain(model).to(torch.bfloat16).save_pretrained(work.out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (work.out / name).write_bytes((work.scratch / name).read_bytes())
    (work.out / "events.jsonl").write_bytes((work.scratch / "events.jsonl").read_bytes())


def card_of(settings: PretrainSettings, vocabulary: int, parameters: int, tokens: int) -> ModelCard:
    """`vocabulary` is what the tokenizer learned: a small corpus holds fewer merges than were asked for."""
    config = {
        "model_type": "llama" if settings.kind == "decoder" else "modernbert",
        "num_hidden_layers": settings.layers,
        "hidden_size": settings.width,
        "num_attention_heads": settings.heads,
        "num_key_value_heads": settings.kv_heads,
        "head_dim": settings.width // settings.heads,
        "intermediate_size": settings.feed_forward,
        "vocab_size": vocabulary,
        "max_position_embeddings": settings.context,
        "tie_word_embeddings": True,
        **({"global_attn_every_n_layers": 1} if settings.kind == "encoder" else {}),
    }
    return ModelCard(
        id=settings.name,
        family="foundling" if settings.name.startswith("foundling") else settings.name,
        kind=settings.kind,
        nature="base",
        location=".",
        licence=settings.licence,
        parameters=parameters,
        active_parameters=parameters,
        shape=shape_of(config),
        config=config,
        precision="bfloat16",
        context=settings.context,
        languages=settings.languages,
        tokens_seen=tokens,
        sources=tuple(Source(url=one.url, read_on=one.read_on, words=one.licence) for one in settings.corpus.sources),
        curated=False,
    )
