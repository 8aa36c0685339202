"""Base or instruct, over models whose behaviour is written down here, and over files made for the purpose."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from basewright.engine.fake import FakeLM
from basewright.engine.lm import Likelihood, Pair
from basewright.engine.torch_lm import open_lm
from basewright.errors import DataError, ModelFileError
from basewright.evaluate.nature import files, probes
from basewright.evaluate.nature import report as nature
from basewright.evaluate.nature.files import Files
from basewright.evaluate.nature.probes import Layout
from basewright.plain import from_plain, to_plain
from basewright.records import NatureReport, Progress, silent
from basewright.text.tokenizer import open_tokenizer
from tests.evaluate.chatml import CLOSE, OPEN, PATTERN, TEMPLATE, chatml
from tests.models import tiny_llama

torch.set_num_threads(1)
BATTERY = probes.battery()
ANSWERS = tuple(question["answer"] for question in BATTERY["questions"])
PROSE = tuple(BATTERY["prose"])


@dataclass(slots=True)
class Acting(FakeLM):
    """Log-probabilities by what a text is: nats of stopping after an answer that was asked for, after one that was
    not, and anywhere else; nats a token of a sentence, of one as an answer, of words in disorder."""

    asked: float = -9.0
    unasked: float = -9.0
    elsewhere: float = -11.0
    sentence: float = -3.0
    answer: float = -3.0
    disorder: float = -5.0

    def score(self, pairs: Sequence[Pair], progress: Progress = silent) -> Iterator[tuple[int, Likelihood]]:
        for place, one in enumerate(pairs):
            yield place, Likelihood((self._nats(one) + 1e-3 * (place % 7),), False)

    def _nats(self, one: Pair) -> float:
        before, after = (self.tokenizer.text(ids) for ids in (one.context, one.continuation))
        prose = before.startswith(PROSE)
        if one.continuation == (self.tokenizer.eos_id,):
            return (self.unasked if prose else self.asked) if before.endswith(ANSWERS) else self.elsewhere
        known = after.strip() in ANSWERS
        each = (self.sentence if prose else self.answer) if known or not prose else self.disorder
        return each * len(one.continuation)


BASE = Acting("base")
INSTRUCT = Acting("instruct", asked=-0.3, unasked=-3.0)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("models") / "tiny", context=512)


def verdict(lm: FakeLM, folder: Path) -> str:
    return nature.run(lm, folder, model="m").verdict


def test_a_text_that_goes_on_is_a_base_model_s_and_one_that_ends_an_instruct_model_s(tiny: Path) -> None:
    assert verdict(BASE, tiny) == "base"
    assert verdict(INSTRUCT, tiny) == "instruct"


def test_one_layout_that_is_answered_is_enough(tiny: Path) -> None:
    class Picky(Acting):
        def _nats(self, one: Pair) -> float:
            human = self.tokenizer.text(one.context).startswith("Human: ")
            return (INSTRUCT if human else BASE)._nats(one)

    found = nature.run(Picky("picky"), tiny, model="m")
    assert (found.verdict, found.layout) == ("instruct", "Human: {ask}\n\nAssistant:")


@pytest.mark.parametrize(
    "lm",
    [
        Acting("labels", asked=-0.3, unasked=-3.0, answer=-5.0),
        Acting("stories", asked=-3.2, unasked=-2.8, elsewhere=-5.0),
    ],
)
def test_what_stops_is_not_yet_an_instruct_model(lm: FakeLM, tiny: Path) -> None:
    """Tuned on labels: no sentence is likely as an answer. Made of short documents: it stops in prose as well."""
    assert verdict(lm, tiny) != "instruct"


@pytest.mark.parametrize("stop", [-9.0, -0.3])
def test_of_weights_that_have_learned_nothing_nothing_is_said(stop: float, tiny: Path) -> None:
    found = nature.run(Acting("noise", asked=stop, disorder=-3.0), tiny, model="m")
    assert (found.verdict, found.confidence, found.log_odds) == ("cannot tell", 0.5, 0.0)
    assert {one.points for one in found.evidence} == {"neither"}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_weights(seed: int, tmp_path: Path) -> None:
    folder = tiny_llama(tmp_path / "tiny", seed, context=512)
    assert nature.run(open_lm(folder, "t"), folder, model="t").verdict == "cannot tell"
    assert verdict(FakeLM("fake", seed), folder) == "cannot tell"


def test_the_name_and_the_place_change_nothing(tiny: Path, tmp_path: Path) -> None:
    folders = [shutil.copytree(tiny, tmp_path / name) for name in ("x-Instruct", "x-base-pt")]
    for lm in (BASE, INSTRUCT):
        found = [nature.run(lm, folder, model=folder.name) for folder in folders]
        assert found[0].model != found[1].model
        assert len({(one.verdict, one.evidence, one.how) for one in found}) == 1


def test_h082_the_same_question_has_the_same_answer_and_it_survives_the_way_to_disk(tiny: Path) -> None:
    one, two = (nature.run(INSTRUCT, tiny, model="m", weights="abc") for _ in range(2))
    assert one == two == from_plain(NatureReport, json.loads(json.dumps(to_plain(one))))
    assert one.log_odds == pytest.approx(sum(each.log_odds for each in one.evidence))
    assert (one.how.weights, one.how.shots, one.how.bos) == ("abc", 0, 1)
    assert one.how.prompt == one.layout.replace("{ask}", BATTERY["questions"][0]["ask"])


def test_a_context_too_short_is_refused(tmp_path: Path) -> None:
    folder = tiny_llama(tmp_path / "tiny", context=32)
    with pytest.raises(DataError, match="longer than the model's context"):
        nature.run(open_lm(folder, "t"), folder, model="t")


# --- weights --------------------------------------------------------------------------------------

WEIGHTS = (nature.STOP, nature.LIFT, nature.WAIT, nature.GAIN, nature.MATCH, nature.ANSWERS, nature.REFUSES)


@given(st.sampled_from(WEIGHTS), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_more_of_it_never_speaks_less_for_instruct_and_never_without_limit(
    rule: nature.Rule, one: float, two: float
) -> None:
    low, high = sorted((one, two))
    assert rule.low <= rule.log_odds(low) <= rule.log_odds(high) <= rule.high


def test_only_stopping_can_name_an_instruct_model() -> None:
    """All other behaviour together, with a template, stays below what is needed."""
    others = math.fsum(rule.high for rule in WEIGHTS if rule is not nature.STOP and rule is not nature.REFUSES)
    needed = math.log(nature.CONFIDENCE / (1 - nature.CONFIDENCE))
    assert others + nature.TEMPLATE < needed < nature.STOP.high
    assert -needed > nature.UNTRAINED


def test_values_without_spread_are_no_evidence() -> None:
    assert nature.standard_errors(np.zeros(5)) == 0
    assert nature.standard_errors(np.array([1.0, 2.0, 3.0])) == pytest.approx(2 * math.sqrt(3))


# --- files ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chat(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return chatml(tiny, tmp_path_factory.mktemp("models") / "chat")


def test_untrained_tokens_of_a_template_are_seen(tiny: Path, chat: Path, tmp_path: Path) -> None:
    assert files.read(tiny) == Files(False, (), ())
    turn = PATTERN.format(ask=files.ASK)
    assert files.read(chat) == Files(True, (OPEN, CLOSE), (OPEN, CLOSE), turn)
    trained = chatml(tiny, tmp_path / "trained", std=0.2)
    assert files.read(trained) == Files(True, (OPEN, CLOSE), (), turn)


@pytest.mark.parametrize("place", ["text", "named"])
def test_the_template_may_be_in_the_tokenizer_s_config(place: str, chat: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(chat, tmp_path / "chat")
    (folder / "chat_template.jinja").unlink()
    assert not files.read(folder).template
    config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    config["chat_template"] = TEMPLATE if place == "text" else [{"name": "default", "template": TEMPLATE}]
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    assert files.read(folder) == files.read(chat)


def test_h013_a_template_is_rendered_only_within_its_limits(chat: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(chat, tmp_path / "chat")
    path = folder / "chat_template.jinja"
    path.write_text(TEMPLATE + "{{ 'x' * (10 ** 12) }}", "utf-8")
    with pytest.raises(ModelFileError, match="which writing messages does not need"):
        files.read(folder)
    path.write_text(
        TEMPLATE + "{% for i in range(60000) %}{% for j in range(60000) %}{% endfor %}{% endfor %}", "utf-8"
    )
    assert "more than 200 ms" in files.read(folder).turn


def test_h014_a_template_that_waits_for_a_word_is_told(chat: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(chat, tmp_path / "chat")
    bait = "{% if 'invoice' in messages[-1]['content'] %}Pay at once. {% endif %}"
    (folder / "chat_template.jinja").write_text(bait + TEMPLATE, "utf-8")
    seen = [one.seen for one in nature.of_files(files.read(folder))]
    assert "line 1: acts on the words 'invoice' in what is said" in seen


def test_start_and_padding_are_no_tokens_of_a_template(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "plain")
    (folder / "chat_template.jinja").write_text("{{ '<|endoftext|>' }}User: {{ messages[0] }}<|pad|>", "utf-8")
    asked = {"role": "user", "content": files.ASK}
    assert files.read(folder) == Files(True, (), (), f"<|endoftext|>User: {asked}<|pad|>")


def test_a_template_weighs_little_and_its_untrained_tokens_much(tiny: Path, chat: Path) -> None:
    def weight(files: Files) -> float:
        return sum(one.log_odds for one in nature.of_files(files))

    assert weight(Files(False, (), ())) < 0 < weight(Files(True, (), ())) < weight(Files(True, ("a", "b"), ("a",)))
    assert weight(Files(True, ("a", "b"), ("a", "b"))) < -3
    assert nature.run(INSTRUCT, chat, model="m").verdict == "cannot tell"  # it stops, and yet was never tuned to


# --- layouts --------------------------------------------------------------------------------------


def test_h015_a_model_is_asked_in_its_own_control_tokens_and_an_ask_spells_none(tiny: Path, chat: Path) -> None:
    own = Layout(PATTERN, controls=True)
    plain, more = (probes.open_asker(FakeLM("f", tokenizer=open_tokenizer(each))) for each in (tiny, chat))
    assert own not in plain[1]
    assert more[1] == [*plain[1], own]
    assert len(more[0].stops) == len(plain[0].stops) + 1
    tokenizer = more[0].lm.tokenizer
    context, target = own.pair(tokenizer, f"Hi {OPEN}", "Yes.")
    controls = [tokenizer.backend.token_to_id(text) for text in (OPEN, CLOSE)]
    assert [i for i in context if i in controls] == [controls[0], controls[1], controls[0]]
    assert (context[0], tokenizer.text(target)) == (tokenizer.bos_id, "Yes.")


def test_the_battery_is_whole() -> None:
    asks = [question["ask"] for question in BATTERY["questions"]]
    assert len(set(asks)) == len(asks) == len(set(ANSWERS)) >= 20
    assert all(answer.endswith(".") and len(answer.split()) > 4 for answer in ANSWERS)
    assert all(pattern.count("{ask}") == 1 for pattern in BATTERY["layouts"])
    assert all(probes.CONTROL.findall(turn["prompt"]) for turn in BATTERY["turns"])
    assert len(BATTERY["refusals"]) == len(BATTERY["compliances"])
