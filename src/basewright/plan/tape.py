"""Bytes a token that one layer keeps for the backward pass, and what it needs on top for a moment.

D is the model's width, F the feed-forward's, Q = heads x head_dim, K = kv_heads x head_dim. The figures are what
autograd was seen to keep, in float32 and bfloat16, exact to the byte for the families of `traits.FAMILIES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from basewright.plan.model import Model
from basewright.plan.traits import Role

FLOAT = 4
ROUTING = 10
"""Values of routing, for each expert a token is sent to: weights, and indices before and after sorting."""


class Piece(NamedTuple):
    name: str
    bytes: int
    """For one token in one layer."""


@dataclass(frozen=True, slots=True)
class Step:
    """How a training step is made, as far as layers keep other things then."""

    trained: bool
    """All weights are trained, else an adapter on `targets`."""
    reads: Mapping[Role, int]
    """Adapters of a layer that read the same input."""
    ranks: int
    """Values a token between the halves of all adapters of a layer."""
    outputs: int
    """Of a layer's maps whose magnitudes are learned apart (DoRA), values a token; 0 where none are."""
    size: int
    """Bytes of a value that matrix products read and write."""
    autocast: bool
    """Weights and what flows between layers are float32; each map makes its own copy of its input in 16 bits."""
    scores: bool
    """The scores of all pairs of tokens are kept: attention's math kernel."""
    own: bool
    """Basewright's loop: rows are packed into one (`train.attention`), which copies attention's output once more."""
    written: bool
    """Norms, rotation and the gated product have their gradients written out (`train.quick`)."""
    widened: bool
    """What is kept in 16 bits is multiplied in float32 (`train.kernels`)."""
    context: int

    @property
    def flow(self) -> int:
        """Bytes of a value between layers."""
        return FLOAT if self.autocast else self.size


def kept(model: Model, step: Step, *, sparse: bool, windowed: bool) -> list[Piece]:
    """What autograd keeps of one token in one layer, `sparse` for one with experts."""
    own = [*_norms(model, step), *_attention(model, step, windowed), *(_experts if sparse else _forward)(model, step)]
    return [*own, Piece("what maps and adapters give, apart", 2 * step.outputs * step.size)]


def _inputs(model: Model, step: Step, role: Role, width: int) -> int:
    """The input of linear maps: kept once for weight gradients; for adapters in float32, on bfloat16 once for each.

    Adapters whose gradient is written out keep it once, as it is; PEFT computes those of maps with a bias, and DoRA,
    itself.
    """
    count = step.reads[role]
    if step.own and not step.trained:
        apart = model.traits.biased or step.outputs > 0
        return width * step.size * (count if apart and step.size < FLOAT else min(count, 1))
    if step.autocast:
        shared = step.trained and role in ("attention out", "forward out")  # which are in 16 bits already
        return width * step.size * (1 if shared else count)
    if step.trained:
        return width * step.size
    return width * FLOAT * (count if step.size < FLOAT else min(count, 1))


def _norms(model: Model, step: Step) -> list[Piece]:
    shape, traits = model.shape, model.traits
    width, inputs = shape.width, 1 if shape.parallel else traits.norms
    if traits.norm == "layer":
        moments = 2 * traits.norms * step.flow
        return [Piece("norm inputs", inputs * width * step.flow), Piece("means and deviations", moments)]
    if step.written:
        return [Piece("norm inputs", inputs * width * step.flow), Piece("deviations", traits.norms * FLOAT)]
    pieces = [Piece("norm inputs in float32", inputs * width * FLOAT), Piece("deviations", traits.norms * FLOAT)]
    if step.trained:
        pieces.append(Piece("normalised", inputs * width * step.flow))
    return pieces


