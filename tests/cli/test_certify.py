"""`basewright certify`, over a tiny model with random weights."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from basewright import machine
from basewright.cli import main
from basewright.cli.certify import command
from basewright.errors import DataError, Refused, UsageError
from basewright.plain import from_plain
from basewright.records import Certificate, RowLedger
from tests.evaluate.chatml import chatml
from tests.models import tiny_llama

WHERE = ["clock", "rope", "ship", "train"]
ROWS = [
    {"clause": f"the {name} number {i} is late", "kind": "late" if i % 2 else "lost"}
    for i in range(3)
    for name in WHERE
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("models") / "tiny", context=128)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "rows.jsonl", ROWS)


def write(path: Path, rows: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def certify(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(one) for one in arguments])


COLUMNS = ("--column", "text=clause", "--column", "label=kind")


def test_it_shows_where_rows_went_what_is_learned_and_each_check(tiny: Path, data: Path) -> None:
    found = certify(tiny, data, *COLUMNS, "--layout", "Clause: {text}\\nKind:")
    assert found.exit_code == 0, found.exception
    lines = found.stdout.splitlines()
    assert lines[0] == "rows.jsonl: JSON lines, text and label (text, label), 12 rows"
    assert lines[2].split() == ["12", "used", "as", "they", "are"]
    assert "2 labels: lost: 8 · late: 4" in found.stdout
    assert "<|endoftext|>Clause: the clock number 0 is late\nKind:[ lost<|endoftext|>]" in found.stdout
    assert "ok  every row learns to stop" in found.stdout
    assert "\x1b" not in found.stdout
    assert re.search(
        r"To tune on them, as `tune` does by itself: about .+, [\d,]+ MiB of [\d,]+ MiB at the", found.stdout
    )


def test_json_is_the_ledger_and_the_certificate(tiny: Path, data: Path) -> None:
    found = json.loads(certify(tiny, data, *COLUMNS, "--json").stdout)
    ledger: RowLedger = from_plain(RowLedger, found["data"]["ledger"])
    made: Certificate = from_plain(Certificate, found["certificate"])
    assert (ledger.read, ledger.rows("used"), found["data"]["shape"]) == (12, 12, "text-label")
    assert (made.base, made.rows, made.passed, sum(made.lengths.values())) == ("tiny", 12, True, 12)
    assert found["tuning"]["job"] == "lora"
    assert 0 < found["tuning"]["peak"] < found["tuning"]["budget"]
    assert found["tuning"]["fix"] == ""


def test_what_would_not_fit_this_machine_is_said_and_is_no_fault_of_the_rows(
    tiny: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "memory", lambda: 2**20)
    found = certify(tiny, data, *COLUMNS)
    assert found.exit_code == 0
    assert "of 1 MiB at the peak, too much: take a smaller model or shorter rows" in found.stdout


def test_a_fault_is_shown_and_then_refused_with_the_fix(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = write(tmp_path / "bad.jsonl", [*ROWS, {"clause": "", "kind": "lost"}])
    assert main.run(["certify", str(tiny), str(bad), *COLUMNS]) == 70
    seen = capsys.readouterr()
    assert "FAILED  every row can be read" in seen.out
    assert "basewright: every row can be read: 1, the limit is 0" in seen.err
    assert "line 13: its text is empty" in seen.err
    assert "next: correct the rows that are named" in seen.err
    assert main.run(["certify", str(tiny), str(bad), *COLUMNS, "--json"]) == 70
    assert json.loads(capsys.readouterr().out)["exit_code"] == 70


def test_held_out_rows_must_not_be_in_training(tiny: Path, data: Path, tmp_path: Path) -> None:
    held = write(tmp_path / "test.jsonl", ROWS[3:5])
    found = certify(tiny, data, "--test", held, *COLUMNS)
    assert isinstance(found.exception, Refused)
    assert "held-out rows are not learned: 2" in found.exception.message
    held = write(tmp_path / "test.jsonl", [{"clause": "something else came in", "kind": "late"}])
    assert certify(tiny, data, "--test", held, *COLUMNS).exit_code == 0


def test_long_rows_follow_the_policy(tiny: Path, tmp_path: Path) -> None:
    long = write(tmp_path / "rows.jsonl", [{"text": "nobody looked up. " * 40}])
    assert isinstance(certify(tiny, long).exception, DataError)
    found = certify(tiny, long, "--long", "split", "--context", "64")
    assert found.exit_code == 0
    assert "1     split  into windows" in found.stdout
    assert isinstance(certify(tiny, long, "--context", "129").exception, UsageError)


def test_hints_are_masked_and_on_stderr(tiny: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"Where is {name}?", "completion": f"Ask {name}@example.org"} for name in WHERE]
    found = certify(tiny, write(tmp_path / "rows.jsonl", rows), "--json")
    assert "hint: e-mail address in 4 rows, as in rows.jsonl line 1: c" in found.stderr
    assert "rope@" not in found.stderr


def test_why_a_chat_template_is_not_used(tiny: Path, tmp_path: Path) -> None:
    talks = [[{"role": "user", "content": name}, {"role": "assistant", "content": "By the sea."}] for name in WHERE]
    path = tmp_path / "talks.jsonl"
    path.write_text("".join(json.dumps({"messages": talk}) + "\n" for talk in talks), "utf-8")
    found = certify(chatml(tiny, tmp_path / "chat"), path)
    assert found.exit_code == 0, found.exception
    assert "the chat template is not used: <|im_start|>, <|im_end|> in it were never trained" in found.stderr
    assert "User: clock\nAssistant:[ By the sea.<|endoftext|>]" in found.stdout


@pytest.mark.parametrize("column", ["label", "=kind", "label="])
def test_a_column_needs_a_field_and_a_name(tiny: Path, data: Path, column: str) -> None:
    assert isinstance(certify(tiny, data, "--column", column).exception, UsageError)


def test_an_ambiguous_shape_is_asked_for(tiny: Path, tmp_path: Path) -> None:
    rows = [{"text": "x", "prompt": f"Where is {name}?", "completion": "By the sea."} for name in WHERE]
    path = write(tmp_path / "rows.jsonl", rows)
    assert "could be" in str(certify(tiny, path).exception)
    assert certify(tiny, path, "--shape", "prompt-completion", "--keep-near").exit_code == 0
