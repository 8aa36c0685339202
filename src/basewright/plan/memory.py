"""The memory of a job in closed form, term by term. Nothing is measured here and no library is loaded.

A training step needs most at one of four moments, and a plan is made for that one: when the loss is computed, in the
backward pass of the last layer or of the first, or when the optimizer moves the weights. What layers keep for the
backward pass is in `plan.tape`. On a CPU the figures hold for a process that gives freed memory back at once; where
there is room, one that keeps it is faster (`plan.fit.prepare`). While a model is loaded the pages of its file are
resident too; they are not counted: the kernel takes them back before it runs out.

`python -m benchmarks.plan` compares all of it with the peaks of real runs (docs/plan.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import get_args

from basewright.plan import tape, traits
from basewright.plan.model import Model
from basewright.records import Ask, Memory, Part, Term

MIB = 2**20
FLOAT = 4
SIZES = {"float32": 4, "bfloat16": 2, "float16": 2, "mixed": 4}
"""Bytes of a weight."""
TRAINING = ("lora", "qlora", "full", "pretrain", "dpo")
WHOLE = ("full", "pretrain")
"""Jobs that train every weight; the others train an adapter."""
NF4 = 4.127
"""Bits of a weight in QLoRA: 4, and 0.127 for its doubly quantized scale (Dettmers et al. 2023, §3)."""
BITS = {"f16": 16.0, "q8_0": 8.5, "q4_k_m": 4.89, "nf4": NF4}
"""Bits of a weight at rest. q8_0 stores a float16 scale with every 32 values (ggml, `block_q8_0`); q4_k_m mixes types,
4.57 of 14.96 GB for Llama 3.1 8B (runyard.dev/blog/q4-k-m-vs-q5-k-m-vs-q6-k-vs-q8-0-quantization-quality-loss)."""
CHUNK, FEWEST, LOGITS = 2048, 64, 2**22
"""Positions and logits that exist at a time in training, at most (`train.losses`)."""
OWN_TOKENS = 64
"""Tokens that an evaluated row has of its own, beyond the prefix all rows share; shorter ones need more memory."""
UBATCH = 512
"""Tokens of a prompt that llama.cpp computes at once."""
IMPORTS = 410 * MIB
"""Resident once torch 2.13 (CPU), transformers 5.23, peft 0.21, scipy, pydantic and rich are imported; 409 seen."""
FIRST_STEP = 42 * MIB
"""What a first training step of next to nothing adds: libraries that load late, code of kernels, small blocks."""
FIRST_USE = 28 * MIB
"""The same where nothing is trained."""
CONTEXT = 723 * MIB
"""A CUDA context with PyTorch's kernels; not measured here (discuss.pytorch.org/t/73021 saw 723 MiB, others 800)."""
CUBLAS = 32 * MIB
"""Workspace that cuBLAS asks for on Hopper, 4 MiB before (pytorch pull request 120925)."""
SLACK = {"cpu": 0.0, "cuda": 0.05, "rocm": 0.05, "metal": 0.05}
"""Share of activations and logits lost between blocks of the allocator. On a CPU measured, with freed memory given
back; on a GPU stated, not measured."""


@dataclass(frozen=True, slots=True)
class Need:
    memory: Memory
    terms: tuple[Term, ...]
    moment: str


def need(model: Model, ask: Ask, kind: str = "cpu") -> Need:
    """What `ask` needs on a device of that kind."""
    if ask.job in TRAINING:
        moment, terms = _training(model, ask, kind)
    elif ask.job == "serve" and ask.quantization:
        moment, terms = "a prompt is read", _llama_cpp(model, ask)
    elif ask.job == "evaluate":
        moment, terms = "rows are computed", _evaluation(model, ask)
    else:
        moment, terms = "a prompt is read", _completion(model, ask)
    terms += [*_slack(terms, kind), *_runtime(kind, ask.job in TRAINING)]
    return Need(_memory(terms), tuple(terms), moment)


def _memory(terms: Iterable[Term]) -> Memory:
    sums: dict[Part, int] = dict.fromkeys(get_args(Part), 0)
    for term in terms:
        sums[term.part] += term.bytes
    return Memory(**sums)


# --- terms ----------------------------------------------------------------------------------------


