"""Chat templates of the kinds that are in use, and a tokenizer that has their control tokens."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from basewright.records import ChatTemplate
from basewright.text.chat import Chat, open_chat
from basewright.text.tokenizer import Tokenizer, open_tokenizer
from tests.models import END, PAD, tiny_tokenizer

CONTROLS = ("<|im_start|>", "<|im_end|>", "<s>", "</s>", "<start_of_turn>", "<end_of_turn>")
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INST = (  # as Llama 2's: BOS and EOS around each round, the system's words in the first question
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = '<<SYS>>\\n' + "
    "messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}{% else %}{% set rest = messages %}{% set system = '' %}{% endif %}"
    "{% for m in rest %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + (system if loop.first else '') + "
    "m['content'].strip() + ' [/INST]' }}{% else %}{{ ' ' + m['content'].strip() + ' ' + eos_token }}{% endif %}"
    "{% endfor %}"
)
TURNS = (  # as Gemma's: no system, white space taken off, the assistant by another name
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
THINKS = (  # as Qwen3's: the last answer has an empty thought before it, which the model writes itself
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' and loop.last %}<think>\n\n"
    "</think>\n\n{% endif %}{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
OF_USE = {"ChatML": CHATML, "Llama 2": INST, "Gemma": TURNS, "Qwen 3": THINKS}


def write_folder(folder: Path, source: str, *, starts: bool = True) -> Path:
    """The tokenizer and template of a chat model, without the model."""
    folder.mkdir(parents=True, exist_ok=True)
    backend = tiny_tokenizer(folder)
    backend.add_special_tokens(list(CONTROLS))
    backend.save(str(folder / "tokenizer.json"))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"bos_token": "<s>", "eos_token": "</s>"} if starts else {"bos_token": END, "eos_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"pad_token": PAD}))
    (folder / "chat_template.jinja").write_text(source)
    return folder


@cache
def tokenizer() -> Tokenizer:
    with TemporaryDirectory() as folder:
        return open_tokenizer(write_folder(Path(folder), CHATML))


def chat(source: str) -> Chat:
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": PAD}
    return open_chat(ChatTemplate(source=source, tokens=tokens), tokenizer(), "tiny")
