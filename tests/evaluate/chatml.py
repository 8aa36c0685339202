"""A model's folder with the control tokens and the chat template that chat models of the ChatML kind have."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

OPEN, CLOSE = "<|im_start|>", "<|im_end|>"
PATTERN = f"{OPEN}user\n{{ask}}{CLOSE}\n{OPEN}assistant\n"
TEMPLATE = (
    "{% for m in messages %}"
    + OPEN
    + "{{ m['role'] }}\n{{ m['content'] }}"
    + CLOSE
    + "\n{% endfor %}{% if add_generation_prompt %}"
    + OPEN
    + "assistant\n{% endif %}"
)


def chatml(base: Path, folder: Path, *, std: float = 0.0, ends: bool = False) -> Path:
    """`base` with two more tokens, whose rows are zeros or random; `ends` makes the closing one its EOS."""
    model = LlamaForCausalLM.from_pretrained(base, dtype=torch.float32)
    old = model.config.vocab_size
    model.resize_token_embeddings(old + 2, mean_resizing=False)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        model.get_input_embeddings().weight[old:].normal_(0.0, std)
    model.save_pretrained(folder)
    backend = Tokenizer.from_file(str(base / "tokenizer.json"))
    assert backend.get_vocab_size() == old
    backend.add_special_tokens([OPEN, CLOSE])
    backend.save(str(folder / "tokenizer.json"))
    config = json.loads((base / "tokenizer_config.json").read_text("utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config | ({"eos_token": CLOSE} if ends else {})), "utf-8")
    (folder / "chat_template.jinja").write_text(TEMPLATE, "utf-8")
    return folder