def product(part: Part, name: str, **factors: float) -> Term:
    """A term that multiplies what its formula names."""
    value = 1.0
    for factor in factors.values():
        value *= factor
    return Term(
        part=part,
        name=name,
        formula=" x ".join(word.replace("_", " ") for word in factors),
        filled=" x ".join(
            f"{factor:,.4g}" if isinstance(factor, float) else f"{factor:,}" for factor in factors.values()
        ),
        bytes=round(value),
    )


def _pieces(part: Part, name: str, count: str, times: int, pieces: Iterable[tape.Piece]) -> Term:
    """A term that multiplies a sum of pieces."""
    parts = [piece for piece in pieces if piece.bytes]
    return Term(
        part=part,
        name=name,
        formula=f"{count} x ({' + '.join(piece.name for piece in parts)})",
        filled=f"{times:,} x ({' + '.join(f'{piece.bytes:,}' for piece in parts)})",
        bytes=times * sum(piece.bytes for piece in parts),
    )


def _slack(terms: Iterable[Term], kind: str) -> list[Term]:
    share = SLACK[kind]
    moving = sum(term.bytes for term in terms if term.part in ("activations", "logits"))
    return [product("fragmentation", "between blocks", share=share, activations_and_logits=moving)] if share else []


def _runtime(kind: str, trains: bool) -> list[Term]:
    if kind == "cpu":
        first = FIRST_STEP if trains else FIRST_USE
        return [
            product("runtime", "imported libraries", MiB=IMPORTS // MIB, bytes=MIB),
            product("runtime", "what a first step adds", MiB=first // MIB, bytes=MIB),
        ]
    return [
        product("runtime", "context and kernels", MiB=CONTEXT // MIB, bytes=MIB),
        product("runtime", "workspace of matrix products", MiB=CUBLAS // MIB, bytes=MIB),
    ]


# --- weights --------------------------------------------------------------------------------------


def _weights(model: Model, ask: Ask) -> list[Term]:
    size = SIZES[ask.precision]
    if ask.job == "qlora":
        rest = model.parameters - model.in_maps
        terms = [
            product("weights", "linear maps in NF4", values=model.in_maps, bits=NF4, bytes_a_bit=1 / 8),
            product("weights", "everything else", values=rest, bytes=size),
        ]
    else:
        terms = [product("weights", "weights", parameters=model.parameters, bytes=size)]
    if ask.job in WHOLE or ask.job not in TRAINING:
        return terms
    return [*terms, product("weights", "adapter in float32", values=trainable(model, ask), bytes=FLOAT)]


def kv_cache(model: Model, context: int, rows: int, size: int) -> Term:
    """Keys and values of every token a layer still sees: the whole context, or its window."""
    shape = model.shape
    if shape.cache_width is not None:
        return product(
            "kv_cache",
            "latent cache",
            layers=shape.layers,
            values=shape.cache_width,
            tokens=context,
            rows=rows,
            bytes=size,
        )
    seen = min(context, shape.window) if shape.window else context
    if shape.windowed and seen < context:
        layers_tokens = shape.windowed * seen + (shape.layers - shape.windowed) * context
        return product(
            "kv_cache",
            f"keys and values, {shape.windowed} layers of {seen:,} tokens",
            two=2,
            layers_x_tokens=layers_tokens,
            kv_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            rows=rows,
            bytes=size,
        )
    return product(
        "kv_cache",
        "keys and values",
        two=2,
        layers=shape.layers,
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        tokens=context,
        rows=rows,
        bytes=size,
    )


# --- training -------------------------------------------------------------------------------------


def _training(model: Model, ask: Ask, kind: str) -> tuple[str, list[Term]]:
    """The moment that needs most, and its terms."""
    moments = {
        "the loss is computed": _at_loss(model, ask, kind),
        "the last layer's gradients are computed": _at_last(model, ask, kind),
        **({"the norms of a map are computed": _at_norms(model, ask, kind)} if ask.directed else {}),
        "the first layer's gradients are computed": _at_first(model, ask, kind),
        "the optimizer moves the weights": _at_optimizer(model, ask, kind),
    }
    moment = max(moments, key=lambda name: sum(term.bytes for term in moments[name]))
    resting = [*_weights(model, ask), _optimizer(model, ask)]
    return moment, _spread(model, ask, [*resting, *moments[moment]])


def _at_loss(model: Model, ask: Ask, kind: str) -> list[Term]:
    """All activations, and the loss."""
    loss = _fused(model, ask, kind) if fused(model, ask) else _autograd(model, ask, kind)
    return [*_gradients_before(model, ask), *_kept(model, ask, kind), *_cast(model, ask), *loss]


def fused(model: Model, ask: Ask) -> bool:
    """Whether the gradient of the loss is made with the logits: Basewright's loop, and an output that is a matrix."""
    capped = model.card.config.get("final_logit_softcapping") is not None
    return _own(model, ask) and model.traits.head == "map" and not capped


def positions(model: Model, ask: Ask) -> int:
    """Whose logits exist at a time."""
    if not _own(model, ask):
        return at_once(ask)
    return min(at_once(ask), CHUNK, max(FEWEST, LOGITS // model.shape.vocabulary))


def _autograd(model: Model, ask: Ask, kind: str) -> list[Term]:
    """The log-probabilities with two gradients of them: autograd's, and that of the softmax."""
    logits = product(
        "logits",
        "log-probabilities and two gradients of them",
        three=3,
        positions=positions(model, ask),
        vocabulary=model.shape.vocabulary,
        bytes=FLOAT,
    )
    return [*_gathered(model, ask, kind, 1), logits] if _own(model, ask) else [logits]


def _fused(model: Model, ask: Ask, kind: str) -> list[Term]:
    """Logits, log-probabilities of them and of the chunk before; all weights are trained: the output map's gradient,
    and one chunk's part of it, for which the logits have gone."""
    chunk, vocabulary, tokens = positions(model, ask), model.shape.vocabulary, at_once(ask)
    arrays = 3 if tokens > chunk else 2
    terms = _gathered(model, ask, kind, 2)
    if ask.job in WHOLE:
        terms.append(product("gradients", "of the output map", values=model.table, bytes=FLOAT))
        if model.table > (arrays - 1) * chunk * vocabulary:
            terms.append(product("gradients", "a chunk's part of it", values=model.table, bytes=FLOAT))
            arrays = 1
    elif step_of(model, ask, kind).widened:
        values = model.table + chunk * model.shape.width
        terms.append(product("activations", "output map and its input, in float32", values=values, bytes=FLOAT))
    logits = product("logits", "logits of a chunk", arrays=arrays, positions=chunk, vocabulary=vocabulary, bytes=FLOAT)
    return [*terms, logits]


def _gathered(model: Model, ask: Ask, kind: str, times: int) -> list[Term]:
    """Of packed rows: the last hidden states of supervised tokens, and their gradient where it exists."""
    step = step_of(model, ask, kind)
    return [
        product(
            "activations",
            "last hidden states, gathered, their gradient" if times == 2 else "last hidden states, gathered",
            times=times,
            tokens=at_once(ask),
            width=model.shape.width,
            bytes=step.flow,
        )
    ]


def _at_last(model: Model, ask: Ask, kind: str) -> list[Term]:
    step, sparse = step_of(model, ask, kind), model.shape.experts > 0
    tokens = at_once(ask)
    terms = [
        *_kept(model, ask, kind),
        *_cast(model, ask),
        *_on_top(model, step, tokens, sparse=sparse),
        *_recomputed(model, ask, kind),
        *_dequantized(model, ask, kind),
    ]
    before = _gradients_before(model, ask)
    if not before and ask.job in WHOLE:
        values = model.table + _begun(model)
        head = product("gradients", "of the output map and the first of a layer", values=values, bytes=step_bytes(ask))
        return [head, *terms]
    return [*before, *terms]


def _at_norms(model: Model, ask: Ask, kind: str) -> list[Term]:
    """DoRA as peft computes it: B A of a map by way of the identity, its base's weight, and their sum, in float32."""
    whole, identity = max((o * i, i * i) for name in model.targets(ask.targets) for o, i in model.maps[name])
    wholes = (3 if ask.precision == "float32" else 4) * whole
    return [
        *_gradients_before(model, ask),
        *_kept(model, ask, kind),
        *_recomputed(model, ask, kind),
        product("activations", "of one map, for its norms", values=wholes + identity, bytes=FLOAT),
    ]


def _begun(model: Model) -> int:
    """Values of a layer's gradients while its feed-forward's are computed: the last map's; of experts, all."""
    shape = model.shape
    return model.per_layer if shape.experts else min(model.per_layer, shape.width * shape.feed_forward)


def _on_top(model: Model, step: tape.Step, tokens: int, *, sparse: bool) -> list[Term]:
    """What the gradients of one layer need above what it kept: in float32, or in the precision they are kept in."""
    stages = [(tape.on_top(model, step, sparse=sparse), 0), *tape.widened(model, step)]
    size, maps = max(stages, key=lambda stage: tokens * stage[0] + FLOAT * stage[1])
    terms = [product("activations", "on top, in one layer", tokens=tokens, bytes_a_token=size)]
    return [*terms, product("activations", "maps in float32", values=maps, bytes=FLOAT)] if maps else terms


def _at_first(model: Model, ask: Ask, kind: str) -> list[Term]:
    step, shape = step_of(model, ask, kind), model.shape
    sparse, tokens = shape.experts > shape.dense_layers * shape.experts, at_once(ask)
    pieces = tape.kept(model, step, sparse=sparse, windowed=False)
    outside = tape.once(model, step)  # has gone, and `on_top` is what is needed beyond it
    return [
        _gradients_at_first(model, ask),
        _pieces("activations", "kept by one layer", "tokens", tokens, [*pieces, tape.Piece("what flows in", outside)]),
        *_on_top(model, step, tokens, sparse=sparse),
        *_cast(model, ask),
        *_dequantized(model, ask, kind),
    ]


def _gradients_at_first(model: Model, ask: Ask) -> Term:
    if ask.job not in WHOLE or accumulation(ask) > 1:
        return _gradients(model, ask)
    later = model.per_layer - _begun(model) + (0 if model.shape.tied else model.table)
    values = model.parameters - later
    return product("gradients", "of all but the embedding and most of a layer", values=values, bytes=step_bytes(ask))


def _at_optimizer(model: Model, ask: Ask, kind: str) -> list[Term]:
    """AdamW goes through the tensors one by one on a CPU, and takes all at once on a GPU."""
    if kind == "cpu":
        largest = model.largest if ask.job in WHOLE else 0
        moving = product(
            "activations", "AdamW: root and quotient of the largest", two=2, values=largest, bytes=step_bytes(ask)
        )
    else:
        moving = product("optimizer", "AdamW: roots of all", values=trainable(model, ask), bytes=step_bytes(ask))
    return [_gradients(model, ask), moving]


def _kept(model: Model, ask: Ask, kind: str) -> list[Term]:
    step, shape, tokens = step_of(model, ask, kind), model.shape, at_once(ask)
    if ask.checkpointing:
        terms = [
            product(
                "activations",
                "kept between layers",
                layers=shape.layers + (0 if step.trained else 1),  # with an adapter the first layer's input too
                tokens=tokens,
                width=shape.width,
                bytes=step.flow,
            )
        ]
    else:
        terms = [
            _pieces(
                "activations",
                f"kept by {count} layers{' with experts' if sparse else ''}{' with a window' if windowed else ''}",
                "layers x tokens",
                count * tokens,
                tape.kept(model, step, sparse=sparse, windowed=windowed),
            )
            for count, sparse, windowed in kinds_of_layers(model)
            if count
        ]
    if ask.directed:  # |W + s B A|, the magnitudes over it, and that less 1
        values = model.outputs(ask.targets)
        terms.append(product("activations", "norms and magnitudes", three=3, values=values, bytes=FLOAT))
    return [*terms, product("activations", "outside the layers", tokens=tokens, bytes_a_token=tape.once(model, step))]


def _recomputed(model: Model, ask: Ask, kind: str) -> list[Term]:
    if not ask.checkpointing:
        return []
    step = step_of(model, ask, kind)
    pieces = max(
        (
            tape.kept(model, step, sparse=sparse, windowed=windowed)
            for count, sparse, windowed in kinds_of_layers(model)
            if count
        ),
        key=tape.total,
    )
    again = [*pieces, tape.Piece("less its input", -model.shape.width * step.flow)]
    return [_pieces("activations", "of one layer, computed again", "tokens", at_once(ask), again)]


def _cast(model: Model, ask: Ask) -> list[Term]:
    """Autocast keeps every matrix it has cast until the step is over."""
    if ask.precision != "mixed":
        return []
    return [product("activations", "matrices cast to bfloat16", values=model.in_maps + model.table, bytes=2)]


def _dequantized(model: Model, ask: Ask, kind: str) -> list[Term]:
    """Maps of one input are read out of NF4 together by our kernels; where they multiply in float32, see `_on_top`."""
    step = step_of(model, ask, kind)
    if ask.job != "qlora" or (step.widened and not model.traits.biased):
        return []
    values = max(o * i for each in model.maps.values() for o, i in each)
    if step.own and model.shape.gated:
        values = max(values, 2 * model.shape.width * model.shape.feed_forward)
    return [product("activations", "maps of one input, out of NF4", values=values, bytes=SIZES[ask.precision])]


def trainable(model: Model, ask: Ask) -> int:
    if ask.job in WHOLE:
        return model.parameters
    return model.adapter(ask.rank, ask.targets) + (model.outputs(ask.targets) if ask.directed else 0)


def step_bytes(ask: Ask) -> int:
    """Bytes of a trained value, its gradient and each of its two moments; adapters are float32 on any base."""
    return SIZES[ask.precision] if ask.job in WHOLE else FLOAT


def _gradients(model: Model, ask: Ask) -> Term:
    return product("gradients", "gradients", trained_values=trainable(model, ask), bytes=step_bytes(ask))


def _gradients_before(model: Model, ask: Ask) -> list[Term]:
    """Those of the micro-batches before this one; a step of one micro-batch begins without any."""
    return [_gradients(model, ask)] if accumulation(ask) > 1 else []


def _optimizer(model: Model, ask: Ask) -> Term:
    return product(
        "optimizer", "AdamW's two moments", two=2, trained_values=trainable(model, ask), bytes=step_bytes(ask)
    )


def _spread(model: Model, ask: Ask, terms: list[Term]) -> list[Term]:
    """Over several devices, or with the weights waiting beside the processor, one holds two whole layers at a time."""
    if ask.devices == 1 and not ask.offload:
        return terms
    share = 0.0 if ask.offload else 1 / ask.devices
    held = [
        product(term.part, f"{term.name}, its share", bytes=term.bytes, share=share)
        if term.part in ("weights", "gradients", "optimizer")
        else term
        for term in terms
    ]
    size = SIZES[ask.precision] if ask.job != "qlora" else NF4 / 8
    gathered = [product("weights", "two layers, gathered", two=2, values=model.per_layer, bytes=size)]
    if ask.job in WHOLE:
        gathered.append(product("gradients", "of one layer, whole", values=model.per_layer, bytes=size))
    return [*held, *gathered]


# --- use ------------------------------------------------------------------------------------------


def _evaluation(model: Model, ask: Ask) -> list[Term]:
    """Own engine for decoders: rows share a prefix, under a tree mask. Plain forward passes for everything else."""
    size = SIZES[ask.precision]
    if ask.plain or model.card.kind != "decoder":
        return [*_weights(model, ask), *_forward(model, ask, ask.micro_tokens, ask.micro_tokens)]
    shape, rows, context = model.shape, rows_at_once(ask), ask.context
    repeated = model.queries if model.queries != model.keys else 0  # a mask forbids kernels that share keys
    attention = 2 * rows * context * (repeated + model.keys) + ask.micro_tokens * (3 * model.queries + shape.width)
    needs = {
        "attention under a tree mask": size * attention + 5 * ask.micro_tokens * context,
        "feed-forward": size * ask.micro_tokens * (4 * shape.feed_forward + 2 * shape.width),
        "logits": FLOAT * TILE_LOGITS,
    }
    name = max(needs, key=lambda which: needs[which])
    return [
        *_weights(model, ask),
        kv_cache(model, context, rows + 1, size),  # each row has its own copy of the prefix
        product("logits" if name == "logits" else "activations", name, bytes=needs[name]),
    ]


TILE_LOGITS = 3 * 512 * 4096
"""Logits that exist at a time (`engine.torch_lm.TILE`), with what is made of them."""


def _completion(model: Model, ask: Ask) -> list[Term]:
    """A prompt as long as the context, then token after token; a layer's cache is copied when it grows."""
    size, shape = SIZES[ask.precision], model.shape
    cache = kv_cache(model, ask.context, ask.batch, size)
    grown = product("kv_cache", "one layer's, copied while it grows", cache=cache.bytes, share=1 / shape.layers)
    return [*_weights(model, ask), cache, grown, *_forward(model, ask, ask.context * ask.batch, ask.batch)]


def _forward(model: Model, ask: Ask, tokens: int, positions: int) -> list[Term]:
    """A forward pass that keeps nothing: the larger of one layer's need and the logits."""
    step, shape = step_of(model, ask), model.shape
    layer = max(tape.forward(model, step, sparse=sparse) for count, sparse, _ in kinds_of_layers(model) if count)
    ahead = 3 if model.traits.head == "masked" else 2
    passing = product("activations", "one layer's", tokens=tokens, bytes_a_token=layer)
    last = product("activations", "before the output", tokens=tokens, width=ahead * shape.width, bytes=step.size)
    logits = product("logits", "logits", positions=positions, vocabulary=shape.vocabulary, bytes=step.size)
    return [passing] if passing.bytes > last.bytes + logits.bytes else [last, logits]


def _llama_cpp(model: Model, ask: Ask) -> list[Term]:
    """GGUF weights, a float16 cache for each slot, and what a batch of a prompt needs."""
    quantization, shape = ask.quantization or "f16", model.shape
    tokens = min(UBATCH, ask.context)
    inner = shape.experts_active * shape.expert_feed_forward if shape.experts else shape.feed_forward
    return [
        product(
            "weights",
            f"weights in {quantization}",
            parameters=model.parameters,
            bits=BITS[quantization],
            bytes_a_bit=1 / 8,
        ),
        kv_cache(model, ask.context, ask.batch, 2),
        product("activations", "one layer's", tokens=tokens, values=4 * shape.width + 3 * inner, bytes=FLOAT),
        product("logits", "logits", positions=ask.batch, vocabulary=shape.vocabulary, bytes=FLOAT),
    ]


# --- what follows from an ask ---------------------------------------------------------------------


def rows_at_once(ask: Ask) -> int:
    """Rows computed together. Evaluated rows share a prefix, which each of them holds a copy of in the cache."""
    if ask.job in ("complete", "serve"):
        return ask.batch
    return max(1, ask.micro_tokens // (OWN_TOKENS if ask.job == "evaluate" and not ask.plain else ask.context))


def at_once(ask: Ask) -> int:
    """Tokens of a micro-batch; a row of a preference job is two answers."""
    return ask.micro_tokens * (2 if ask.job == "dpo" else 1)


def accumulation(ask: Ask) -> int:
    """Micro-batches of an optimizer step."""
    return max(1, -(-ask.batch * ask.context // ask.micro_tokens)) if ask.job in TRAINING else 1


def _own(model: Model, ask: Ask) -> bool:
    """Basewright's loop, which computes packed rows of decoders."""
    return not ask.plain and ask.job in TRAINING and model.card.kind == "decoder"


@lru_cache(maxsize=4)
def step_of(model: Model, ask: Ask, kind: str = "cpu") -> tape.Step:
    trained, adapted = ask.job in WHOLE, ask.job in TRAINING and ask.job not in WHOLE
    own, size = _own(model, ask), 2 if ask.precision in ("bfloat16", "float16", "mixed") else FLOAT
    targets = model.targets(ask.targets if adapted else ()) if ask.job in TRAINING else ()
    layers, family = model.shape.layers, str(model.card.config.get("model_type"))
    return tape.Step(
        trained=trained,
        reads=traits.reads(family, model.maps, targets, layers),
        autocast=ask.precision == "mixed",
        ranks=ask.rank * sum(len(model.maps[name]) for name in targets) // layers,
        outputs=model.outputs(targets) // layers if ask.directed else 0,
        size=size,
        scores=ask.attention == "math",
        own=own,
        written=own and family in traits.WRITTEN and model.card.config.get("hidden_act", "silu") == "silu",
        widened=own and adapted and kind == "cpu" and size < FLOAT,
        context=min(ask.context, ask.micro_tokens),
    )


def kinds_of_layers(model: Model) -> list[tuple[int, bool, bool]]:
    """(how many, with experts, with a window) of the model's layers."""
    shape = model.shape
    sparse = shape.layers - shape.dense_layers if shape.experts else 0
    windowed = shape.windowed
    if sparse:
        return [(shape.layers - sparse, False, False), (sparse, True, False)]
    return [(shape.layers - windowed, False, False), (windowed, False, True)]
