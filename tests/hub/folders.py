"""Model folders made by hand, byte by byte, so that any fault can be put in."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from basewright.catalog.architectures import tensors

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "num_hidden_layers": 1,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 12,
    "vocab_size": 20,
    "max_position_embeddings": 32,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "eos_token_id": 0,
}
TOKENIZER: dict[str, Any] = {
    "version": "1.0",
    "added_tokens": [{"id": 0, "content": "<s>", "special": True}],
    "model": {"type": "BPE", "vocab": {"<s>": 0, "a": 1, "b": 18, "kernel": 2, "auto_map": 3}, "merges": []},
}


def bf16(values: NDArray[np.float32]) -> bytes:
    """The upper halves of float32 values, cut."""
    return (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()


def random_tensors(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=dims).astype(np.float32) for name, dims in tensors(CONFIG)}


def safetensors(header: dict[str, Any] | bytes, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def weights(values: dict[str, NDArray[np.float32]], dtype: str = "BF16") -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, value in values.items():
        raw = bf16(value) if dtype == "BF16" else value.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": list(value.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    return safetensors(header, data)


def write(
    folder: Path, *, config: dict[str, Any] | None = None, tokenizer: dict[str, Any] | None = None, data: bytes = b""
) -> Path:
    """A whole folder with changes to its config or tokenizer, or other weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, **(config or {})}))
    (folder / "tokenizer.json").write_text(json.dumps({**TOKENIZER, **(tokenizer or {})}))
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<s>"}')
    (folder / "model.safetensors").write_bytes(data or weights(random_tensors()))
    return folder


def write_shards(folder: Path) -> Path:
    """The same model in two files and their index."""
    write(folder)
    (folder / "model.safetensors").unlink()
    values = random_tensors()
    names = sorted(values)
    halves = {"model-1.safetensors": names[:4], "model-2.safetensors": names[4:]}
    placed: dict[str, str] = {}
    for shard, part in halves.items():
        (folder / shard).write_bytes(weights({name: values[name] for name in part}))
        placed |= dict.fromkeys(part, shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    return folder
