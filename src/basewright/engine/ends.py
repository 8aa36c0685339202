"""Where the answers of a model end, in the file that transformers and other programs read it from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from transformers import GenerationConfig

from basewright.records import Layout
from basewright.text import chat, encode
from basewright.text.formats import shared
from basewright.text.tokenizer import Tokenizer


def write(tokenizer: Tokenizer, layout: Layout | None, stop_ids: Sequence[int], out: Path) -> None:
    """generation_config.json with EOS and `stop_ids`, and padding that is none of them (H065).

    The chat template of `layout` is put beside it. Where a model learned none, its base's is taken out of the folder:
    transformers would ask in it (H067).
    """
    ends = list(dict.fromkeys([tokenizer.eos_id, *stop_ids]))
    GenerationConfig(
        bos_token_id=tokenizer.bos_id,
        eos_token_id=ends if len(ends) > 1 else ends[0],
        pad_token_id=encode.padding_beside(tokenizer, stop_ids),
    ).save_pretrained(out)
    if layout is None:
        return
    (out / chat.FILE).unlink(missing_ok=True)
    _without_template(out / shared.CONFIG)
    if layout.chat is not None:
        (out / chat.FILE).write_text(layout.chat.source, "utf-8")


def _without_template(path: Path) -> None:
    config = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    if config.pop("chat_template", None) is not None:
        path.write_text(json.dumps(config, indent=2, ensure_ascii=False), "utf-8")
