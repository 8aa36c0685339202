"""stories260K (karpathy, MIT) as a model folder: a real trained Llama with SentencePiece-like BPE and byte fallback."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from transformers import LlamaConfig, LlamaForCausalLM

SOURCE = Path(__file__).parents[2] / "../shared/data/models/stories260K"
UNKNOWN, BOS, EOS = "<unk>", "<s>", "</s>"


def stories260k(folder: Path) -> Path:
    """The folder, or a skipped test where the material is not at hand."""
    if not SOURCE.is_dir():
        pytest.skip(f"{SOURCE.name} is not here")
    folder.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(folder)
    _write_model(folder)
    return folder


def reference() -> dict[str, object]:
    found: dict[str, object] = json.loads((SOURCE / "reference_numpy.json").read_text("utf-8"))
    return found


def _pieces() -> list[tuple[str, float]]:
    data = (SOURCE / "tok512.bin").read_bytes()
    found, at = [], 4
    while at < len(data):
        score, length = struct.unpack_from("<fi", data, at)
        found.append((data[at + 8 : at + 8 + length].decode().replace(" ", "▁"), score))
        at += 8 + length
    return [(UNKNOWN, 0.0), (BOS, 0.0), (EOS, 0.0), *found[3:]]


def _merges(pieces: list[tuple[str, float]]) -> list[tuple[str, str]]:
    """Every way to put a piece together from two others, best score first."""
    ids = {piece: i for i, (piece, _) in enumerate(pieces)}
    made = []
    for piece, score in pieces[259:]:
        cuts = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in ids and piece[i:] in ids]
        made += [(score, cut) for cut in sorted(cuts, key=lambda cut: (ids[cut[0]], ids[cut[1]]))]
    return [cut for _, cut in sorted(made, key=lambda each: -each[0])]


def _write_tokenizer(folder: Path) -> None:
    pieces = _pieces()
    vocabulary = {piece: i for i, (piece, _) in enumerate(pieces)}
    backend = Tokenizer(
        models.BPE(vocab=vocabulary, merges=_merges(pieces), unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True)
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 1)])
    backend.add_special_tokens([AddedToken(each, normalized=False) for each in (UNKNOWN, BOS, EOS)])
    backend.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "LlamaTokenizer", "bos_token": BOS, "eos_token": EOS, "unk_token": UNKNOWN}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")


def _write_model(folder: Path) -> None:
    data = (SOURCE / "stories260K.bin").read_bytes()
    width, hidden, layers, heads, kv_heads, vocabulary, context = struct.unpack_from("<7i", data)
    values = np.frombuffer(data, dtype="<f4", offset=28)
    at = 0

    def take(*shape: int) -> torch.Tensor:
        nonlocal at
        size = int(np.prod(shape))
        at += size
        return torch.from_numpy(values[at - size : at].copy()).reshape(shape)

    inner = kv_heads * (width // heads)
    state = {"model.embed_tokens.weight": take(vocabulary, width)}
    stacked = {
        "input_layernorm": take(layers, width),
        "self_attn.q_proj": take(layers, width, width),
        "self_attn.k_proj": take(layers, inner, width),
        "self_attn.v_proj": take(layers, inner, width),
        "self_attn.o_proj": take(layers, width, width),
        "post_attention_layernorm": take(layers, width),
        "mlp.gate_proj": take(layers, hidden, width),
        "mlp.down_proj": take(layers, width, hidden),
        "mlp.up_proj": take(layers, hidden, width),
    }
    state["model.norm.weight"] = take(width)
    for name, tensors in stacked.items():
        for layer, tensor in enumerate(tensors):
            count = {"self_attn.q_proj": heads, "self_attn.k_proj": kv_heads}.get(name)
            state[f"model.layers.{layer}.{name}.weight"] = tensor if count is None else _halves(tensor, count)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=context,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state)
    model.save_pretrained(folder)


def _halves(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of rotated neighbours to Hugging Face's half and half."""
    return rows.reshape(heads, -1, 2, rows.shape[1]).transpose(1, 2).reshape(rows.shape)
