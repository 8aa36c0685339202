"""What was answered once is never computed again, and never taken for another model's answer."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from basewright.engine.fake import FakeLM
from basewright.engine.lm import Pair, Request, Sampling
from basewright.engine.recall import RecalledLM, identity
from basewright.errors import DataError, StoreError

REQUESTS = [Request(f"Item {n}: a", (" good", " bad", " good")) for n in range(9)]


def recalled(folder: Path, lm: FakeLM | None = None, weights: str = "w") -> RecalledLM:
    return RecalledLM(lm or FakeLM("f"), weights, folder)


def test_answers_are_those_of_the_engine_and_computed_once(tmp_path: Path) -> None:
    expected = FakeLM("f").loglikelihood(REQUESTS)
    first = recalled(tmp_path)
    assert first.loglikelihood(REQUESTS) == expected
    assert first.computed == 18  # of 27: the same question twice is asked once
    again = recalled(tmp_path)
    assert again.loglikelihood([*REQUESTS, Request("another", (" one",))])[:-1] == expected
    assert again.computed == 1
    text = "A whole text, rolled. " * 40
    assert first.rolling([text]) == again.rolling([text]) == FakeLM("f").rolling([text])


def test_what_is_generated_is_kept_too(tmp_path: Path) -> None:
    sampling = Sampling(max_tokens=9, stops=("\n",))
    expected = [piece.text for piece in FakeLM("f").generate("The", sampling)]
    for computed in (1, 0):
        lm = recalled(tmp_path)
        pieces = list(lm.generate("The", sampling))
        assert (pieces[0].text, pieces[-1].finish is not None) == ("".join(expected), True)
        assert lm.computed == computed
    other = recalled(tmp_path)
    prompts = [other.tokenizer.ids(text) for text in ("One", "Two")]
    for computed in (3, 3):  # another sampling is another question
        asked = [other.tokenizer.ids("The"), *prompts], [replace(sampling, max_tokens=8)] * 3
        found = dict(other.complete(*asked))
        assert found == dict(FakeLM("f").complete(*asked))
        assert other.computed == computed


CHANGES: dict[str, Callable[[FakeLM], FakeLM]] = {
    "engine": lambda lm: replace(lm, engine="other"),
    "precision": lambda lm: replace(lm, precision="bfloat16"),
    "context": lambda lm: replace(lm, context=100),
    "tokenizer": lambda lm: replace(lm, tokenizer=replace(lm.tokenizer, bos=False)),
}


@pytest.mark.parametrize("changed", CHANGES)
def test_h073_nothing_is_recalled_when_the_model_or_how_it_is_run_changes(changed: str, tmp_path: Path) -> None:
    recalled(tmp_path).loglikelihood(REQUESTS)
    other = recalled(tmp_path, CHANGES[changed](FakeLM("f")))
    other.loglikelihood(REQUESTS)
    assert other.computed == 18


def test_h073_other_weights_are_another_model(tmp_path: Path) -> None:
    recalled(tmp_path, FakeLM("same name", seed=0), "one").loglikelihood(REQUESTS)
    other = recalled(tmp_path, FakeLM("same name", seed=1), "two")
    assert other.loglikelihood(REQUESTS) == FakeLM("f", seed=1).loglikelihood(REQUESTS)
    assert other.computed == 18
    assert identity(FakeLM("a"), "one") == identity(FakeLM("b"), "one") != identity(FakeLM("a"), "two")


def test_where_a_context_ends_is_part_of_the_question(tmp_path: Path) -> None:
    lm = recalled(tmp_path)
    for pair in (Pair((1, 2), (3,)), Pair((1,), (2, 3)), Pair((1, 2, 3), (4,))):
        assert dict(lm.score([pair])) == dict(FakeLM("f").score([pair]))
    assert lm.computed == 3


def test_too_long_is_refused_as_by_the_engine(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="longer than the model's context"):
        recalled(tmp_path).loglikelihood([Request("a" * 600, (" b",))])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    lm = recalled(tmp_path)
    lm.loglikelihood(REQUESTS)
    lm.path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="cannot be used") as error:
        lm.loglikelihood(REQUESTS)
    assert lm.path.name in error.value.fix


SLOW = """
import sys, time
from pathlib import Path
from basewright.engine.fake import FakeLM
from basewright.engine.lm import Request
from basewright.engine.recall import RecalledLM

class Slow(FakeLM):
    def _score(self, pair):
        time.sleep(0.004)
        answer = super()._score(pair)
        with open(sys.argv[2], "a") as told:
            told.write(f"{pair}\\n")
        return answer

def told(_what, done, _total):
    with open(sys.argv[3], "a") as file:
        file.write(f"{done}\\n")

lm = RecalledLM(Slow("f"), "w", Path(sys.argv[1]))
lm.loglikelihood([Request(f"Item {n}: a", (" good", " bad")) for n in range(60)], told)
"""


def test_h080_kill_and_resume_loses_no_finished_item(tmp_path: Path) -> None:
    """Killed at six random moments: an item in flight may be computed twice, one that was finished never."""
    computed, finished = tmp_path / "computed", tmp_path / "finished"
    command = [sys.executable, "-c", SLOW, str(tmp_path / "answers"), str(computed), str(finished)]
    draw = random.Random(3)
    for _ in range(6):
        started = len(computed.read_text().splitlines()) if computed.exists() else 0
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        goal = started + draw.randrange(3, 20)
        while time.monotonic() < deadline and process.poll() is None:
            if computed.exists() and len(computed.read_text().splitlines()) >= goal:
                break
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True)
    lines = computed.read_text().splitlines()
    assert len(set(lines)) == 120
    assert 120 <= len(lines) <= 120 + 6
    assert finished.read_text().splitlines()[-1] == "120"
    again = RecalledLM(FakeLM("f"), "w", tmp_path / "answers")
    requests = [Request(f"Item {n}: a", (" good", " bad")) for n in range(60)]
    assert again.loglikelihood(requests) == FakeLM("f").loglikelihood(requests)
    assert again.computed == 0
