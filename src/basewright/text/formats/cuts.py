"""How byte-level tokenizers cut text before merging: the cuts that are known, by the name GGUF gives them.

No regular expression from a file is run unless it is one of these (H017), which take time linear in the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from basewright.errors import ModelFileError
from basewright.records import record

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = _ENDINGS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _SPACES
"""Also cl100k's; https://github.com/meta-llama/llama-models/blob/main/models/llama3/tokenizer.py."""
QWEN2 = _ENDINGS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _SPACES
"""As transformers' Qwen2Converter has it."""
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASES = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+%s|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*%s"
O200K = _CASES % (_ENDINGS + "?", _ENDINGS + "?") + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _SPACES
TEKKEN = _CASES % ("", "") + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _SPACES
_DEEPSEEK3 = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"| ?[\p{P}\p{S}]+[\r\n]*|" + _SPACES
)
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|%s| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
_BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
KNOWN = frozenset(
    {
        LLAMA3, QWEN2, O200K, TEKKEN, _DEEPSEEK3, _WORDS, _BLOOM,
        _CL100K % r"\p{N}", _CL100K % r"\p{N}{1,3}",
        _ENDINGS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + _SPACES,
        _ENDINGS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _SPACES,
        "[一-龥぀-ゟ゠-ヿ]+", "[一-龥ࠀ-一가-퟿]+", r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"\s+", r"\n", r"\d",
        r"\p{N}", r"\p{N}{1,3}", r"\p{N}+", "[0-9]", "[0-9][0-9][0-9]", " {2,}", r"[^\n]+|[\n]+", r"\s+$",
        r"([\t\n]|    |  )", "<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
    }
)  # fmt: skip
"""As in the tokenizer.json files of those models; llama.cpp's src/llama-vocab.cpp quotes most of them."""
LINEAR = {r"\s+$": r"(?<!\s)\s+$"}
"""DeepSeek's, which tries a run of spaces from each of them; what fails from the first fails from all."""


@record
class Cut:
    steps: tuple[str, ...]
    """`words` (GPT-2's expression, then bytes), `punctuation`, `digits` (runs), `digit` (each), else an expression."""
    nfc: bool = False
    whole: bool = False
    """Whether a stretch that is a token is taken whole, without merging (tiktoken's rule)."""
    bos: bool = False
    """Whether texts start with BOS where the file does not say."""


_GPT2, _DIGITS = Cut(steps=("words",)), Cut(steps=("digit", "words"))
_LLAMA3 = Cut(steps=(LLAMA3,), whole=True, bos=True)
_QWEN2 = Cut(steps=(QWEN2,), nfc=True)
CUTS = {
    "gpt-2": _GPT2,
    "phi-2": _GPT2,
    "roberta-bpe": _GPT2,
    "mpt": Cut(steps=("words",), nfc=True),
    "olmo": Cut(steps=("words",), nfc=True),
    "falcon": Cut(steps=("punctuation", "words", "digits", "[0-9][0-9][0-9]")),
    "starcoder": _DIGITS,
    "refact": _DIGITS,
    "smollm": _DIGITS,
    "command-r": Cut(steps=("digit", "words"), nfc=True),
    "llama-bpe": _LLAMA3,
    "llama3": _LLAMA3,
    "llama-v3": _LLAMA3,
    "qwen2": _QWEN2,
    "deepseek-r1-qwen": _QWEN2,
}
"""The models' own cuts (their tokenizer.json), of which llama.cpp's are imitations."""


def set_cut(backend: Backend, cut: Cut, *, add_prefix_space: bool = False) -> None:
    """Give a byte-level backend its normalizer, pre-tokenizer and decoder."""
    from tokenizers import decoders, normalizers, pre_tokenizers

    steps = [_step(step, add_prefix_space) for step in cut.steps]
    if "words" not in cut.steps:
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=False))
    backend.pre_tokenizer = pre_tokenizers.Sequence(steps)
    backend.decoder = decoders.ByteLevel()
    if cut.nfc:
        backend.normalizer = normalizers.NFC()


def _step(step: str, add_prefix_space: bool) -> Any:
    from tokenizers import Regex, pre_tokenizers

    if step == "words":
        return pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=True)
    if step == "punctuation":
        return pre_tokenizers.Punctuation("contiguous")
    if step in ("digit", "digits"):
        return pre_tokenizers.Digits(individual_digits=step == "digit")
    return pre_tokenizers.Split(Regex(step), "isolated")


def check_expressions(spec: dict[str, Any], name: str) -> None:
    """Refuse a tokenizer.json with a regular expression that is not known (H017), and put the linear form of one that
    is not linear in its place in `spec`. Raises `ModelFileError`."""
    for place in _expressions([spec.get(part) for part in ("normalizer", "pre_tokenizer", "decoder")]):
        found = place["Regex"].replace("\r", r"\r").replace("\n", r"\n")
        if found not in KNOWN:
            raise ModelFileError(
                f"the tokenizer of {name} cuts text by an unknown expression: {found[:200]!r}",
                fix="if it is sound and takes linear time, add it to KNOWN in basewright/text/formats/cuts.py",
            )
        place["Regex"] = LINEAR.get(found, place["Regex"])


def _expressions(level: list[Any]) -> Iterable[dict[str, Any]]:
    while level:
        item = level.pop()
        if isinstance(item, list):
            level += item
        elif isinstance(item, dict):
            if isinstance(item.get("Regex"), str):
                yield item
            level += item.values()
