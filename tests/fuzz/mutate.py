"""Good files of every kind and what goes wrong with them, each a pure function of a seed."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

from basewright.catalog.allowed import SUPPORTED
from tests.catalog.configs import CONFIGS
from tests.formats import ggufs
from tests.formats.templates import ESCAPES, PLAIN, TRIGGERS, bombs
from tests.hub import folders

NUMBERS: list[Any] = [
    -1, 0, 1, 2, 3, 7, 63, 64, 255, 256, 4096, 2**16, 2**31 - 1, 2**31, 2**32, 2**53, 2**60, 2**62, 2**63 - 1, 2**63,
    2**64 - 1, 2**64, 10**30, 0.0, 1.0, 0.5, -0.0, 1e-300, 1e308, float("nan"), float("inf"),
]  # fmt: skip
ODD: list[Any] = [
    *NUMBERS, None, True, False, "", "x", "0", "a" * 5000, "é", "\x00", "\ud800", "../../etc/passwd", [], {}, [[]], [0],
    [None], {"a": {}}, [-1, 2**64], "llama", "float32", "auto_map", ["LlamaForCausalLM"], [1, 2, 3, 4, 5, 6, 7, 8, 9],
]  # fmt: skip
KEYS = [
    "auto_map", "_attn_implementation_internal", "trust_remote_code", "code_revision", "custom_generate", "use_kernels",
    "quantization_config", "__metadata__", "dtype", "shape", "data_offsets", "weight_map", "model_type", "vocab_size",
    "chat_template", "added_tokens", "id", "", "\x00", "__class__", "a" * 600, "é", "rope_scaling", "layer_types",
]  # fmt: skip
NAMES = [
    "../model-1.safetensors", "/etc/passwd", "C:\\x.safetensors", "\\\\a\\b.safetensors", "%2e%2e/a.safetensors",
    "a\0.safetensors", "a\n.safetensors", "nul.safetensors", "..safetensors", ".safetensors", "MODEL-1.safetensors",
    "model-2.safetensors", "model.safetensors", "config.json", "model-1.safetensors.", "ａ.safetensors",
    "absent.safetensors",
    "a" * 300 + ".safetensors", "./model-1.safetensors", "~/x.safetensors", "sub/../model-1.safetensors",
]  # fmt: skip
RAW = [
    b"NaN", b"-Infinity", b"1e999", b"-0", b"01", b"1" * 5000, b"9" * 19, b'"\\ud800"', b'"\\udc00\\ud800"',
    b"\xff\xfe", b"\xef\xbb\xbf", b"/* */", b"'a'", b"tru",
    b"[" * 200, b"{" * 70, b'{"a":1,"a":1}', b'{"a":' * 70, b",", b"\0",
    b"0x10", b'"\\u0000"', b'"\t"', b"[1,]", b"-", b"1.", b".5", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
    b"0e0", b"1E400",
]  # fmt: skip
BOMBS = bombs()


# --- good files -----------------------------------------------------------------------------------

WEIGHTS = folders.weights(folders.random_tensors())
HEADER: dict[str, Any] = json.loads(WEIGHTS[8 : 8 + struct.unpack("<Q", WEIGHTS[:8])[0]])
DATA = WEIGHTS[8 + struct.unpack("<Q", WEIGHTS[:8])[0] :]
FAMILIES = {
    config["model_type"]: {
        **({"rms_norm_eps": 1e-5} if "rms_norm_eps" in SUPPORTED[config["model_type"]] else {}),
        **config,
    }
    for config in reversed(CONFIGS.values())
    if config["model_type"] in SUPPORTED
}
"""A config of each family that can be run, the plainest of each."""
CONFIG_WORDS: list[dict[str, Any]] = [folders.CONFIG, *CONFIGS.values()]
TOKENIZER_CONFIG = {
    "eos_token": "<s>",
    "added_tokens_decoder": {"0": {"content": "<s>", "special": True}},
    "chat_template": PLAIN["chatml"],
}
ADAPTER_CONFIG = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "base_model_name_or_path": "a/b",
    "r": 2,
    "lora_alpha": 4,
    "lora_dropout": 0.0,
    "target_modules": ["q_proj"],
    "modules_to_save": None,
    "rank_pattern": {},
}
GGUF_KEYS: list[tuple[bytes, int, bytes]] = [
    (b"general.architecture", 8, ggufs.text(b"llama")),
    (b"general.file_type", 4, ggufs.U32(7)),
    (b"llama.context_length", 4, ggufs.U32(32)),
    (b"llama.embedding_length", 4, ggufs.U32(32)),
    (b"llama.block_count", 4, ggufs.U32(1)),
    (b"llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5)),
    (b"tokenizer.ggml.model", 8, ggufs.text(b"llama")),
    (b"tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 4) + b"".join(map(ggufs.text, (b"a", b"b", b"c", b"d")))),
    (b"tokenizer.ggml.scores", 9, struct.pack("<IQ4f", 6, 4, 0, 1, 2, 3)),
    (b"tokenizer.ggml.token_type", 9, struct.pack("<IQ4i", 5, 4, 1, 1, 1, 3)),
    (b"tokenizer.ggml.eos_token_id", 4, ggufs.U32(3)),
    (b"tokenizer.ggml.add_bos_token", 7, b"\1"),
    (b"tokenizer.chat_template", 8, ggufs.text(PLAIN["chatml"].encode())),
]
GGUF_TENSORS: list[tuple[bytes, tuple[int, ...], int, int]] = [
    (b"token_embd.weight", (32, 4), 8, 136),
    (b"blk.0.attn_norm.weight", (32,), 0, 128),
    (b"blk.0.attn_q.weight", (32, 32), 1, 2048),
    (b"output_norm.weight", (33,), 0, 132),
]


# --- what is done to any file -----------------------------------------------------------------------


def damage(data: bytes, draw: Random) -> bytes:
    """Bytes changed, cut, doubled or put in, most often near the start, where heads are."""
    raw = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        if not raw:
            return bytes(raw)
        at = min(draw.randrange(len(raw)), draw.randrange(len(raw)))
        span = draw.choice((1, 1, 2, 4, 8, 32, 200))
        kind = draw.randrange(8)
        if kind == 0:
            raw[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            raw[at] = draw.choice((0, 1, 0x22, 0x2C, 0x5B, 0x7B, 0x7D, 0x80, 0xFF))
        elif kind == 2:
            del raw[at : at + span]
        elif kind == 3:
            raw[at:at] = raw[at : at + span]
        elif kind == 4:
            raw[at : at + 8] = struct.pack("<Q", draw.choice((0, 1, 2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1)))
        elif kind == 5:
            raw[at:at] = draw.choice(RAW)
        elif kind == 6:
            raw = raw[: draw.choice((at, len(raw) - 1, 8, 0))]
        else:
            raw += bytes(span)
    return bytes(raw)


def changed(value: Any, draw: Random) -> Any:
    """A JSON value with one part of it made odd, taken away, doubled or renamed."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        copy = dict(value)
        key = draw.choice(list(copy))
        kind = draw.randrange(6)
        if kind == 0:
            del copy[key]
        elif kind == 1:
            copy[draw.choice(KEYS)] = draw.choice(ODD)
        elif kind == 2:
            copy[draw.choice(KEYS)] = copy.pop(key)
        elif kind == 3:
            other = draw.choice(list(copy))
            copy[key], copy[other] = copy[other], copy[key]
        else:
            copy[key] = changed(copy[key], draw)
        return copy
    if isinstance(value, list) and value and draw.random() < 0.85:
        items = list(value)
        at = draw.randrange(len(items))
        kind = draw.randrange(5)
        if kind == 0:
            del items[at]
        elif kind == 1:
            items.insert(at, draw.choice(ODD))
        elif kind == 2:
            items.append(items[at])
        else:
            items[at] = changed(items[at], draw)
        return items
    if type(value) is int and draw.random() < 0.6:
        return value + draw.choice((-1, 1, 2, 8, -8, 2**31))
    return draw.choice(ODD)


