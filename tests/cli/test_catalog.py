"""`basewright catalog` as a person meets it: a table, a page, JSON; what is unknown is shown as unknown."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from basewright.catalog import cards
from basewright.cli.main import run
from tests.cli.test_main import HEAVY


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert run(["catalog", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def test_the_table_has_every_model_and_says_what_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    head, *rows = lines(capsys)
    assert head.split()[:2] == ["name", "kind"]
    assert [row.split()[0] for row in rows] == [one.id for one in cards.facts()]
    assert any("unknown" in row for row in rows)


def test_filters_and_order(capsys: pytest.CaptureFixture[str]) -> None:
    _, *rows = lines(capsys, "--family", "foundling", "--sort", "tokens", "--descending")
    order = ["foundling-mixture", "foundling-prose", "foundling-code", "foundling-encoder"]
    assert [row.split()[0] for row in rows] == order
    _, *rows = lines(capsys, "--licence", "MIT", "--max-size", "200M", "--kind", "decoder")
    assert "gpt2" in [row.split()[0] for row in rows]


def test_a_familys_table_has_what_each_scores_beside_other_ways(capsys: pytest.CaptureFixture[str]) -> None:
    head, *rows = lines(capsys, "--family", "foundling", "--kind", "decoder")
    assert set(re.split(r"  +", head)[8:]) == {"model", "5-gram", "xz -6 of each", "xz -6 of all", "uniform"}
    for row in rows:
        cells = re.split(r"  +", row)
        known = cards.named(cells[0])
        assert known is not None
        shown = dict(zip(re.split(r"  +", head)[8:], cells[8:], strict=True))
        assert shown == dict.fromkeys(shown, "unknown") | {n: f"{x:.3f}" for n, x in known.held_out.items()}
        assert f"xz -6 of all {shown['xz -6 of all']}" in "\n".join(lines(capsys, cells[0]))
    assert "uniform" not in lines(capsys)[0]


def test_the_page_has_duties_and_the_source_of_each_fact(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(lines(capsys, "llama-3.1-8b"))
    assert "8,030,261,248 parameters" in text
    assert 'begin the model\'s name with "Llama"' in text
    known = next(one for one in cards.facts() if one.id == "llama-3.1-8b")
    assert all(source.url in text for source in known.sources)
    assert text == "\n".join(lines(capsys, "meta-llama/Llama-3.1-8B"))


def test_a_hosted_model_is_facts_only(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(lines(capsys, "davinci-002"))
    assert "only hosted" in text
    assert "published size unknown" in text


def test_json_is_the_facts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["catalog", "gpt2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["facts"]["id"] == "gpt2"
    assert found["card"]["parameters"] == 124_439_808


@pytest.mark.parametrize("arguments", [["lama"], ["--licence", "MITT"], ["--sort", "sizes"], ["--min-size", "big"]])
def test_bad_words_are_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["catalog", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("arguments", [["catalog"], ["catalog", "llama-3.1-8b"]])
def test_nothing_heavy_is_loaded(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom basewright.cli import main\ncode = main.run(sys.argv[1:])\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'loaded {loaded}' if loaded else code)"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_fits_says_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["catalog", "--fits", "--job", "qlora", "--machine", "rtx-4090", "--context", "512", "--json"]) == 0
    found = {one["facts"]["id"]: one["room"] for one in json.loads(capsys.readouterr().out)}
    assert "llama-3.1-8b" in found
    assert not {"llama-3.1-70b", "davinci-002"} & set(found)
    assert all(room["need"] <= room["budget"] for room in found.values())
    assert run(["plan", "llama-3.1-8b", "--job", "qlora", "--machine", "rtx-4090", "--context", "512", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert sum(plan["memory"].values()) == found["llama-3.1-8b"]["need"]  # the table says what the plan explains


def test_the_page_says_what_each_job_needs(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(lines(capsys, "gpt2", "--machine", "h200"))
    assert "Needs on h200" in text
    assert "basewright plan gpt2 --job" in text
