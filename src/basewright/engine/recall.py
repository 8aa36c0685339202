"""An engine that remembers: what was answered once is never computed again, also after kill -9.

Every answer is written when it is known. The file belongs to one model as one engine computes it (`identity`), and a
line in it to the token ids that were asked, so that two models can never share a line (H073).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from basewright import __version__, store
from basewright.engine.lm import LM, Likelihood, Pair, Piece, Sampling, check_pairs
from basewright.errors import StoreError
from basewright.plain import from_plain, to_plain
from basewright.records import Progress, silent
from basewright.text import encode

TABLE = "CREATE TABLE IF NOT EXISTS answers (asked BLOB PRIMARY KEY, logprobs BLOB, greedy INTEGER, text TEXT)"


def identity(lm: LM, weights: str) -> str:
    """Hash of what decides the answers beside the question: weights and tokenizer files, engine, precision, version."""
    facts = {"weights": weights, "engine": lm.engine, "precision": lm.precision, "version": __version__}
    tokenizer = [lm.tokenizer.bos, lm.tokenizer.bos_id, lm.tokenizer.eos_id, *lm.tokenizer.stops]
    return store.digest({**facts, "context": lm.context, "tokenizer": tokenizer})[:16]


class RecalledLM(LM):
    """`lm`, with a file of what it has answered; `computed` counts what was not in it."""

    def __init__(self, lm: LM, weights: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.lm = lm
        self.name, self.engine, self.precision = lm.name, lm.engine, lm.precision
        self.tokenizer, self.context = lm.tokenizer, lm.context
        self.path = folder / f"{identity(lm, weights)}.sqlite"
        self.computed = 0

    def score(self, pairs: Sequence[Pair], progress: Progress = silent) -> Iterator[tuple[int, Likelihood]]:
        check_pairs(pairs, self.context)
        places: dict[bytes, list[int]] = {}
        for place, pair in enumerate(pairs):
            places.setdefault(_key("score", pair.context, pair.continuation), []).append(place)
        with self._answers() as answers:
            known = 0
            for key, found in _found(answers, list(places)):
                known += len(places[key])
                yield from ((place, found) for place in places.pop(key))
            progress("continuations scored", known, len(pairs))
            missing = list(places.items())
            asked = [pairs[own[0]] for _, own in missing]
            told = _after(progress, known, len(pairs))
            for at, answer in self.lm.score(asked, told):
                key, own = missing[at]
                values = (key, array("d", answer.logprobs).tobytes(), answer.greedy)
                answers.execute("INSERT OR REPLACE INTO answers (asked, logprobs, greedy) VALUES (?, ?, ?)", values)
                self.computed += 1
                yield from ((place, answer) for place in own)

    def generate(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece]:
        """The whole answer in one piece."""
        ids = encode.prompt(self.tokenizer, prompt) if isinstance(prompt, str) else prompt
        yield from (piece for _, piece in self.complete([ids], [sampling]))

    def complete(
        self, prompts: Sequence[Sequence[int]], samplings: Sequence[Sampling], progress: Progress = silent
    ) -> Iterator[tuple[int, Piece]]:
        """Each answer whole."""
        keys = [_key("generate", p, repr(s).encode()) for p, s in zip(prompts, samplings, strict=True)]
        with self._answers() as answers:
            missing = []
            for place, key in enumerate(keys):
                row = answers.execute("SELECT text FROM answers WHERE asked = ?", (key,)).fetchone()
                if row:
                    yield place, from_plain(Piece, json.loads(row[0]))
                else:
                    missing.append(place)
            told = _after(progress, len(keys) - len(missing), len(keys))
            asked = [prompts[place] for place in missing], [samplings[place] for place in missing]
            for at, piece in self.lm.complete(*asked, told):
                text = json.dumps(to_plain(piece))
                answers.execute("INSERT OR REPLACE INTO answers (asked, text) VALUES (?, ?)", (keys[missing[at]], text))
                self.computed += 1
                yield missing[at], piece

    @contextmanager
    def _answers(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, isolation_level=None, timeout=60)) as answers:
                answers.execute("PRAGMA journal_mode = WAL")
                answers.execute("PRAGMA synchronous = NORMAL")
                answers.execute(TABLE)
                yield answers
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise StoreError(
                    f"disk full while keeping answers in {self.path.name}; those written before are kept",
                    fix="free some space, then run the same command again",
                ) from error
            raise StoreError(
                f"the answers kept in {self.path.name} cannot be used: {error}",
                fix=f"remove {self.path.parent.name}/{self.path.name} and run again; its answers are computed anew",
            ) from error


def _key(question: str, context: Sequence[int], rest: Sequence[int] | bytes) -> bytes:
    digest = hashlib.sha256(question.encode())
    for part in (array("q", context).tobytes(), rest if isinstance(rest, bytes) else array("q", rest).tobytes()):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def _found(answers: sqlite3.Connection, keys: list[bytes]) -> Iterator[tuple[bytes, Likelihood]]:
    for begin in range(0, len(keys), 500):
        part = keys[begin : begin + 500]
        marks = ", ".join("?" * len(part))
        rows = answers.execute(f"SELECT asked, logprobs, greedy FROM answers WHERE asked IN ({marks})", part)
        for key, logprobs, greedy in rows.fetchall():
            yield key, Likelihood(tuple(array("d", logprobs)), bool(greedy))


def _after(progress: Progress, known: int, total: int) -> Progress:
    """Progress of the rest, told as progress of the whole."""
    return lambda what, done, _: progress(what, min(known + done, total), total)