def spelled(value: Any, draw: Random) -> bytes:
    """As JSON, in one of its spellings; now and then not quite."""
    text = json.dumps(value, ensure_ascii=draw.random() < 0.7, indent=draw.choice((None, None, 1)))
    data = text.encode("utf-8", "surrogatepass")
    if draw.random() < 0.1:  # an object with a key twice
        at = data.find(b'{"') if b'{"' in data else 0
        end = data.find(b",", at)
        data = data[: end + 1] + data[at + 1 : end + 1] + data[end + 1 :] if end > at else data
    if draw.random() < 0.08:
        at = draw.randrange(len(data) + 1)
        data = data[:at] + draw.choice(RAW) + data[at:]
    return data


def json_of(value: Any, draw: Random) -> bytes:
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        value = changed(value, draw)
    data = spelled(value, draw)
    return damage(data, draw) if draw.random() < 0.2 else data


# --- one kind of file each ------------------------------------------------------------------------


def safetensors(draw: Random) -> bytes:
    if draw.random() < 0.25:
        return damage(WEIGHTS, draw)
    header = HEADER
    for _ in range(draw.choice((0, 1, 1, 1, 2))):
        header = changed(header, draw)
    raw, data = spelled(header, draw), DATA
    if draw.random() < 0.1:
        raw += b" " * draw.choice((1, 7, 8, 100))
    length = len(raw)
    if draw.random() < 0.15:
        length += draw.choice((-1, 1, 8, -8, 2**20, 2**32, 2**62))
    if draw.random() < 0.15:
        data = data[: draw.randrange(len(data))] if draw.random() < 0.5 else data + bytes(draw.choice((1, 8, 64)))
    return struct.pack("<Q", length % 2**64) + raw + data


