"""lm-evaluation-harness's own model over transformers, and ours: the same requests, the same numbers."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from basewright.engine import torch_lm
from basewright.engine.fake import END, FakeLM
from basewright.engine.lm import Likelihood, Pair, Sampling
from basewright.errors import BasewrightError, DataError, Refused, UsageError
from basewright.evaluate import how
from basewright.evaluate.harness import run as harness
from basewright.records import Progress, silent
from basewright.text import encode
from tests.evaluate import harness_tasks
from tests.evaluate.harness_tasks import HERE, Rows
from tests.models import tiny_llama

pytest.importorskip("lm_eval")

from lm_eval.api.instance import Instance

from basewright.evaluate.harness import command
from basewright.evaluate.harness.bridge import Bridge
from tests.evaluate.harness_tasks.peer import assert_same, evaluated, hflm

pytestmark = [
    pytest.mark.lm_eval,
]
NAMES = ("both", "context", "cloze", "text", "write")
CONTEXT = 224
WORDS = [
    "the", "a", "lamp", "door", "ship", "sand", "night", "old", "new", "two", "we", "they", "saw", "ran", "to", "by",
    "of", "and", "12", "7", "Größe", "'ll",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda _results: None)  # asks pip for 3 seconds
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sentence(generator: random.Random, words: int) -> str:
    return " ".join(generator.choices(WORDS, k=words))


def questions(generator: random.Random, count: int, longest: int = 60) -> Rows:
    """Every third is long enough that three shots do not fit before it; one begins with the start token spelled."""
    rows = []
    for n in range(count):
        text = sentence(generator, longest if n % 3 == 2 else 8)
        choices = [sentence(generator, 1 + c) for c in range(4)]
        answer = generator.choice(WORDS)
        rows.append({"question": text, "choices": choices, "gold": generator.randrange(4), "answer": answer})
    rows[1]["choices"] = [f" {choice}" for choice in WORDS[:4]]
    return rows


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    generator = random.Random(5)
    train, test = questions(generator, 12, longest=8), questions(generator, 9)
    for name in ("choice", "choice_first", "write"):
        harness_tasks.task(folder, name, HERE / f"{name}.yaml", {"train": train, "test": test})
    pairs = [(sentence(generator, 9), f"{sentence(generator, 4)} ") for _ in range(6)]
    options = [{"contexts": [before + " I ", before + " you "], "continuation": after, "gold": n % 2}
               for n, (before, after) in enumerate(pairs)]  # fmt: skip
    harness_tasks.task(folder, "context", HERE / "context.yaml", {"test": options})
    gaps = [{"context": before, "continuation": " " + after.split()[0]} for before, after in pairs]
    gaps += [{"context": "", "continuation": "the"}, {"context": END + "the", "continuation": " door"}]
    gaps += [{"context": sentence(generator, 200), "continuation": " sand"}]
    harness_tasks.task(folder, "cloze", HERE / "cloze.yaml", {"test": gaps})
    texts = [{"text": sentence(generator, words)} for words in (3, 40, 150, 400)]
    harness_tasks.task(folder, "text", HERE / "text.yaml", {"test": texts})
    harness_tasks.group(folder, "both")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A model whose tokenizer adds BOS, and one whose does not."""
    made = {}
    for bos in (True, False):
        made[bos] = tiny_llama(tmp_path_factory.mktemp("models") / str(bos), seed=3, context=CONTEXT, bos=bos)
    return made


# --- proof ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bos", [True, False])
def test_every_number_is_that_of_lm_eval_over_transformers(bos: bool, folders: dict[bool, Path], tasks: Path) -> None:
    made = harness.run(torch_lm.open_lm(folders[bos], "tiny"), NAMES, include=tasks)
    assert_same(made.results, evaluated(hflm(folders[bos]), tasks, NAMES))
    cut = {one.task: (one.how.cut, len(one.items)) for one in made.scores}
    assert all(0 < cut[name][0] < cut[name][1] for name in ("choice", "choice_first", "cloze", "write"))
    assert cut["context"][0] == cut["text"][0] == 0
    for one in made.scores:
        found = made.results["results"][one.task]
        for metric, interval in one.metrics.items():
            assert interval.value == found[metric if "," in metric else f"{metric},none"]
            assert interval.low <= interval.value <= interval.high


def test_shots_and_limit_are_those_of_lm_eval(folders: dict[bool, Path], tasks: Path) -> None:
    names = ["choice", "cloze"]
    made = harness.run(torch_lm.open_lm(folders[True], "tiny"), names, include=tasks, shots=1, limit=0.5)
    assert_same(made.results, evaluated(hflm(folders[True]), tasks, names, num_fewshot=1, limit=0.5))
    assert [(one.task, one.how.shots, len(one.items), one.expected) for one in made.scores] == [
        ("choice", 1, 5, 9),
        ("cloze", 0, 5, 9),
    ]


