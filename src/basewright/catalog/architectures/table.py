"""Tables of tensors: a family of models as text, one line a tensor or a linear map.

    model.embed_tokens      table vocabulary width
    model.layers.{layers}.
      self_attn.q_proj      map queries width  bias=attention_bias
      input_layernorm       norm width
    lm_head                 map vocabulary width  if=untied

A line is a name, a kind and its dimensions, each a size of the config (`Sizes.word`). `{layers}` repeats it: for every
number below a count, or for each of a list. A name that ends in a dot is put before the indented names below it.

Kinds: `map`, the weight of a linear map, outputs before inputs; `turned`, one stored inputs first; `norm`, `table` and
`conv`, other weights; `raw`, a tensor of just that name; `stack`, one that holds all experts; `buffer`, one that is in
the file and is no parameter. Options: `bias`, a bias beside the weight; `if=FLAG`; `bias=FLAG`; `as=NAME`, what
transformers calls the map in memory, where its files say another name (`as=A+B`: it is cut into two).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

from basewright.catalog.architectures.sizes import Sizes

REPEAT = re.compile(r"\{([a-z_.]+)\}")
EXPERTS = "experts"


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    kind: str
    dims: tuple[str, ...]
    needs: tuple[str, ...]
    """Flags that must all hold."""
    called: tuple[str, ...]
    """The short names of a linear map, as LoRA targets it."""
    repeats: tuple[str, ...]
    """What its name repeats it for."""
    routed: bool
    """Whether a token passes through only some of it."""

    def there(self, sizes: Sizes) -> bool:
        return all(sizes.word(flag) for flag in self.needs)

    def shape(self, sizes: Sizes) -> tuple[int, ...]:
        dims = tuple(sizes.word(dim) for dim in self.dims)
        return dims[::-1] if self.kind == "turned" else dims

    def parameters(self, sizes: Sizes) -> int:
        return 0 if self.kind == "buffer" else self.times(sizes) * math.prod(self.shape(sizes))

    def idle(self, sizes: Sizes) -> int:
        """Parameters of the experts that a token is not sent to."""
        count = self.parameters(sizes)
        return count - count * min(sizes.experts_active, sizes.experts) // sizes.experts if count else 0

    def times(self, sizes: Sizes) -> int:
        return math.prod(len(_indices(sizes, word)) for word in self.repeats)

    def names(self, sizes: Sizes) -> Iterator[str]:
        pieces = REPEAT.split(self.name)
        for at in product(*(_indices(sizes, word) for word in self.repeats)):
            yield "".join(str(at[n // 2]) if n % 2 else piece for n, piece in enumerate(pieces))


def _indices(sizes: Sizes, word: str) -> range | tuple[int, ...]:
    value = sizes.word(word)
    return value if isinstance(value, tuple) else range(value)


@cache
def parse(text: str) -> tuple[Line, ...]:
    """The lines of a table, each bias as a line of its own."""
    lines: list[Line] = []
    before = ""
    for line in filter(None, text.splitlines()):
        words = line.split()
        if len(words) == 1:
            before = words[0]
            continue
        lines += _lines(before + words[0] if line[0] == " " else words[0], words[1], words[2:])
    return tuple(lines)


def _lines(name: str, kind: str, words: list[str]) -> Iterator[Line]:
    options = dict(word.partition("=")[::2] for word in words if word.startswith(("if=", "bias", "as=")))
    dims = tuple(words[: len(words) - len(options)])
    needs = (options["if"],) if "if" in options else ()
    called: tuple[str, ...] = ()
    if kind in ("map", "turned"):
        called = tuple(options.get("as", name.rpartition(".")[2]).split("+"))
    weight = name if kind in ("raw", "stack", "buffer") else f"{name}.weight"
    repeats = tuple(REPEAT.findall(name))
    routed = kind == "stack" or any(word.rpartition(".")[2] == EXPERTS for word in repeats)
    yield Line(weight, kind, dims, needs, called, repeats, routed)
    if "bias" in options:
        flags = (options["bias"],) if options["bias"] else ()
        yield Line(f"{name}.bias", "raw", dims[:1], needs + flags, (), repeats, routed)