def gguf(draw: Random) -> bytes:
    keys, tensors = list(GGUF_KEYS), list(GGUF_TENSORS)
    alignment, version, extra, moved = 32, draw.choice((3, 3, 3, 2)), 0, 0
    counts = [len(keys), len(tensors)]
    for _ in range(draw.choice((0, 1, 1, 1, 2, 3))):
        kind = draw.randrange(12)
        if kind < 4 and keys:
            at = draw.randrange(len(keys))
            key, code, value = keys[at]
            keys[at] = draw.choice(
                [
                    (key, draw.choice((*range(14), 255, 2**31)), value),
                    (key, code, damage(value, draw)),
                    (draw.choice((b"", b"general.alignment", b"GGUF.x", b"a" * 300, b"\xff", key + b" ")), code, value),
                    (key, 9, struct.pack("<IQ", draw.randrange(14), draw.choice((0, 1, 5, 2**20, 2**63))) + value),
                    (key, 4, ggufs.U32(draw.choice((0, 1, 3, 4, 31, 33, 64, 2**16, 2**31)))),
                    (key, 8, ggufs.text(draw.choice(ESCAPES + BOMBS[::9]).encode()[:4000])),
                ]
            )
        elif kind == 4:
            keys.append(draw.choice(keys) if keys else (b"a", 4, ggufs.U32(1)))
        elif kind == 5:
            del keys[draw.randrange(len(keys)) :][:1]
        elif kind == 6:
            alignment = draw.choice((1, 8, 64, 4096, 3, 0, 2**20))
            keys.append((b"general.alignment", draw.choice((4, 4, 5, 10)), struct.pack("<Q", alignment)[:4]))
        elif kind < 10 and tensors:
            at = draw.randrange(len(tensors))
            name, dims, code, size = tensors[at]
            tensors[at] = draw.choice(
                [
                    (name, dims, draw.choice((*range(42), 2**31)), size),
                    (
                        name,
                        tuple(draw.choice((0, 1, 32, 33, 2**31, 2**62, 2**63)) for _ in range(draw.randrange(6))),
                        code,
                        size,
                    ),
                    (draw.choice((b"", b"t", b"n" * 64, b"../t", b"\xff", GGUF_TENSORS[0][0])), dims, code, size),
                    (name, dims, code, size + draw.choice((-32, 1, 32, 2**40))),
                    (name, (*dims, 1), code, size),
                ]
            )
        elif kind == 10:
            version = draw.choice((0, 1, 2, 4, 0x03000000))
        else:
            extra, moved = draw.choice((-1, 1, 31, 32, -64)), draw.choice((0, 32, -32, 1))
    if draw.random() < 0.85:
        counts = [len(keys), len(tensors)]
    else:
        counts[draw.randrange(2)] = draw.choice((0, 1, 2, 20, 2**16, 2**32, 2**63, 2**64 - 1))
    return _gguf(keys, tensors, counts, version, max(alignment, 1), extra, moved, draw)


