"""How well a model predicts plain text, in bits per byte, so that tokenizers compare."""

from __future__ import annotations

import math
from collections.abc import Sequence

from basewright.engine.lm import LM
from basewright.errors import DataError
from basewright.records import Progress, silent


def bits_per_byte(lm: LM, texts: Sequence[str], progress: Progress = silent) -> float:
    """Total surprise of the texts in bits over their UTF-8 bytes. Raises `DataError` without any text."""
    size = sum(len(text.encode()) for text in texts)
    if size == 0:
        raise DataError("there is no text to measure on", fix="name a file with some text")
    return -sum(one.nats for one in lm.rolling(texts, progress)) / math.log(2) / size
