"""Where the answers of a model end, in the file that transformers and other programs read it from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import GenerationConfig

from basewright.records import Layout
from basewright.text import chat, encode
from basewright.text.tokenizer import Tokenizer


def write(tokenizer: Tokenizer, layout: Layout | None, stop_ids: Sequence[int], out: Path) -> None:
    """generation_config.json with EOS and `stop_ids`, and padding that is none of them (H065); beside it the chat
    template that the model learned, if it did."""
    ends = list(dict.fromkeys([tokenizer.eos_id, *stop_ids]))
    GenerationConfig(
        bos_token_id=tokenizer.bos_id,
        eos_token_id=ends if len(ends) > 1 else ends[0],
        pad_token_id=encode.padding_beside(tokenizer, stop_ids),
    ).save_pretrained(out)
    if layout is not None and layout.chat is not None:
        (out / chat.FILE).write_text(layout.chat.source, "utf-8")
