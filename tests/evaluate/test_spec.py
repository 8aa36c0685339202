"""A task's file is strict: every fault is one line that names the key, and the nearest known one."""

from __future__ import annotations

from pathlib import Path

import pytest

from basewright.errors import DataError, UsageError
from basewright.evaluate import spec

GOOD = {
    "choice": 'prompt = "Q: {q}\\nA:"\n',
    "classify": 'prompt = "T: {text}\\nL:"\n',
    "generate": 'prompt = "Q: {q}\\nA:"\n',
    "span": 'prompt = "C: {c}\\nA:"\n',
    "rating": 'prompt = "T: {text}\\nR:"\nscale = [1, 2, 3]\n',
    "perplexity": "",
}


def read(tmp_path: Path, kind: str, more: str = "") -> spec.TaskSpec:
    path = tmp_path / "t.toml"
    path.write_text(f'name = "t"\nkind = "{kind}"\ndata = "d.jsonl"\n' + GOOD.get(kind, "") + more, "utf-8")
    return spec.read(path)


@pytest.mark.parametrize("kind", spec.SPECS)
def test_every_kind_needs_little(tmp_path: Path, kind: str) -> None:
    found = read(tmp_path, kind)
    assert type(found) is spec.SPECS[kind]
    assert set(GOOD) == set(spec.SPECS)


def test_defaults(tmp_path: Path) -> None:
    found = read(tmp_path, "generate", 'separator = "\\n###\\n"\n')
    assert isinstance(found, spec.GenerateSpec)
    assert (found.answer, found.shots, found.sampler, found.overflow) == (" {answer}", 0, "fixed", "refuse")
    assert found.stops == ["\n###\n"]  # an untuned model goes on with another example


@pytest.mark.parametrize(
    ("kind", "more", "says"),
    [
        ("choice", "shot = 3\n", r"unknown key shot; did you mean 'shots'"),
        ("choice", "max_tokens = 3\n", r"unknown key max_tokens"),
        ("perplexity", 'prompt = "{text}"\n', r"unknown key prompt"),
        ("choice", "[depth]\ndepths = [0]\nfiler = 'f'\nfiller = 'f'\n", r"depth\.filer; did you mean 'filler'"),
        ("choice", "shots = -1\n", r"shots: input should be greater"),
        ("choice", 'shots = "3"\n', r"shots: input should be a valid integer"),
        ("choice", "[columns]\na = 3\n", r"columns\.a"),
        ("choice", "orders = 2\nshots = 1\n", r"1 shots have not 2 orders"),
        ("span", 'shots = 2\nsampler = "balanced"\n', r"balanced shots need labels"),
        ("choice", 'normalisation = "byte"\n', r"normalisation: input should be 'sum', 'characters'"),
        ("generate", 'extract = "("\n', r"extract is no regular expression"),
        ("generate", 'gold = "*"\n', r"gold is no regular expression"),
        ("generate", 'normalise = ["colour"]\n', r"normalise"),
        ("rating", 'words = ["a", "b"]\n', r"words has 2 entries and scale 3"),
        ("classify", '[labels]\na = "x"\n', r"one label only"),
        ("classify", 'answer = "  "\n', r"the answer is empty"),
        ("choice", "[depth]\ndepths = [0, 2]\nfiller = 'f'\n", r"depth\.depths"),
        ("choice", "[depth]\ndepths = [0]\nfiller = 'f'\n", r"no place \{haystack\}"),
        ("guess", "", r"kind 'guess'"),
        ("choise", "", r"kind 'choise'; did you mean 'choice'"),
    ],
)
def test_a_fault_is_one_line(tmp_path: Path, kind: str, more: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        read(tmp_path, kind, more)
    assert "\n" not in caught.value.message
    assert caught.value.fix


@pytest.mark.parametrize(
    ("kind", "prompt", "says"),
    [
        ("choice", "Q:", "no {place}"),
        ("choice", "Q: {q}\nA: ", "ends in white space"),
        ("choice", "Q: {q} {answer}\nA:", "shows the right answer, {answer}"),
        ("classify", "{label}: {text}", "shows the right answer, {label}"),
        ("rating", "{text} {rating} of", "shows the right answer, {rating}"),
    ],
)
def test_a_prompt_that_asks_nothing_or_tells_the_answer(kind: str, prompt: str, says: str) -> None:
    raw = {"name": "t", "kind": kind, "data": "d", "prompt": prompt, **({"scale": [1, 2]} if kind == "rating" else {})}
    with pytest.raises(UsageError) as caught:
        spec.parse(raw, "t.toml")
    assert says in caught.value.message


@pytest.mark.parametrize("scale", [[1, 1], [2, 1]])
def test_a_scale_rises(scale: list[int]) -> None:
    with pytest.raises(UsageError, match="does not rise"):
        spec.parse({"name": "t", "kind": "rating", "data": "d", "prompt": "{t}", "scale": scale}, "t.toml")


def test_missing_keys_files_and_toml(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    for text, says in (('name = "t"\ndata = "d"\n', "lacks kind"), ('kind = "span"\n', "lacks name")):
        path.write_text(text, "utf-8")
        with pytest.raises(UsageError, match=says):
            spec.read(path)
    for raw in (b"name = ", b'name = "\xff"'):
        path.write_bytes(raw)
        with pytest.raises(DataError, match="is not TOML"):
            spec.read(path)
    with pytest.raises(UsageError, match="cannot be read"):
        spec.read(tmp_path / "none.toml")


@pytest.mark.parametrize("name", ["A", "a b", "../x", "", "a" * 65])
def test_h022_a_name_that_is_no_folder_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        spec.parse({"name": name, "kind": "perplexity", "data": "d"}, "t.toml")