@pytest.mark.parametrize("add", [None, True, False])
@pytest.mark.parametrize("bos", [True, False])
def test_h074_ids_are_those_of_hflm(bos: bool, add: bool | None, folders: dict[bool, Path]) -> None:
    peer = hflm(folders[bos], add_bos_token=add)
    bridge = Bridge(torch_lm.open_lm(folders[bos], "tiny"), add_bos_token=add)
    assert (bridge.prefix_token_id, bridge.eot_token_id, bridge.max_length, bridge.max_gen_toks) == (
        peer.prefix_token_id, peer.eot_token_id, peer.max_length, peer.max_gen_toks,
    )  # fmt: skip
    texts = st.lists(st.sampled_from([*WORDS, END, "<|pad|>", " ", "\n", "é", "日", "'"]) | st.text(max_size=5)).map(
        "".join
    )

    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(texts, texts)
    def check(context: str, continuation: str) -> None:
        assert bridge.tok_encode(context) == peer.tok_encode(context)
        assert bridge.tok_encode(context, add_special_tokens=False) == peer.tok_encode(
            context, add_special_tokens=False
        )
        bridge._remember([context, context + continuation])
        if context:
            assert bridge._encode_pair(context, continuation) == peer._encode_pair(context, continuation)

    check()


def test_what_the_model_would_write_is_greedy(folders: dict[bool, Path]) -> None:
    lm = torch_lm.open_lm(folders[True], "tiny")
    asked = []
    for n in range(8):
        context = sentence(random.Random(n), 6)
        written = "".join(piece.text for piece in lm.generate(context, Sampling(max_tokens=2)))
        asked.append(Instance("loglikelihood", {}, (context, written or "."), 0, ("t", n, 1)))
    mine, its = (model.loglikelihood(asked) for model in (Bridge(lm), hflm(folders[True])))
    assert [greedy for _, greedy in mine] == [greedy for _, greedy in its]
    assert {greedy for _, greedy in mine} == {True, False}, "some texts come out as other tokens"


def test_rolling_begins_with_two_start_tokens_where_the_tokenizer_adds_one(folders: dict[bool, Path]) -> None:
    text = "The old clock on the wall struck nine."
    request = Instance("loglikelihood_rolling", {}, (text,), 0, ("t", 0, 1))
    for bos, folder in folders.items():
        lm = torch_lm.open_lm(folder, "tiny")
        start = lm.tokenizer.eos_id
        bridge = Bridge(lm)
        [found] = bridge.loglikelihood_rolling([request])
        head = (start, start) if bos else (start,)
        whole = Pair((start,), (*head[1:], *lm.tokenizer.ids(text)))
        [(_, expected)] = lm.score([whole])
        assert found == pytest.approx(expected.nats)
        assert bridge.asked["t"].ids[: len(head)] == head
        assert (found == pytest.approx(lm.rolling([text])[0].nats)) is not bos


# --- what is recorded -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(folders: dict[bool, Path], tasks: Path) -> dict[str, Any]:
    run = harness.run(torch_lm.open_lm(folders[True], "tiny"), NAMES, include=tasks, weights="abc")
    assert run.results["groups"]["both"]["acc,none"] == pytest.approx(
        sum(one.metrics["acc"].value for one in run.scores[:2]) / 2
    )
    return {one.task: one for one in run.scores} | {
        "results": run.results,
        "lm": torch_lm.open_lm(folders[True], "tiny"),
    }


def test_items_have_lm_evals_own_values(made: dict[str, Any]) -> None:
    choice, results = made["choice"], made["results"]
    samples = results["samples"]["choice"]
    assert [item.values for item in choice.items] == [
        {"acc": sample["acc"], "acc_norm": sample["acc_norm"]} for sample in samples
    ]
    likelihoods = [[answer[0] for answer in sample["filtered_resps"]] for sample in samples]
    assert [item.answer for item in choice.items] == [
        sample["doc"]["choices"][row.index(max(row))] for sample, row in zip(samples, likelihoods, strict=True)
    ]
    assert choice.majority == pytest.approx(1 / 9)
    assert [tuple(item.values) for item in made["write"].items] == [("exact_match,first-word", "exact_match,whole")] * 9
    text = [item.values["bits_per_byte"] for item in made["text"].items]
    sizes = [len(sample["doc"]["text"].encode()) for sample in results["samples"]["text"]]
    total = sum(bits * size for bits, size in zip(text, sizes, strict=True)) / sum(sizes)
    assert total == pytest.approx(made["text"].metrics["bits_per_byte"].value)


