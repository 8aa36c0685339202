"""Large models without memory: every tensor of two steps under fake weights, against the closed form.

Layers are alike, so two of them say what all do: the difference of two and one is what a layer adds. torch's own
MemTracker needs patches for frozen weights; this counts storages as operations make them and lets go of them. What an
operation needs inside is seen by neither.
"""

from __future__ import annotations

import warnings
import weakref
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from basewright.catalog import cards
from basewright.plan import memory
from basewright.plan.model import Model
from basewright.records import Ask, Job, ModelCard

MIB = 2**20
NAME = "traced"
MODELS = ("llama-3.1-8b", "qwen3-8b-base", "mixtral-8x7b-v0.1")
ROWS, CONTEXT = 4, 2048
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


def _ask(job: Job, **more: Any) -> Ask:
    return Ask(job=job, context=CONTEXT, micro_tokens=ROWS * CONTEXT, batch=ROWS, plain=True, **more)


ASKS = (
    _ask("full"),
    _ask("full", precision="bfloat16"),
    _ask("full", precision="bfloat16", checkpointing=True),
    _ask("lora", rank=16, targets=ATTENTION),
    _ask("lora", rank=16, targets=ATTENTION, precision="bfloat16"),
)


def _attend(_module: Any, query: Any, key: Any, value: Any, _mask: Any, *, scaling: Any = None, **_: Any) -> Any:
    """What transformers does for causal rows without padding; it makes a mask when tensors are fake."""
    out = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=scaling, enable_gqa=query.shape[1] != key.shape[1]
    )
    return out.transpose(1, 2).contiguous(), None


def _no_mask(*_args: Any, **_kwargs: Any) -> None:
    return None


class Live(TorchDispatchMode):
    """Bytes of all storages that live, and the most there were."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self.known: dict[int, Any] = {}

    def add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.known:
            return

        def gone() -> None:
            self.now -= size
            self.known.pop(key, None)

        self.known[key] = weakref.finalize(storage, gone)
        self.now += size
        self.most = max(self.most, self.now)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.add(leaf)
        return out


class Adapted(torch.nn.Module):
    """PEFT's LoRA in five lines; its own cannot be built around fake weights."""

    def __init__(self, base: torch.nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.down = torch.nn.Linear(base.in_features, rank, bias=False)
        self.up = torch.nn.Linear(rank, base.out_features, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.base(x)
        moved: torch.Tensor = result + self.up(self.down(x.to(torch.float32)))
        return moved.to(result.dtype)


def _adapt(model: Any, ask: Ask) -> None:
    model.requires_grad_(False)
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if name in ask.targets and isinstance(child, torch.nn.Linear):
                setattr(parent, name, Adapted(child, ask.rank))


def main() -> None:
    print("| model, two layers | job | precision | closed form MiB | tensors MiB | error |")
    print("|---|---|---|---|---|---|")
    for name in MODELS:
        card = cards.get(name)
        cut = cards.card(cards.facts_from_config(card.config | {"num_hidden_layers": 2}, card.id))
        for ask in ASKS:
            if card.shape.experts and ask.precision == "float32":
                continue  # grouped matrix products of fake tensors are bfloat16 only
            need = memory.need(Model.of(cut), ask).memory
            form, seen = need.total - need.runtime, peak(cut, ask)
            job = ask.job + (", checkpointing" if ask.checkpointing else "")
            sizes = f"{form / MIB:,.0f} | {seen / MIB:,.0f} | {form / seen - 1:+.1%}"
            print(f"| {name} | {job} | {ask.precision} | {sizes} |", flush=True)


def peak(card: ModelCard, ask: Ask) -> int:
    """The most that lives in the second of two steps."""
    AttentionInterface.register(NAME, _attend)
    AttentionMaskInterface.register(NAME, _no_mask)
    live = Live()
    with warnings.catch_warnings(), FakeTensorMode(allow_non_fake_inputs=True):
        warnings.simplefilter("ignore")
        model = _model(card, ask).train()
        for tensor in (*model.parameters(), *model.buffers()):
            live.add(tensor.data)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
        with live:
            for _ in range(2):
                ids = torch.zeros(ask.batch, ask.context, dtype=torch.long)
                model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
    return live.most


def _model(card: ModelCard, ask: Ask) -> Any:
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    config = CONFIG_MAPPING[card.config["model_type"]](**{k: v for k, v in card.config.items() if k != "model_type"})
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, ask.precision))
    model.set_attn_implementation(NAME)
    if ask.rank:
        _adapt(model, ask)
    if ask.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model
