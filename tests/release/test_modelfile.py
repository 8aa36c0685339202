"""The Modelfile, read back by the rules of Ollama's parser (parser/parser.go): quotes, line breaks, no escapes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from basewright.errors import Refused
from basewright.records import Layout
from tests.release import making

LINE = re.compile(
    r'(?:#[^\n]*|(?P<name>[A-Z]+) (?:(?P<key>[a-z_]+) )?(?:"""(?P<long>.*?)"""|(?P<short>[^\n"]+)))\n', re.S
)


def parse(text: str) -> list[tuple[str, str]]:
    """(instruction, value) in order; raises `AssertionError` for what the parser would not take."""
    found, at = [], 0
    while at < len(text):
        line = LINE.match(text, at)
        assert line, text[at:]
        if line["name"]:
            value = line["long"] if line["long"] is not None else line["short"]
            found.append((f"{line['name']} {line['key'] or ''}".strip(), value))
        at = line.end()
    return found


def written(
    root: Path, layout: Layout = making.LAYOUT, formats: tuple[str, ...] = ("f16", "q8_0")
) -> list[tuple[str, str]]:
    walk = making.walk(root / "made", formats=formats)
    walk.adapter = replace(walk.adapter, record=replace(walk.adapter.record, layout=layout))
    walk.task = replace(walk.task, layout=layout)
    walk.stage(root / "out")
    return parse((root / "out" / "Modelfile").read_text("utf-8"))


def test_it_is_a_raw_completion_at_temperature_zero(tmp_path: Path) -> None:
    found = dict(written(tmp_path))
    assert found["FROM"] == "./gguf/model-q8_0.gguf"
    assert (tmp_path / "out" / found["FROM"]).is_file()
    assert found["TEMPLATE"] == "{{ .Prompt }}"
    assert found["PARAMETER temperature"] == "0"
    assert found["PARAMETER repeat_penalty"] == "1"
    assert found["PARAMETER num_ctx"] == "1024"
    assert found["PARAMETER stop"] == "\n\n"


@pytest.mark.parametrize(
    ("formats", "best"),
    [(("f16",), "./gguf/model-f16.gguf"), (("q4_k_m",), "./gguf/model-q4_k_m.gguf"), ((), "./model")],
)
def test_the_best_form_there_is_comes_first(tmp_path: Path, formats: tuple[str, ...], best: str) -> None:
    assert dict(written(tmp_path, formats=formats))["FROM"] == best


@settings(max_examples=20, deadline=None)
@given(separator=st.text(st.sampled_from("\n\t #\\'\"ab{}é"), min_size=1, max_size=6))
def test_any_separator_comes_back_as_it_was_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, separator: str
) -> None:
    layout = Layout(prompt="{text}:", separator=separator)
    root = tmp_path_factory.mktemp("modelfile")
    if '"""' in separator or separator.startswith('"') or separator.endswith('"'):
        with pytest.raises(Refused, match="separator"):
            written(root, layout)
    else:
        assert dict(written(root, layout))["PARAMETER stop"] == separator


def test_without_a_separator_only_eos_ends_an_answer(tmp_path: Path) -> None:
    assert "PARAMETER stop" not in dict(written(tmp_path, Layout(prompt="{text}:", separator="")))
