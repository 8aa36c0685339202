"""A recipe's faults are one line that names the key, and the nearest known one."""

from __future__ import annotations

from pathlib import Path

import pytest

from basewright import recipe
from basewright.errors import BasewrightError, DataError, UsageError

GOOD = 'name = "x"\n[task]\ndata = "d.jsonl"\n[candidates]\nmodels = ["a"]\n'


def read(tmp_path: Path, text: str) -> recipe.Recipe:
    path = tmp_path / "r.toml"
    path.write_text(text, "utf-8")
    return recipe.read(path)


def test_defaults(tmp_path: Path) -> None:
    found = read(tmp_path, GOOD)
    assert (found.tune.rank, found.limits.confidence, found.choose.on_tie) == (16, 0.95, "stop")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("[tune]\nrnk = 3\n", r"unknown key tune\.rnk; did you mean 'rank'"),
        ("[tun]\n", r"unknown key tun; did you mean 'tune'"),
        ("[tune]\nrank = 0\n", r"tune\.rank: input should be greater than 0"),
        ('[tune]\nrank = "8"\n', r"tune\.rank: input should be a valid integer"),
        ("[limits]\nconfidence = 1.5\n", r"limits\.confidence"),
        ('[limits]\nmemory = "lots"\n', r"\[limits\]\.memory is 'lots'"),
        ('[choose]\non_tie = "guess"\n', r"choose\.on_tie"),
    ],
)
def test_a_fault_is_one_line(tmp_path: Path, more: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        read(tmp_path, GOOD + more)
    assert "\n" not in caught.value.message
    assert caught.value.fix


def test_missing_keys_files_and_toml(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"lacks candidates"):
        read(tmp_path, 'name = "x"\n[task]\ndata = "d"\n')
    with pytest.raises(DataError, match="is not TOML"):
        read(tmp_path, "name = ")
    with pytest.raises(UsageError, match="cannot be read"):
        recipe.read(tmp_path / "none.toml")
    (tmp_path / "r.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(DataError, match="is not TOML"):
        recipe.read(tmp_path / "r.toml")


@pytest.mark.parametrize("name", ["X", "a b", "../x", "", "-a", "a" * 65])
def test_h022_a_name_that_is_no_folder_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BasewrightError):
        read(tmp_path, GOOD.replace('"x"', f'"{name}"'))


def test_memory_in_bytes() -> None:
    assert recipe.memory("auto") is None
    assert recipe.memory("4 GiB") == 4 * 2**30
    assert recipe.memory("1.5GB") == 1_500_000_000


PRETRAIN = """
name = "p"
licence = "CC0-1.0"
[corpus]
paths = ["a.txt"]
held_out = ["b.txt"]
max_bytes = 1000
[model]
vocabulary = 300
layers = 1
width = 32
heads = 4
kv_heads = 2
feed_forward = 64
context = 64
[train]
steps = 2
batch_tokens = 64
micro_tokens = 64
learning_rate = 0.01
"""


def test_a_pretraining_recipe(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(PRETRAIN)
    assert recipe.read_pretrain(path).train.steps == 2
    path.write_text(PRETRAIN.replace("heads = 4", "heads = 3"))
    with pytest.raises(UsageError, match="multiple of heads"):
        recipe.read_pretrain(path)
    path.write_text(PRETRAIN.replace("micro_tokens = 64", "micro_tokens = 32"))
    with pytest.raises(UsageError, match="less than the context"):
        recipe.read_pretrain(path)
    path.write_text(PRETRAIN + '\n[corpus.limits]\n"books" = 10\n')
    with pytest.raises(UsageError, match=r"\[corpus.limits\] has books"):
        recipe.read_pretrain(path)
