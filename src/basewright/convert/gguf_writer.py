"""Write a model folder as one GGUF file, tensor by tensor, choosing types as llama.cpp's own converter does."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, LlamaFileType, quantize
from numpy.typing import NDArray
from transformers import AutoConfig

from basewright import signals, store
from basewright.convert import architectures, gguf_tokenizer
from basewright.convert.weights import Stored
from basewright.errors import ModelFileError, Refused
from basewright.records import record

Quantization = Literal["f16", "q8_0"]
F32, F16, Q8_0 = GGMLQuantizationType.F32, GGMLQuantizationType.F16, GGMLQuantizationType.Q8_0
FILE_TYPES: dict[Quantization, Any] = {"f16": LlamaFileType.MOSTLY_F16, "q8_0": LlamaFileType.MOSTLY_Q8_0}
_LARGEST = {F32: float(np.finfo(np.float32).max), F16: 65504.0, Q8_0: 127 * 65504.0}
_QUANTIZATION_VERSION = 2
"""Of ggml's block formats, `GGML_QNT_VERSION` in ggml.h."""
_NOT_WEIGHTS = "rotary_emb.inv_freq"
"""Computed from the config; old checkpoints store it all the same."""


@record
class _Planned:
    name: str
    """In the model folder."""
    gguf_name: str
    shape: tuple[int, ...]
    kind: GGMLQuantizationType

    @property
    def size(self) -> int:
        elements, size = GGML_QUANT_SIZES[self.kind]
        return math.prod(self.shape) // int(elements) * int(size)


def to_gguf(model: Path, out: Path, quantization: Quantization, metadata: Mapping[str, str]) -> None:
    """Convert the model folder to the file `out`; whole, or not there at all.

    `metadata` is written under `basewright.` keys; its `name` and `licence` also as GGUF's general ones. Matrices get
    the quantization (float16 where a row is no multiple of its block), vectors stay float32. Raises `Refused` for a
    model that GGUF cannot hold exactly, `ModelFileError` for one that is not whole.
    """
    config = AutoConfig.from_pretrained(model, local_files_only=True, trust_remote_code=False)
    weights = Stored(model)
    plan = _plan(config, weights, quantization)
    half = out.with_name(f".{out.name}.{uuid.uuid4().hex}")
    store.reserve(out.parent, sum(tensor.size for tensor in plan))
    writer = GGUFWriter(half, architectures.of(config).model_type)
    try:
        _add_general(writer, quantization, metadata)
        _add_facts(writer, config)
        gguf_tokenizer.add(writer, model, config.vocab_size)
        for tensor in plan:
            writer.add_tensor_info(tensor.gguf_name, tensor.shape, np.dtype(np.float32), tensor.size, tensor.kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in plan:
            signals.poll()
            writer.write_tensor_data(_data(weights, tensor, config))
        writer.close()
        os.replace(half, out)
    finally:
        writer.close()
        half.unlink(missing_ok=True)


def _plan(config: Any, weights: Stored, quantization: Quantization) -> list[_Planned]:
    """Every tensor with its type, before any is read. What is missing or left over stops here."""
    names = architectures.tensors(config)
    if missing := sorted(set(names) - set(weights.where)):
        raise ModelFileError(f"{missing[0]} is missing from the weights", fix="get or build that model again")
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    for name in sorted(set(weights.where) - set(names) - tied):
        if not name.endswith(_NOT_WEIGHTS):
            raise Refused(f"GGUF has no place for {name}", fix="take the gguf formats out of [ship].formats")
    return [
        _Planned(name=name, gguf_name=theirs, shape=(shape := weights.shape(name)), kind=_kind(shape, quantization))
        for name, theirs in names.items()
    ]


def _kind(shape: tuple[int, ...], quantization: Quantization) -> GGMLQuantizationType:
    if len(shape) == 1:
        return F32
    return Q8_0 if quantization == "q8_0" and shape[-1] % GGML_QUANT_SIZES[Q8_0][0] == 0 else F16


def _data(weights: Stored, tensor: _Planned, config: Any) -> NDArray[Any]:
    values: NDArray[np.float32] = weights.read(tensor.name).float().numpy()
    heads = architectures.rotary_heads(config, tensor.gguf_name)
    if heads is not None:
        values = _interleave(values, heads)
    largest = float(np.abs(values).max())
    if not largest <= _LARGEST[tensor.kind]:  # also where it is not a number
        raise Refused(
            f"{tensor.name} has values that {tensor.kind.name} cannot hold",
            fix="lower [tune].learning_rate, then build again",
        )
    with np.errstate(all="ignore"):  # a block of denormals divides by nearly nothing, and is stored as zeros
        data: NDArray[Any] = quantize(values, tensor.kind)
    return data


def _interleave(rows: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Hugging Face rotates row i with row i + half of a head, llama.cpp's `llama` rotates neighbours 2i and 2i + 1."""
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


# --- keys -----------------------------------------------------------------------------------------


def _add_general(writer: GGUFWriter, quantization: Quantization, metadata: Mapping[str, str]) -> None:
    writer.add_type("model")
    writer.add_file_type(FILE_TYPES[quantization])
    writer.add_quantization_version(_QUANTIZATION_VERSION)
    writer.add_name(metadata.get("name", ""))
    writer.add_license(metadata.get("licence", ""))
    for key, value in metadata.items():
        writer.add_string(f"basewright.{key}", value)


def _add_facts(writer: GGUFWriter, config: Any) -> None:
    for key, value in architectures.facts(config).items():
        if isinstance(value, float):
            writer.add_float32(key, value)
        else:
            writer.add_uint32(key, value)