def _gguf(
    keys: list[tuple[bytes, int, bytes]],
    tensors: list[tuple[bytes, tuple[int, ...], int, int]],
    counts: list[int],
    version: int,
    alignment: int,
    extra: int,
    moved: int,
    draw: Random,
) -> bytes:
    body = b"GGUF" + struct.pack("<IQQ", version, counts[1], counts[0])
    body += b"".join(ggufs.pair(key, code, value) for key, code, value in keys)
    offset = 0
    for name, dims, code, size in tensors:
        body += ggufs.tensor(name, dims, code, max(offset, 0))
        offset += -(-size // alignment) * alignment + moved
    data = -len(body) % min(alignment, 2**16) + min(max(offset, 0), 2**16)
    whole = body + bytes(max(data + extra, 0))
    return damage(whole, draw) if draw.random() < 0.2 else whole


def index(draw: Random) -> bytes:
    placed: dict[str, Any] = {}
    for name in sorted(HEADER.keys() - {"__metadata__"}):
        placed[name] = "model-1.safetensors" if len(placed) < 4 else "model-2.safetensors"
    value: Any = {"metadata": {"total_size": 1}, "weight_map": placed}
    if draw.random() < 0.6:
        for name in draw.sample(sorted(placed), draw.choice((1, 1, 2, len(placed)))):
            placed[name] = draw.choice(NAMES)
        return spelled(value, draw)
    return json_of(value, draw)


def config(draw: Random) -> bytes:
    return json_of(folders.CONFIG, draw)


def family_config(family: str, draw: Random) -> bytes:
    """Of one family, now and then with words of another."""
    words = FAMILIES[family]
    if draw.random() < 0.1:
        words = {**draw.choice(CONFIG_WORDS), **words}
    return json_of(words, draw)


def tokenizer(draw: Random) -> bytes:
    return json_of(folders.TOKENIZER, draw)


def tokenizer_config(draw: Random) -> bytes:
    return json_of(TOKENIZER_CONFIG, draw)


def adapter_config(draw: Random) -> bytes:
    return json_of(ADAPTER_CONFIG, draw)


PIECES = [
    "{{", "}}", "{%", "%}", "{#", "#}", "-%}", "{%-", "|", ".", "[", "]", "(", ")", "'", '"', "**", "*", "~", "+", "%",
    " if ", " else ", " for ", " in ", " is ", " not ", "{% endfor %}", "{% endif %}", "{% set x = ", "{% raw %}",
    "{% macro m() %}", "{% endmacro %}", "{{ m() }}", "__class__", "messages", "content", "range(65536)", "namespace()",
    "|tojson", "|map(attribute=", "|selectattr(", "loop.index", "9" * 30, "1e99", "\n", "\\", "\0", "é", "𝕏", "None",
]  # fmt: skip
SOURCES = [*PLAIN.values(), *ESCAPES, *TRIGGERS, *BOMBS]


def template(draw: Random) -> bytes:
    text = draw.choice(draw.choice((SOURCES, [*PLAIN.values()])))[:6000]
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        at, kind = draw.randrange(len(text) + 1), draw.randrange(5)
        if kind == 0:
            text = text[:at] + draw.choice(PIECES) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + draw.choice((1, 2, 8, 40)) :]
        elif kind == 2:
            other = draw.choice(SOURCES)[:2000]
            cut = draw.randrange(len(other) + 1)
            text = text[:at] + other[cut : cut + draw.choice((5, 20, 80, 2000))] + text[at:]
        elif kind == 3:
            text = text[:at] + text[at : at + 30] * draw.choice((2, 3, 50)) + text[at:]
        else:
            text = text[:at] + draw.choice(SOURCES)[:2000] + text[at:]
    data = text.encode("utf-8", "surrogatepass")
    return damage(data, draw) if draw.random() < 0.05 else data