def test_intervals_name_their_method(made: dict[str, Any]) -> None:
    assert made["choice"].metrics["acc"].method == "Wilson"
    assert made["write"].metrics["exact_match,whole"].method == "Wilson"
    perplexity = made["cloze"].metrics["perplexity"]
    assert perplexity.low < perplexity.value < perplexity.high
    assert perplexity.value == pytest.approx(
        math.exp(sum(math.log(item.values["perplexity"]) for item in made["cloze"].items) / 9)
    )
    assert {one.n for one in made["text"].metrics.values()} == {4}


def test_h073_h074_how_is_of_the_requests_as_they_were_asked(made: dict[str, Any]) -> None:
    lm = made["lm"]
    first = made["choice_first"]
    samples = made["results"]["samples"]["choice_first"]
    asked: list[tuple[int, ...]] = []
    for sample in samples:
        pairs = [encode.pair(lm.tokenizer, *arguments) for arguments in sample["arguments"]]
        contexts = [tuple(before[-(CONTEXT + 1 - len(after)) :]) for before, after in pairs]
        asked += dict.fromkeys(contexts)
    assert first.how.prompt_hash == how.hash_ids(asked)
    assert first.how.prompt == samples[0]["arguments"][0][0]
    assert first.how.prompt_ids == asked[0]
    assert (first.how.bos, first.how.shots, first.how.sampler) == (1, 3, "fixed")
    assert made["choice"].how.sampler == "random"
    assert made["choice"].how.prompt_hash != first.how.prompt_hash
    assert made["text"].how.bos == 2
    assert made["write"].how.stops == ("\n", "Q:", END)
    assert made["write"].how.normalisation == "filters: first-word, whole"
    assert first.how.normalisation == "acc: sum of token log-likelihoods; acc_norm: the sum by characters"
    assert (first.how.engine, first.how.precision, first.how.weights) == ("torch", "float32", "abc")


def test_h080_h082_the_same_again_and_less_of_it(tasks: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    state = random.getstate()
    one = harness.run(FakeLM("f"), ["cloze", "write"], include=tasks, progress=lambda what, _d, _t: told.append(what))
    assert random.getstate() == state
    assert set(told) == {"texts encoded", "continuations scored", "answers written"}
    assert one.scores == harness.run(FakeLM("f"), ["cloze", "write"], include=tasks).scores
    [part] = harness.run(FakeLM("f"), ["cloze"], include=tasks, limit=4).scores
    assert (len(part.items), part.expected, part.items) == (4, 9, one.scores[0].items[:4])
    assert part.version != one.scores[0].version
    assert capfd.readouterr() == ("", "")


# --- the engine is asked once, with all there is --------------------------------------------------


@dataclass(slots=True)
class Counting(FakeLM):
    calls: list[int] = field(default_factory=list)

    def score(self, pairs: Sequence[Pair], progress: Progress = silent) -> Iterator[tuple[int, Likelihood]]:
        self.calls.append(len(pairs))
        return FakeLM.score(self, pairs, progress)


def test_all_requests_of_all_tasks_go_to_the_engine_in_one_call(tasks: Path) -> None:
    lm = Counting(context=4096)
    harness.run(lm, ["both", "cloze"], include=tasks)
    assert lm.calls == [9 * 4 * 2 + 9]


def request(context: str, **settings: Any) -> Any:
    return Instance("generate_until", {}, (context, {"until": ["\n"], "max_gen_toks": 8, **settings}), 0, ("t", 0, 1))


def test_repeats_are_drawn_apart_and_again_the_same() -> None:
    asked = [request("Once", do_sample=True, temperature=1.0, until=[])] * 4
    first, second = (Bridge(FakeLM()).generate_until(asked) for _ in range(2))
    assert first == second
    assert len(set(first)) > 1
    assert len(set(Bridge(FakeLM()).generate_until([request("Once", temperature=0.7, do_sample=False)] * 3))) == 1


def test_max_length_may_be_less_than_the_models(folders: dict[bool, Path]) -> None:
    lm = torch_lm.open_lm(folders[True], "tiny")
    peer = hflm(folders[True], max_length=20)
    bridge = Bridge(lm, max_length=20)
    asked = [Instance("loglikelihood", {}, (sentence(random.Random(n), 20), " sand"), 0, ("t", n, 1)) for n in range(3)]
    for (mine, _), (its, _) in zip(bridge.loglikelihood(asked), peer.loglikelihood(asked), strict=True):
        assert mine == pytest.approx(its, abs=1e-3)
    assert bridge.asked["t"].cut == {0, 1, 2}


# --- through lm-eval's own entrance ---------------------------------------------------------------


def test_lm_eval_opens_a_folder_by_name(folders: dict[bool, Path], tasks: Path) -> None:
    arguments = f"model={folders[True]},engine=torch,precision=float32"
    named = evaluated("basewright", tasks, ["cloze"], model_args=arguments, batch_size=1, device="cpu")
    made = harness.run(torch_lm.open_lm(folders[True], "tiny"), ["cloze"], include=tasks)
    assert assert_same(made.results, named, tolerance=0) == 0
    assert named["config"]["model"] == "basewright"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "tourch"}, "no engine 'tourch'; did you mean 'torch'"),
        ({"precision": "float64"}, "no precision 'float64'"),
        ({"max_lenght": 5}, "no argument 'max_lenght'; did you mean 'max_length'"),
        ({"device": "mps"}, "not on mps"),
    ],
)
def test_model_args_that_nobody_knows_are_refused(
    arguments: dict[str, Any], message: str, folders: dict[bool, Path]
) -> None:
    with pytest.raises(UsageError, match=message):
        command.FolderBridge(str(folders[True]), **arguments)


