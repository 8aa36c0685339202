"""Small models of several families with random weights, their cards, and what a step of them keeps."""

from __future__ import annotations

import warnings
from typing import Any

from basewright.catalog import cards
from basewright.plan import memory
from basewright.plan.model import Model
from basewright.records import Ask, ModelCard

SIZES = {"hidden_size": 64, "num_hidden_layers": 6, "num_attention_heads": 4, "vocab_size": 640, "bos_token_id": 0}
SIZES |= {"eos_token_id": 0, "max_position_embeddings": 128}
GATED = SIZES | {"intermediate_size": 176, "num_key_value_heads": 2, "tie_word_embeddings": False}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": GATED,
    "qwen3": GATED | {"head_dim": 16},
    "mixtral": GATED | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    "gpt_neox": SIZES | {"intermediate_size": 256, "tie_word_embeddings": False},
}


def card(family: str) -> ModelCard:
    return cards.card(cards.facts_from_config(CONFIGS[family] | {"model_type": family}, family))


def model(of: ModelCard, attention: str) -> Any:
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    config = CONFIG_MAPPING[of.family](**CONFIGS[of.family])
    made = AutoModelForCausalLM.from_config(config).float()
    made.set_attn_implementation(attention)
    return made


def with_lora(made: Any, ask: Ask) -> Any:
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = LoraConfig(r=ask.rank, lora_alpha=8, target_modules=list(ask.targets), use_dora=ask.directed)
        made = get_peft_model(made, config)
    for p in made.parameters():
        if p.requires_grad:
            p.data = p.data.float()
    return made


def asked(family: str, trained: bool, **more: Any) -> Ask:
    """Four rows of 128 tokens in one step of Basewright's loop; of each the last has nothing to foretell."""
    targets = () if trained else Model.of(card(family)).targets(())
    words = {"rank": 0 if trained else 3, "targets": targets, "context": 128, "micro_tokens": 512, "batch": 4} | more
    return Ask(job="full" if trained else "lora", **words)


def planned(ask: Ask, family: str) -> int:
    """Of tensors: without the libraries, which a plan counts beside them."""
    need = memory.need(Model.of(card(family)), ask).memory
    return need.total - need.runtime


def _ready(of: ModelCard, ask: Ask) -> Any:
    from basewright.train import attention, quick

    attention.install()
    made = model(of, attention.NAME)
    if ask.precision == "bfloat16":
        made.bfloat16()
    if ask.checkpointing:
        made.activation_checkpointing_enable({"use_reentrant": False})
    if ask.rank:
        made = with_lora(made, ask)
    quick.quicken(made)
    return made.train()


def _row(of: ModelCard, ask: Ask) -> Any:
    import numpy as np

    from basewright.data.pack import pack
    from basewright.text.encode import Encoded

    ids = np.random.default_rng(0).integers(0, of.shape.vocabulary, (ask.batch, ask.context)).tolist()
    return pack([Encoded(tuple(each), (True,) * ask.context) for each in ids])


def kept(of: ModelCard, ask: Ask) -> int:
    """Bytes of all storages that a forward pass saves and that are neither weights nor a gradient of weights."""
    import torch

    from basewright.train import losses

    made, saved = _ready(of, ask), dict[int, int]()
    held = {p.untyped_storage().data_ptr() for p in made.parameters()}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in held:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses.next_token(made, _row(of, ask))
    return sum(saved.values()) - (0 if ask.rank else 4 * Model.of(of).table)


def peak(of: ModelCard, ask: Ask) -> int:
    """The most bytes of tensors that live in the second of two steps, really computed."""
    import torch
    from benchmarks.plan.trace import Live

    from basewright.train import loop, losses

    made, row, live = _ready(of, ask), _row(of, ask), Live()
    for tensor in (*made.parameters(), *made.buffers()):
        live.add(tensor.data)
    parameters = [p for p in made.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters)
    with live:
        for _ in range(2):
            live.most = live.now
            with loop.precision("float32" if ask.precision == "float32" else "bfloat16"):
                loss = losses.next_token(made, row) / row.supervised
            loss.backward()
            del loss
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return live.most
