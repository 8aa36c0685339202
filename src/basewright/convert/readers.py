"""Two programs that read GGUF, asked the same two questions: which ids is a text, and what comes next."""

from __future__ import annotations

import ctypes
import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from basewright.formats import gguf


class Reader(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def blind(self) -> str:
        """Why some texts are not judged by this reader; empty when all are."""
        ...

    def judges(self, text: str) -> bool: ...

    def ids(self, text: str) -> list[int]:
        """A text's ids, with the start token if the file asks for one; control tokens are not looked for (H015)."""
        ...

    def logprobs(self, ids: Sequence[int]) -> torch.Tensor:
        """(T, V) log-probabilities in nats of what follows each id, float64."""
        ...

    def weights(self) -> dict[str, torch.Tensor]:
        """The file's weights by their names in the model folder, unpacked; empty where the reader does not say."""
        ...


class Transformers:
    """The GGUF reader of transformers: an implementation that shares no code with llama.cpp, in float32."""

    name = "transformers"

    def __init__(self, path: Path) -> None:
        with tempfile.TemporaryDirectory() as alone, redirect_stderr(StringIO()):  # transformers draws bars of its own
            # Beside other files, a tokenizer.json or config.json would be read in place of what is in the GGUF.
            (Path(alone) / "model.gguf").symlink_to(path.resolve())
            source: dict[str, Any] = {"gguf_file": "model.gguf", "local_files_only": True, "trust_remote_code": False}
            self._tokenizer = AutoTokenizer.from_pretrained(alone, **source)
            self._model, report = AutoModelForCausalLM.from_pretrained(
                alone, dtype=torch.float32, output_loading_info=True, **source
            )
        for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
            if report[problem]:
                raise ValueError(f"{problem}: {sorted(report[problem])[0]}")
        self._tokenizer.backend_tokenizer.encode_special_tokens = True
        sentencepiece = gguf.read(path).metadata["tokenizer.ggml.model"] == "llama"
        self.blind = "transformers rebuilds the space before a text otherwise than llama.cpp" if sentencepiece else ""

    def judges(self, text: str) -> bool:
        return not (self.blind and text.startswith((" ", "\N{LOWER ONE EIGHTH BLOCK}")))

    def ids(self, text: str) -> list[int]:
        return list(self._tokenizer.backend_tokenizer.encode(text, add_special_tokens=True).ids)

    @torch.inference_mode()
    def logprobs(self, ids: Sequence[int]) -> torch.Tensor:
        logits: torch.Tensor = self._model(input_ids=torch.tensor([list(ids)])).logits[0]
        return logits.double().log_softmax(-1)

    def weights(self) -> dict[str, torch.Tensor]:
        return dict(self._model.state_dict())


class LlamaCpp:
    """llama.cpp itself, on one thread, with the settings people run it with."""

    name = "llama.cpp"
    blind = ""

    def __init__(self, path: Path, context: int) -> None:
        import llama_cpp

        _silence()
        self._model = llama_cpp.Llama(
            str(path), n_ctx=context, n_batch=context, n_threads=1, n_threads_batch=1, logits_all=True, verbose=False
        )

    def judges(self, text: str) -> bool:
        return True

    def ids(self, text: str) -> list[int]:
        return list(self._model.tokenize(text.encode(), add_bos=True, special=False))

    def logprobs(self, ids: Sequence[int]) -> torch.Tensor:
        self._model.reset()
        self._model.eval(list(ids))
        return torch.tensor(self._model.scores[: len(ids)], dtype=torch.float64).log_softmax(-1)

    def weights(self) -> dict[str, torch.Tensor]:
        return {}


def has_llama_cpp() -> bool:
    return importlib.util.find_spec("llama_cpp") is not None


@cache
def _silence() -> object:
    """Take llama.cpp's log away for good. The cache keeps the callback alive: a collected one would be called."""
    import llama_cpp

    callback: Callable[..., None] = llama_cpp.llama_log_callback(lambda _level, _text, _data: None)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    return callback