# --- what cannot be done --------------------------------------------------------------------------


def refused(tasks: Path, *names: str, lm: FakeLM | None = None, **arguments: Any) -> BasewrightError:
    with pytest.raises(BasewrightError) as caught:
        harness.run(lm or FakeLM(), names, include=tasks, **arguments)
    return caught.value


def test_a_dataset_that_is_not_here_is_one_clear_error(tmp_path: Path) -> None:
    harness_tasks.task(tmp_path, "far", HERE / "cloze.yaml", {}, dataset_path="nobody/nothing", dataset_kwargs={})
    error = refused(tmp_path, "far")
    assert isinstance(error, DataError)
    assert "'far' is not on this machine" in error.message
    assert "nobody/nothing" in error.message
    assert "--download" in error.fix


def test_definitions_that_cannot_run_are_refused(tmp_path: Path) -> None:
    rows = {"test": [{"context": "a", "continuation": " b", "question": "q", "answer": "b"}]}
    harness_tasks.task(tmp_path, "code", HERE / "cloze.yaml", rows, unsafe_code=True)
    assert isinstance(refused(tmp_path, "code"), Refused)
    harness_tasks.task(tmp_path, "broken", HERE / "cloze.yaml", rows, output_type="guess")
    assert "'broken' cannot be read: ValueError" in refused(tmp_path, "broken").message
    splits = {**rows, "train": [*rows["test"]] * 3}
    beams = {"until": ["\n"], "num_beams": 4}
    harness_tasks.task(tmp_path, "beams", HERE / "write.yaml", splits, generation_kwargs=beams)
    assert "num_beams=4" in refused(tmp_path, "beams").message
    long = {"until": ["\n"], "max_gen_toks": 512}
    harness_tasks.task(tmp_path, "long", HERE / "write.yaml", splits, generation_kwargs=long)
    assert "512 tokens fills" in refused(tmp_path, "long").message
    harness_tasks.task(tmp_path, "none", HERE / "cloze.yaml", {"test": [{"context": "a", "continuation": " "}]},
                       doc_to_target="{{continuation.strip()}}")  # fmt: skip
    assert "0 tokens after" in refused(tmp_path, "none").message
    harness_tasks.task(tmp_path, "huge", HERE / "cloze.yaml", {"test": [{"context": "a", "continuation": "b" * 600}]})
    assert "600 tokens after" in refused(tmp_path, "huge").message


def test_h080_a_limit_that_leaves_nothing_is_refused(tasks: Path) -> None:
    assert "no items" in refused(tasks, "cloze", limit=0).message


def test_tasks_asked_twice_are_refused(tasks: Path) -> None:
    assert "Duplicate task 'choice'" in refused(tasks, "both", "choice").message


def test_without_lm_eval_the_fix_is_its_extra(monkeypatch: pytest.MonkeyPatch, tasks: Path) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.evaluator", None)
    assert refused(tasks, "cloze").fix == "pip install 'basewright[lm-eval]'"


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    assert "is no folder" in refused(tmp_path / "absent", "cloze").message


@pytest.mark.slow
def test_a_name_that_lm_eval_does_not_know_is_answered_with_the_nearest(tasks: Path) -> None:
    assert "did you mean 'hellaswag'?" in refused(tasks, "helaswag").message
    assert "no name is near" in refused(tasks, "#").message