def _attention(model: Model, step: Step, windowed: bool) -> list[Piece]:
    shape, traits, size = model.shape, model.traits, step.size
    queries, keys, repeats = model.queries, model.keys, model.queries != model.keys
    pieces = [Piece("inputs of attention's maps", _inputs(model, step, "attention in", shape.width))]
    if traits.joined_qkv:
        rotated = queries + keys if traits.rotary else 0
        pieces.append(Piece("queries, keys, values, joined", (queries + 2 * keys + rotated) * size))
    else:
        pieces.append(Piece("queries, keys, values", (queries + 2 * keys) * size))
    if traits.norms_of_heads:
        normed = (queries + keys) * (FLOAT + (size if step.trained else 0))
        pieces.append(Piece("norms of queries and keys", normed + (shape.heads + shape.kv_heads) * FLOAT))
    pieces.append(Piece("attention's output", queries * size))
    if step.scores or traits.explicit_scores:
        spread = 2 * (queries - keys) * size if repeats else 0
        pieces.append(Piece("scores, heads x context", shape.heads * step.context * FLOAT + spread))
    else:
        pieces.append(Piece("log-sum-exp of each head", shape.heads * FLOAT))
    if windowed and not step.own and shape.window and step.context > shape.window:
        pieces.append(Piece("mask of the window", step.context * size))
    reads_copy = step.trained or step.reads["attention out"] > 0
    if step.size < FLOAT and not step.trained and not step.own:
        pieces.append(Piece("input of the output map", _inputs(model, step, "attention out", queries)))
    elif reads_copy and (step.own or traits.copies_out):
        pieces.append(Piece("attention's output, copied", queries * size))
    return [*pieces, Piece("between the adapters' halves", step.ranks * (step.size if step.autocast else FLOAT))]


def _forward(model: Model, step: Step) -> list[Piece]:
    shape, traits, size = model.shape, model.traits, step.size
    wide = shape.feed_forward
    shared = traits.norms == 1 and (step.trained or step.size == FLOAT)
    pieces = [Piece("input of the feed-forward", 0 if shared else _inputs(model, step, "forward in", shape.width))]
    if step.written:
        pieces.append(Piece("gate, up", 2 * wide * size))
    elif shape.gated:
        pieces.append(Piece("gate, its activation, up", 3 * wide * size))
    else:
        inner = {"one": 1, "written out": 4, "relu": 0}[traits.activation]
        pieces.append(Piece("activation's input and steps", inner * wide * size))
    if shape.gated or traits.activation == "written out":
        pieces.append(Piece("input of the last map", _inputs(model, step, "forward out", wide)))
    else:
        pieces.append(Piece("activation", _activated(model, step)))
    return pieces


def _activated(model: Model, step: Step) -> int:
    """The output of an activation of one operation, kept where the last map or a ReLU asks for it."""
    wide = model.shape.feed_forward
    asked = _inputs(model, step, "forward out", wide)
    if model.traits.activation != "relu":
        return asked
    return wide * step.size + (asked if step.size < FLOAT and not step.trained else 0)


def _experts(model: Model, step: Step) -> list[Piece]:
    """Stacked experts, as transformers' grouped matrix products take them; adapters do not reach them, nor does
    autocast."""
    shape, size, active = model.shape, step.flow, model.shape.experts_active
    wide = active * shape.expert_feed_forward
    pieces = [
        Piece("experts: gate and up, activation", 3 * wide * size),
        Piece("experts: outputs", active * shape.width * size),
        Piece("routing", (shape.experts + ROUTING * active) * FLOAT),
        Piece("shared expert", 3 * shape.shared_feed_forward * size),
    ]
    if step.trained:
        inputs = shape.width + active * shape.width + wide + shape.shared_feed_forward
        pieces.append(Piece("experts: inputs of their maps", inputs * size))
    return pieces


def total(pieces: list[Piece]) -> int:
    return sum(piece.bytes for piece in pieces)


# --- what is kept once ----------------------------------------------------------------------------


def once(model: Model, step: Step) -> int:
    """Bytes a token outside the layers: the last norm and its output, of encoders their head and their first norm.

    With an adapter the first layer keeps no input, which makes up for the last norm. Packed rows have angles of
    their own; the input of their output map is counted where the loss is computed.
    """
    width, flow = model.shape.width, step.flow
    if step.own:
        angles = 2 * model.shape.head_dim * flow if model.traits.rotary else 0
        if not step.trained:
            return angles
        wide = FLOAT if model.traits.norm == "rms" else 0
        return angles + width * (flow if step.written else wide + flow)
    if model.traits.head == "masked":
        first = 2 if model.traits.rotary else 0  # ModernBERT's first layer has no norm of its own
        return ((5 if step.trained else 3) - first) * width * step.size
    if not step.trained:
        return 0
    return width * ((FLOAT if model.traits.norm == "rms" else 0) + flow + step.size)