def large(draw: Random) -> tuple[str, bytes]:
    """Legal beginnings that go on for megabytes: what costs most to read. (file, content)"""
    many = draw.choice((20_000, 200_000, 700_000))
    unit, opened, closed = draw.choice(
        [
            ("[],", "[", "0]"),
            ('{"a":{}},', "[", "0]"),
            ("[", "", ""),
            ('"a",', "[", "0]"),
            ("1,", "[", "0]"),
            ("-1.5e3,", "[", "0]"),
        ]
    )
    body = opened + unit * many + closed
    kind = draw.randrange(6)
    if kind == 0:
        return "tokenizer.json", ('{"model": {"vocab": ' + body + "}}").encode()
    if kind == 1:
        return "tokenizer.json", (
            '{"model": {"vocab": {' + ",".join(f'"{i}":{i}' for i in range(many)) + "}}}"
        ).encode()
    if kind == 2:
        raw = ('{"__metadata__": ' + body + "}").encode()
        return "model.safetensors", struct.pack("<Q", len(raw)) + raw
    if kind == 3:
        entry = '"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
        raw = ("{" + ",".join(entry % i for i in range(many // 4)) + "}").encode()
        return "model.safetensors", struct.pack("<Q", len(raw)) + raw
    if kind == 4:
        return "config.json", body.encode()
    keys = [*GGUF_KEYS, (b"a", 9, struct.pack("<IQ", 8, many) + ggufs.text(b"word") * many)]
    return "model.gguf", _gguf(keys, [], [len(keys), 0], 3, 32, 0, 0, draw)


BESIDE = [
    "LICENSE", "LICENSE.json", "LICENCE.safetensors", "NOTICE.txt", "COPYING.", "USE_POLICY.md", "license",
    "Config.json", "CONFIG.JSON", "TOKENIZER.json", "Model.safetensors", "model.safetensors.index.json",
    "special_tokens_map.json",
    "generation_config.json", "card.json", "record.json", "README.md", "events.jsonl", "added_tokens.json", "con.json",
    "pytorch_model.bin", "training_args.bin", "a b.json", "é.json", "a\nb.json", "..json", "...", "-rf", "config.json ",
    "LICENSE" + "x" * 240, "LICENSE\u202e.json", "model-00001-of-00001.safetensors", "x.py", ".hidden",
]  # fmt: skip
"""Names of files that lie beside a model's: known, unknown, twins, and such as mean something elsewhere."""


def beside(draw: Random) -> bytes:
    return draw.choice(
        [
            b"",
            b"x" * draw.choice((1, 2**20, 2**20 + 1)),
            json_of(TOKENIZER_CONFIG, draw),
            damage(WEIGHTS, draw),
            b"\xff\xfe",
        ]
    )


KINDS: dict[str, Callable[[Random], bytes]] = {
    "model.safetensors": safetensors,
    "model.gguf": gguf,
    "model.safetensors.index.json": index,
    "config.json": config,
    "tokenizer.json": tokenizer,
    "tokenizer_config.json": tokenizer_config,
    "chat_template.jinja": template,
    "adapter_config.json": adapter_config,
    "another file": beside,
}
SHARES = {
    "model.safetensors": 29, "model.gguf": 26, "model.safetensors.index.json": 10, "config.json": 13,
    "tokenizer.json": 8, "tokenizer_config.json": 5, "chat_template.jinja": 6, "adapter_config.json": 2,
    "another file": 1,
}  # fmt: skip
FOLDERS = {"model.safetensors.index.json": "shards", "adapter_config.json": "adapter"}
LARGE = 2000
"""One file in so many is a large one."""


def case(number: int) -> tuple[str, str, bytes]:
    """(folder, name of the file, its content); the folder is `model`, `shards`, `adapter` or a family's."""
    draw = Random(f"airlock {number}")
    if number % LARGE == LARGE - 1:
        return "model", *large(draw)
    name = draw.choices(list(SHARES), list(SHARES.values()))[0]
    if name == "config.json" and draw.random() < 0.7:
        family = draw.choice(list(FAMILIES))
        return family, name, family_config(family, draw)
    content = KINDS[name](draw)
    return FOLDERS.get(name, "model"), draw.choice(BESIDE) if name == "another file" else name, content
