"""Templates that only write messages pass and are rendered; all others are refused, or killed (H012, H013, H014)."""

from __future__ import annotations

import gc
import resource
import time
from pathlib import Path
from typing import Any

import pytest

from basewright.errors import ModelFileError
from basewright.formats import render_worker, template, triggers
from basewright.formats.render import render
from tests.formats import templates
from tests.formats.templates import CHATML, ESCAPES, PLAIN, TRIGGERS

BOMBS = templates.bombs()
CONVERSATION = {
    "messages": [{"role": "user", "content": "Hello, <b>you</b>"}, {"role": "assistant", "content": "é"}],
    "add_generation_prompt": True,
    "bos_token": "<s>",
}


def refused(source: str, context: dict[str, Any] = CONVERSATION) -> str:
    with pytest.raises(ModelFileError) as caught:
        render(source, context, file="tokenizer_config.json")
    assert (caught.value.code, caught.value.file) == ("template", "tokenizer_config.json")
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("name", PLAIN)
def test_a_template_says_the_same_as_through_transformers(name: str) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    values = {key: value for key, value in CONVERSATION.items() if key != "messages"}
    theirs, _ = render_jinja_template([CONVERSATION["messages"]], chat_template=PLAIN[name], **values)
    ours = render(PLAIN[name], CONVERSATION, file="x")
    if "strftime_now" in PLAIN[name]:
        assert ours.startswith("Today is 01 Jan 2026")
        return
    assert ours == theirs[0]


def test_a_date_is_the_one_that_was_given() -> None:
    assert (
        render(PLAIN["the date, written"], {"messages": []}, file="x", today="2027-03-04") == "Today is 04 Mar 2027. "
    )


def test_a_template_may_refuse_a_conversation() -> None:
    turned = {**CONVERSATION, "messages": [{"role": "assistant", "content": "a"}]}
    assert "roles must alternate" in refused(PLAIN["roles alternate"], turned)


@pytest.mark.parametrize("source", ESCAPES)
def test_h012_ways_out_are_refused_unrendered(source: str) -> None:
    with pytest.raises(ModelFileError):
        template.refuse_recursion(template.parse(source, "x"), "x")


def test_h012_ways_out_lead_nowhere_in_the_worker_either(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The second wall: the tree is not checked here, and still nothing is opened, imported or reached."""
    monkeypatch.setattr(template, "parse", lambda source, file: None)
    monkeypatch.setattr(template, "refuse_recursion", lambda tree, file: None)
    canary = tmp_path / "canary"
    for source in [*ESCAPES, "{{ ''.__class__.__base__.__subclasses__() }}", f"{{% include '{canary}' %}}"]:
        try:
            told = render(source.replace("id", f"touch {canary}"), CONVERSATION, file="x")
        except ModelFileError:
            continue
        assert "<class" not in told
        assert "<function" not in told
    assert not canary.exists()


def test_h012_a_worker_that_opens_a_file_ends() -> None:
    for event in ("open", "import", "socket.connect", "os.system", "subprocess.Popen", "ctypes.dlopen"):
        assert event not in render_worker.ALLOWED


def test_h013_two_hundred_bombs_are_refused_or_killed() -> None:
    """Within 300 ms of processor time, here and in the worker: on an idle machine that is the time on the clock."""
    assert len(set(BOMBS)) >= 200
    render(CHATML, CONVERSATION, file="x")
    gc.freeze()  # thousands of tests before it in this process leave objects that would be collected on its time
    for bomb in BOMBS:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.process_time()
        refused(bomb)
        after, used = resource.getrusage(resource.RUSAGE_CHILDREN), time.process_time() - start
        killed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        startup = 0.25 if killed else 0.0  # a worker that was killed brings the time of its own start
        assert used + killed - startup <= 0.3, (bomb[:80], used, killed)
    gc.unfreeze()
    assert render(CHATML, CONVERSATION, file="x")


def test_h013_the_worker_stops_bombs_that_nobody_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "parse", lambda source, file: None)
    monkeypatch.setattr(template, "refuse_recursion", lambda tree, file: None)
    told = {
        "{{ 'x' * 10 ** 10 }}": "64 MiB",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}": "200 ms",
        "{{ ('x' * 10 ** 6) }}": "it writes more",
        "{{ 7 ** (10 ** 8) % 3 }}": "200 ms",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}": "RecursionError",
    }
    for source, why in told.items():
        start = time.perf_counter()
        assert why in refused(source)
        assert time.perf_counter() - start < 2.0
        assert render(CHATML, CONVERSATION, file="x")


def test_what_was_made_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    source = CHATML + "{# remembered #}"
    first = render(source, CONVERSATION, file="x")
    monkeypatch.setattr("basewright.formats.render._worker", None)
    assert render(source, dict(CONVERSATION), file="x") == first


@pytest.mark.parametrize("name", PLAIN)
def test_h014_plain_templates_raise_no_alarm(name: str) -> None:
    assert triggers.find(PLAIN[name], "x") == ()


def test_h014_seeded_triggers_are_told() -> None:
    assert len(set(TRIGGERS)) >= 50
    assert [source for source in TRIGGERS if not triggers.find(source, "x")] == []