# --- on top, for a moment -------------------------------------------------------------------------


def on_top(model: Model, step: Step, *, sparse: bool) -> int:
    """Bytes a token that the backward pass of the last layer needs above all that is kept."""
    shape, traits, size = model.shape, model.traits, step.size
    width, wide = shape.width, shape.feed_forward
    if sparse:
        active = shape.experts_active
        inner, outer = active * shape.expert_feed_forward, active * shape.width
        feed = (2 * inner - outer - 2 * width) if step.trained else (3 * inner - outer)
        feed = max(feed, 4 * width if step.trained else 3 * outer)
        return max(feed * size, _norm_stage(model, step))
    last = step.reads["forward out"] > 0
    if shape.gated:
        inner = 2 if step.trained or last else 3
    elif traits.activation == "one":
        inner = 1 if step.trained else 2
    elif traits.activation == "relu":
        inner = 2 if step.trained else 3
    else:
        inner = 2
    feed = inner * wide - _gone(model, step) * width
    if traits.head == "masked":
        feed -= 3 * width
    scores = 0
    if step.scores or traits.explicit_scores:
        passed = total(_forward(model, step)) + once(model, step) + (width * size if step.trained else 0)
        scores = 2 * shape.heads * step.context * FLOAT - passed
    directed = 0
    if step.outputs and size < FLOAT:  # what a map and its adapter give, each times its part of the magnitude, added
        directed = wide * (3 * FLOAT + (size if traits.biased else 0))
    return max(feed * size, _norm_stage(model, step), scores, directed)


def _gone(model: Model, step: Step) -> int:
    """Widths of what `once` counts and has gone when the feed-forward's gradients are computed, less the one that
    flows in."""
    if not step.trained:
        return 0
    return (1 if model.traits.norm == "rms" and not step.written else 0) + (0 if step.own else 1)


def widened(model: Model, step: Step) -> list[tuple[int, int]]:
    """(bytes a token, values of maps) in float32 while an adapter's gradient is computed: of the last map, and, when
    its input and what came of gate and up have gone, of those two.

    A map's gradient and input are copied to float32, and the gradient of its input is copied back.
    """
    if not step.widened or model.traits.biased:
        return []
    width, wide, size = model.shape.width, model.shape.feed_forward, step.size
    found = []
    if step.reads["forward out"]:
        found.append((wide * (2 * FLOAT + size) + width * (FLOAT + size), wide * width))
    if step.reads["forward in"] and model.shape.gated:
        gone = (2 if step.written else 3) * wide * size + (wide * size if step.reads["forward out"] else 0)
        found.append((2 * wide * (FLOAT + size) + 2 * width * FLOAT + width * 2 * size - gone, 2 * wide * width))
    return found


def _norm_stage(model: Model, step: Step) -> int:
    width = model.shape.width
    if model.traits.norm == "layer":
        return width * step.size * (1 if step.trained else 2)
    if step.size < FLOAT:
        return width * FLOAT * (4 if step.trained else 5)
    return width * FLOAT * (3 if step.trained else 5)


def forward(model: Model, step: Step, *, sparse: bool) -> int:
    """Bytes a token that one layer needs when nothing is kept for a backward pass."""
    shape, traits, size = model.shape, model.traits, step.size
    width, wide = shape.width, shape.feed_forward
    if sparse:
        active = shape.experts_active
        inner, outer = active * shape.expert_feed_forward, active * shape.width
        need = 4 * width + max(4 * inner + outer, 4 * outer) + shape.experts + ROUTING * active
    elif shape.gated:
        need = (4 if traits.joined_gate else 3) * wide + (5 if traits.head == "masked" else 4) * width
    elif traits.activation == "written out":
        need = 4 * wide + (5 if not traits.rotary else 4) * width
    else:
        need = 2 * wide + (3 if traits.head == "masked" else 4) * width
    if step.scores or traits.explicit_scores:
        return max(need * size, 2 * shape.heads * step.context * FLOAT + 8 * width * size)
    return need * size
