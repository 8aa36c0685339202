"""Every decoder Foundling on the held-out text of every decoder's recipe: who is at home where, in bits per byte.

    python -m benchmarks.grounds --corpora FOLDER [FURTHER MODEL …]

A further model is the folder of one that is not in the catalog yet. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from basewright.catalog import cards
from basewright.recipe import read_pretrain
from basewright.serve.artifact import find, open_artifact
from basewright.store import Store
from basewright.train import baselines, heldout, pretrain

RECIPES = {
    "prose": Path("examples/pretrain/foundling-prose.toml"),
    "code": Path("examples/pretrain/foundling-code.toml"),
}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grounds")
    parser.add_argument("models", nargs="*", help="folders, beside the Foundlings of the catalog")
    parser.add_argument("--corpora", type=Path, required=True, help="as for basewright pretrain")
    given = parser.parse_args(arguments)
    grounds = {name: pretrain.held_out(read_pretrain(path).corpus, given.corpora) for name, path in RECIPES.items()}
    print(f"| bits per byte on | {' | '.join(f'{name}, {_size(texts):,} bytes' for name, texts in grounds.items())} |")
    print(f"|---|{'---:|' * len(grounds)}")
    for model in (*_foundlings(), *given.models):
        lm, name, _ = open_artifact(find(model, Store(Path("runs"))), store=Store(Path("runs")))
        _row(name, [heldout.bits_per_byte(lm, texts) for texts in grounds.values()])
    packed = [baselines.compressed(texts) for texts in grounds.values()]
    for name in packed[0]:
        _row(name, [one[name] for one in packed])


def _foundlings() -> list[str]:
    return [card.id for card in cards.find() if card.family == "foundling" and card.kind == "decoder"]


def _size(texts: Sequence[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def _row(name: str, values: Sequence[float]) -> None:
    print(f"| {name} | {' | '.join(f'{value:.4f}' for value in values)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
