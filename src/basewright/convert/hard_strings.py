"""Texts on which tokenizers are known to differ: scripts, emoji, white space, digits, spellings of control tokens."""

from __future__ import annotations

import random
from collections.abc import Iterator

from basewright.text.tokenizer import Tokenizer

# A row for each kind of trouble.
# fmt: off
FRAGMENTS = (
    "a", "I", "the", " the", "Hello world", "don't", "DON'T", "we'll've", "it's", "'s", "’s", "x'", "camelCase", "a_b",
    "0", "7", "42", " 42", "007", "123", "1234", "12345678901234567890", "3.14159", "1,000,000", "-1", "1e-9", "0xFF",
    "²³", "½", "Ⅳ", "٣٤٥", "५६", "①", "2026-11-22", "07:45",
    " ", "  ", "   ", "\t", "\t\t", " \t ", "\n", "\n\n", "\r\n", " \n ", "\n    ", "a  b", "a   ", "   a", "a\n\nb",
    "\u00a0", "\u2003", "\u3000", "\u200b", "\u200d", "\ufeff", "\u0085", "\u2028", "\x0b", "\x0c", "\x00", "\x1b",
    "!", "?!", "...", "…", "--", "—", "''", '""', "“quoted”", "«»", "(a)", "[b]", "{c}", "</p>", "a/b", "a\\b", "$%^&*",
    "@user", "https://example.org/a?b=c&d=%20", "a@b.example", "C++", "==", "!=", "->", "=>", "::", "/*", "*/", "```",
    "Größe", "naïve", "façade", "ćwierć", "İstanbul", "ıĞ", "ﬁ", "Ǆ", "ß", "Å", "A\u030a", "e\u0301", "e\u0301\u0323",
    "Привет, мир", "Καλημέρα", "שלום", "مرحبا بالعالم", "नमस्ते", "বাংলা", "ไทยไม่มีช่องว่าง", "မြန်မာ", "አማርኛ",
    "你好,世界", "你好，世界。", "日本語とカタカナ", "한국어", "ﾊﾝｶｸ", "𠮷野家", "Tiếng Việt", "ᚠᚢᚦ", "𝕬𝖇", "ａｂｃ",
    "😀", "👍🏽", "👩\u200d👩\u200d👧\u200d👦", "🇩🇪🇫🇷", "❤\ufe0f", "a😀b", "🏳\ufe0f\u200d🌈", "\U0010ffff", "\ufffd",
    "<s>", "</s>", "<unk>", "<pad>", "<|endoftext|>", "<|pad|>", "[INST]", "<<SYS>>", "<|im_start|>", "<0x0A>",
    "▁", "▁a", "Ġ", "Ġa", "Ċ", "def f(x):\n    return x\n", "\tif a:\n\t\tb()", "SELECT * FROM t;", '{"a": [1, null]}',
    "a" * 24, "=" * 40, "ha" * 30, "z" * 200, " " * 65, "[PAD5]",
)
# fmt: on
SPREAD = (*range(0x80, 0x800, 31), *range(0x800, 0xD800, 499), *range(0xE000, 0x110000, 499))
"""Code points that hold every byte UTF-8 has, each a text alone: how unassigned ones join is a matter of version."""
MIXED = 2000


def texts(tokenizer: Tokenizer) -> Iterator[str]:
    """The fragments, the spread, every token's own text (so that each merge is walked), `MIXED` fixed mixtures."""
    own = [text for text in (tokenizer.pieces([i])[0] for i in range(tokenizer.size)) if "\ufffd" not in text and text]
    yield from FRAGMENTS
    yield from map(chr, SPREAD)
    yield from own
    draw = random.Random(0)
    for _ in range(MIXED):
        sources = [draw.choice((FRAGMENTS, own)) for _ in range(draw.randint(2, 8))]
        yield "".join(draw.choice(source) for source in sources)
