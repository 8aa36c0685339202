"""Tiny models with random weights, made where a test needs them: standard folders, read like any other."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM

END, PAD = "<|endoftext|>", "<|pad|>"
TEXTS = (
    "The old clock on the wall struck nine, and nobody in the kitchen looked up from the table.",
    "A rope of 12 strands holds more than 120 threads; that is what the sailor's book says.",
    "Please cancel my order, it hasn't arrived. I'd like my money back as soon as possible!",
    "def area(width, height):\n    return width * height  # in square metres\n",
    "Where is the nearest station? The train leaves at 07:45, and we're late already.",
    "She sells sea shells by the sea shore; the shells she sells are surely sea shells.",
    "Größe, naïve, façade, ćwierć: words with marks on their letters, worth a token or two.",
)


def tiny_llama(
    folder: Path,
    seed: int = 0,
    *,
    layers: int = 2,
    width: int = 64,
    heads: int = 4,
    kv_heads: int = 2,
    feed_forward: int = 96,
    vocabulary: int = 384,
    context: int = 128,
    tied: bool = True,
    bos: bool = True,
    std: float = 0.2,
    precision: str = "float32",
) -> Path:
    """A Llama folder. `std` is that of every matrix, well above a trainer's, so that predictions are not flat."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer(folder, vocabulary=vocabulary, context=context, bos=bos)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=width,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=context,
        initializer_range=std,
        tie_word_embeddings=tied,
        bos_token_id=tokenizer.token_to_id(END),
        eos_token_id=tokenizer.token_to_id(END),
        pad_token_id=tokenizer.token_to_id(PAD),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        for name, parameter in model.named_parameters():
            if "norm" in name:  # not all ones, so that a norm in the wrong place shows
                parameter.data.uniform_(0.5, 1.5)
    model.to(getattr(torch, precision)).save_pretrained(folder)
    return folder


def tiny_tokenizer(folder: Path, *, vocabulary: int = 384, context: int = 128, bos: bool = True) -> Tokenizer:
    """Byte-level BPE with GPT-2's pre-tokenization; every text starts with END if `bos`."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    if bos:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{END} $A", special_tokens=[(END, backend.token_to_id(END))]
        )
    backend.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END,
        "eos_token": END,
        "pad_token": PAD,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    return backend


def tiny_adapter(
    base: Path,
    folder: Path,
    seed: int = 0,
    *,
    rank: int = 4,
    alpha: float = 8.0,
    targets: tuple[str, ...] = ("q_proj", "v_proj", "down_proj"),
    std: float = 0.1,
    variant: str = "lora",
) -> Path:
    """A LoRA adapter for `base` as peft writes it, with all of it random: one that changes what is predicted."""
    from peft import LoraConfig, get_peft_model

    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    switches = {"use_dora": variant == "dora", "use_rslora": variant == "rslora"}
    settings = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), task_type="CAUSAL_LM", **switches)
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        torch.manual_seed(seed)
        adapted = get_peft_model(model, settings)
        for name, parameter in adapted.named_parameters():
            if "magnitude" in name:
                parameter.data *= torch.empty_like(parameter).uniform_(0.5, 1.5)
            elif "lora_" in name:
                parameter.data.normal_(0.0, std)
    adapted.save_pretrained(folder)
    return folder
