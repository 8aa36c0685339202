"""Pretraining of encoders: tokens are hidden and foreseen from both sides (Devlin et al. 2019, BERT).

The architecture is ModernBERT's (Warner et al. 2024), every layer seeing its whole row: rotary positions, so that short
windows teach what long rows need too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import ModernBertConfig, ModernBertForMaskedLM

from basewright import store
from basewright.data import pack
from basewright.data.pack import IGNORE, Order, Packed
from basewright.data.windows import Tokens, Windows, tokenize
from basewright.engine.torch_lm import load_model
from basewright.errors import Refused
from basewright.records import Checkpoint, HeldOut, PretrainSettings, Progress, silent
from basewright.store import Work
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from basewright.train import attention, loop, losses, pretrained_card, quick, ranks
from basewright.train import pretrain as pretraining

START, END, PAD, MASK = "[CLS]", "[SEP]", "[PAD]", "[MASK]"
FORM = pretraining.Form(
    {"bos_token": START, "eos_token": END, "cls_token": START, "sep_token": END, "pad_token": PAD, "mask_token": MASK},
    f"{START} $A {END}",
    f"{START} $A {END} $B {END}",
)
HIDDEN, REPLACED = 0.8, 0.1
"""Of the tokens that are asked for, those behind the mask and those replaced by some other; the rest stay as they are
(Devlin et al. 2019, 3.1): a tuned encoder never sees the mask."""
ASKED = 0.15
"""Share of held-out tokens that are hidden, whatever a recipe hides: BERT's, so that figures compare."""
ROPE = 10_000.0
ROW = 2048
"""Tokens of held-out text that are measured at a time."""


def pretrain(settings: PretrainSettings, root: Path, work: Work, progress: Progress) -> Checkpoint:
    """Write a standard Hugging Face folder (bfloat16 safetensors, tokenizer, config) into `work.out`.

    `root` is what relative corpus paths start from. Resumes from `work.scratch` after a kill.
    """
    texts, held = pretraining.learned(settings.corpus, root), pretraining.held_out(settings.corpus, root)
    scratch = ranks.own(work.scratch)
    pretraining.train_tokenizer(texts, settings, FORM, scratch)
    tokenizer = open_tokenizer(scratch)
    corpus = tokenize(texts, tokenizer.ids, tokenizer.size, scratch / "corpus.npy", progress)
    asked = tokenize(held, tokenizer.ids, tokenizer.size, scratch / "held.npy", silent)
    short, whole = (_phase(settings, corpus, size, tokenizer) for size in (_short(settings), settings.context))
    questions = _questions(asked, _short(settings), tokenizer)
    model = new_model(settings, tokenizer)

    def rows(step: int) -> list[Packed]:
        objective, order = short if step < settings.window_until else whole
        return [objective.pack(micro, step) for micro in order.step(step)]

    state = loop.run(
        model,
        rows,
        losses.masked,
        settings.train,
        work.scratch,
        progress,
        identity=store.digest({"settings": settings, "corpus": whole[0].windows.digest}),
        validate=lambda trained: measure(trained.eval(), questions),
        validate_every=settings.validate_every,
        flops_per_token=6.0 * sum(p.numel() for p in model.parameters()),
    )
    pretraining.write(model, work)
    parameters = sum(p.numel() for p in model.parameters())
    made = Checkpoint(
        name=settings.name,
        card=pretraining.card_of(settings, tokenizer.size, parameters, state.tokens),
        train=settings.train,
        corpus=settings.corpus.paths,
        documents=len(texts),
        corpus_bytes=sum(len(text.encode()) for text in texts),
        corpus_tokens=len(corpus.ids),
        tokens=state.tokens,
        flops=6.0 * parameters * state.tokens,
        curve=tuple(state.curve),
        baselines=baselines(corpus, questions, tokenizer.size),
        held_out=measure(load_model(work.out, attention=attention.NAME), questions),
        sha256=store.sha256_of(work.out / "model.safetensors"),
    )
    store.write(work.out / "README.md", pretrained_card.page(made, settings).encode())
    return made


# --- what is asked --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Marks:
    """Ids that stand around text and in its place, and those that text can have."""

    start: int
    end: int
    mask: int
    text: NDArray[np.int64]


def marks(tokenizer: Tokenizer) -> Marks:
    """Raises `Refused` for a tokenizer without a mask or a start: a decoder's."""
    if tokenizer.mask_id is None or tokenizer.bos_id is None:
        raise Refused("this tokenizer has no token that hides another", fix="use the tokenizer of an encoder")
    control = set(tokenizer.backend.get_added_tokens_decoder())
    text = np.array([i for i in range(tokenizer.size) if i not in control], dtype=np.int64)
    return Marks(tokenizer.bos_id, tokenizer.eos_id, tokenizer.mask_id, text)


