"""The model card: YAML a hub reads, commands that carry the prompt unharmed, numbers that are those of the records."""

from __future__ import annotations

import ast
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from basewright.text import layout as layouts
from tests.release import making


def card(root: Path, **changes: Any) -> str:
    making.walk(root / "made", **changes).stage(root / "out")
    return (root / "out" / "README.md").read_text("utf-8")


def front(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return found


def block(text: str, language: str, nth: int = 0) -> str:
    """The nth code block of a language, read line by line as CommonMark does."""
    found: list[list[str]] = []
    mark: str | None = None
    for line in text.splitlines():
        if mark is None and (opened := re.match(r"(`{3,})(\w*)$", line)):
            mark = opened[1]
            found.append([opened[2]])
        elif line == mark:
            mark = None
        elif mark is not None:
            found[-1].append(line)
    return ["\n".join(lines) for name, *lines in found if name == language][nth]


def prompt() -> str:
    shortest = "The train party | pays `0` 'days' late – “0” 😀"
    return layouts.prompt(making.LAYOUT, shortest)


def test_the_front_matter_is_yaml_with_the_words_of_a_hub(tmp_path: Path) -> None:
    found = front(card(tmp_path))
    assert found["license"] == "cc0-1.0"
    assert found["base_model"] == making.BASE
    assert found["language"] == ["en"]
    assert "gguf" in found["tags"]
    assert "datasets" not in found


@pytest.mark.parametrize(("licence", "name"), [("PSF-2.0", "psf-2.0"), ("CC0-1.0 AND PSF-2.0", "cc0-1.0-and-psf-2.0")])
def test_a_licence_no_hub_lists_is_other_with_a_name(tmp_path: Path, licence: str, name: str) -> None:
    found = front(card(tmp_path, licence=licence))
    assert (found["license"], found["license_name"]) == ("other", name)


def test_the_commands_carry_the_prompt_as_the_model_reads_it(tmp_path: Path) -> None:
    """Quotes, bars, backticks, a dash and an emoji in the text survive the shell, JSON and Python."""
    text = card(tmp_path)
    for nth, stop in ((0, "max_tokens"), (1, "n_predict")):
        words = shlex.split(block(text, "sh", nth))
        request = json.loads(words[words.index("-d") + 1])
        assert request["prompt"] == prompt()
        assert request["stop"] == ["\n\n"]
        assert request[stop] == 11
    tree = ast.parse(block(text, "python"))
    assigned = [n.value for n in tree.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "prompt"]
    assert ast.literal_eval(assigned[0]) == prompt()


def test_the_layout_is_shown_exactly_with_an_example_of_the_training_data(tmp_path: Path) -> None:
    text = card(tmp_path)
    assert block(text, "", 0) == making.LAYOUT.prompt
    assert block(text, "", 1) == prompt()
    assert "` payment` (with the space)" in text
    assert "The test party" not in text


def test_backticks_in_a_text_do_not_end_its_block(tmp_path: Path) -> None:
    walk = making.walk(tmp_path / "made")
    first = replace(walk.task.train[0], text="```")
    walk.task = replace(walk.task, train=(first, *walk.task.train[1:]))
    walk.stage(tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "````\nClause: ```\nKind:\n````" in text


def test_the_numbers_are_those_of_the_records(tmp_path: Path) -> None:
    text = card(tmp_path)
    assert "| accuracy | 45.0 % [35.0, 55.0], n = 6 | 85.0 % [75.0, 95.0], n = 6 |" in text
    assert "| general text, bits per byte | 2.1040 | 2.1310 |" in text
    assert "exact paired p = 0.004, separated at 95 %" in text
    assert "| gguf q8_0 | largest difference in log-probability | 0.0001 | 0.01 | passed |" in text
    assert "Not checked here: llama.cpp is not installed" in text
    assert making.DATA in text


def test_a_table_row_stays_a_row_whatever_a_check_says(tmp_path: Path) -> None:
    rows = [line for line in card(tmp_path).splitlines() if line.startswith("|")]
    checks = [row for row in rows if "passed" in row]
    assert len(checks) == 5
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in checks} == {7}


def test_h120_the_compute_is_stated_with_its_formula_and_its_share_of_the_base(tmp_path: Path) -> None:
    text = card(tmp_path)
    flops, base = 4 * 3_221_952 * 80_000, 6 * 3_221_952 * 4_915_200
    assert f"{flops:.3g} FLOPs counted; 4·N·D = {flops:.3g}" in text
    assert f"over compute of the base: {flops / base:.3g}" in text


def test_h120_unknown_compute_of_the_base_is_stood_in_for(tmp_path: Path) -> None:
    walk = making.walk(tmp_path / "made")
    unknown = replace(walk.weights.record.card, tokens_seen=None)
    walk.weights = replace(walk.weights, record=replace(walk.weights.record, card=unknown))
    walk.stage(tmp_path / "out")
    assert "base: 1e+23 FLOPs, unknown" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_a_tie_is_called_a_tie(tmp_path: Path) -> None:
    walk = making.walk(tmp_path / "made")
    tie = replace(walk.choice.record, verdict="tie", tied=(making.BASE, "foundling-code"))
    walk.choice = replace(walk.choice, record=tie)
    walk.stage(tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "A tie: `foundling-prose`, `foundling-code` cannot be separated" in text


def test_unchecked_duties_and_non_commercial_terms_are_said_to_be(tmp_path: Path) -> None:
    files = {"LICENSE": b"Qwen RESEARCH LICENSE AGREEMENT"}
    text = card(tmp_path, licence="qwen-research", base_files=files)
    assert "**Not for commercial use.**" in text
    assert "not checked against the licence's text" in text