@dataclass(frozen=True, slots=True)
class Masked:
    """Foresee the share `rate` of each window's tokens from all the others, on both sides.

    Which tokens, and what stands in their place, is a pure function of (seed, step, window): drawn anew at each step,
    as in RoBERTa, and the same in every run. BERT's rate is 0.15; higher ones learn faster (Wettig et al. 2023).
    """

    windows: Windows
    marks: Marks
    rate: float
    seed: int
    hidden: float = HIDDEN
    """Share of those tokens behind the mask; where that is 1, none is replaced or stays."""

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of each window between its start and its end."""
        return tuple(length + 2 for length in self.windows.lengths)

    def pack(self, rows: Sequence[int], step: int) -> Packed:
        return pack.joined([self._one(row, step) for row in rows])

    def _one(self, row: int, step: int) -> Packed:
        """A window in its marks, which are never asked for."""
        draw = np.random.Generator(np.random.Philox(key=[self.seed, step], counter=[0, 0, 0, row]))
        text = self.windows[row]
        asked = draw.permutation(len(text))[: max(1, round(self.rate * len(text)))]
        chance = draw.random(len(asked))
        seen, labels = text.copy(), np.full(len(text) + 2, IGNORE, dtype=np.int64)
        labels[asked + 1] = text[asked]
        seen[asked[chance < self.hidden]] = self.marks.mask
        other = asked[(chance >= self.hidden) & (chance < self.hidden + REPLACED)]
        seen[other] = draw.choice(self.marks.text, len(other))
        return pack.segment(np.concatenate([[self.marks.start], seen, [self.marks.end]]), labels)


def _short(settings: PretrainSettings) -> int:
    return settings.window or settings.context


def _phase(settings: PretrainSettings, corpus: Tokens, size: int, tokenizer: Tokenizer) -> tuple[Masked, Order]:
    """Windows of one size, and their order."""
    train = settings.train
    objective = Masked(corpus.windows(size - 2), marks(tokenizer), settings.masked, train.seed)
    return objective, Order(objective.lengths, train.micro_tokens, train.batch_tokens, train.seed)


def _questions(held: Tokens, size: int, tokenizer: Tokenizer) -> list[Packed]:
    """Held-out text with the same tokens hidden in every run."""
    objective = Masked(held.windows(size - 2), marks(tokenizer), ASKED, seed=0, hidden=1.0)
    order = Order(objective.lengths, max(ROW, *objective.lengths), ROW, seed=0)
    return [objective.pack(micro, 0) for step in order.epoch(0) for micro in step]


# --- what is measured -----------------------------------------------------------------------------


@torch.no_grad()
def measure(model: Any, questions: Sequence[Packed]) -> HeldOut:
    """Nats per hidden token, and the share of them that the model holds likeliest."""
    nats, right, asked = 0.0, 0, 0
    for row in questions:
        hidden_ND, labels_N = losses.hidden(model, row)
        keep = labels_N != IGNORE
        logits_KV = model.get_output_embeddings()(losses.before_output(model, hidden_ND[keep])).float()
        nats += functional.cross_entropy(logits_KV, labels_N[keep], reduction="sum").item()
        right += int((logits_KV.argmax(-1) == labels_N[keep]).sum())
        asked += len(logits_KV)
    return HeldOut(masked=nats / asked, foreseen=right / asked)


def baselines(corpus: Tokens, questions: Sequence[Packed], vocabulary: int) -> dict[str, float]:
    """Nats per hidden token that need no model: all tokens alike, and by how often each came in the corpus, one added
    to each."""
    labels = np.concatenate([row.labels for row in questions])
    often = np.bincount(np.asarray(corpus.ids), minlength=vocabulary) + 1
    unigram = -np.log(often / often.sum())[labels[labels != IGNORE]].mean()
    return {"uniform": math.log(vocabulary), "unigram": float(unigram)}


# --- the model ------------------------------------------------------------------------------------


def new_model(settings: PretrainSettings, tokenizer: Tokenizer) -> Any:
    """Random weights, in float32; each layer adds zero at first."""
    attention.install()
    torch.manual_seed(settings.train.seed)
    model = ModernBertForMaskedLM(_config(settings, tokenizer)).float()
    with torch.no_grad():
        for layer in model.model.layers:
            layer.attn.Wo.weight.zero_()
            layer.mlp.Wo.weight.zero_()
    model.set_attn_implementation(attention.NAME)
    quick.quicken(model)
    return model


def _config(settings: PretrainSettings, tokenizer: Tokenizer) -> ModernBertConfig:
    rope = {"rope_type": "default", "rope_theta": ROPE}
    return ModernBertConfig(
        vocab_size=tokenizer.size,
        hidden_size=settings.width,
        intermediate_size=settings.feed_forward,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        max_position_embeddings=settings.context,
        layer_types=["full_attention"] * settings.layers,
        rope_parameters={"full_attention": rope, "sliding_attention": rope},
        classifier_pooling="mean",
        tie_word_embeddings=True,
        cls_token_id=tokenizer.bos_id,
        bos_token_id=tokenizer.bos_id,
        sep_token_id=tokenizer.eos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=tokenizer.pad_id,
    )
