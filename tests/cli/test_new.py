"""`basewright new`: whatever the file looks like, a recipe that can be read, or one line that says why not."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from basewright import recipe as recipes
from basewright.cli import main
from basewright.data import task as tasks
from basewright.records import Layout, Task

TOPICS = {"billing": "invoice", "login": "password", "export": "spreadsheet"}
WORDS = [
    "again", "why", "when", "please", "since", "today", "morning", "still", "help", "slow", "wrong", "missing", "old",
    "new", "broken", "where", "team", "account", "page", "button", "email", "yesterday", "copy", "report", "second",
    "third", "last", "client", "office",
]  # fmt: skip


def messages(count: int = 90) -> list[tuple[str, str]]:
    """(text, label): texts of ten words, no two near-duplicates."""
    made = []
    for place in range(count):
        label = sorted(TOPICS)[place % len(TOPICS)]
        words = [WORDS[(place * step + 7 * step) % len(WORDS)] for step in (1, 3, 5, 7, 11, 13, 17, 19)]
        made.append((f"the {TOPICS[label]} {' '.join(words)} {place}", label))
    return made


def new(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main.run(["new", *arguments, "--json"]) == 0, capsys.readouterr().err
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def task(path: Path) -> Task:
    """What the stage `read` of a build makes of a recipe."""
    section = recipes.read(path).task
    assert isinstance(section.test, float)
    return tasks.make(
        "x",
        path.parent / section.data,
        columns=(section.text, section.label),
        choose=section.choose,
        test=section.test,
        layout=Layout(prompt=section.prompt, separator=section.separator),
        shots=section.shots,
    )


def csv_of(rows: list[tuple[str, str]], separator: str = ",", head: tuple[str, str] = ("text", "label")) -> str:
    lines = [separator.join(("no", *head, "agent"))] if head[0] else []
    cells = [(str(i), f'"{text}"', label, f"agent{i % 4}") for i, (text, label) in enumerate(rows)]
    return "\n".join([*lines, *(separator.join(line) for line in cells)]) + "\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


SHAPES = {
    "plain.csv": csv_of(messages()).encode(),
    "renamed.csv": csv_of(messages(), head=("Customer Utterance", "Queue")).encode(),
    "capitals.csv": csv_of(messages(), head=("TEXT", "LABEL")).encode(),
    "semicolons and mark.csv": ("\ufeff" + csv_of(messages(), ";", ("Nachricht", "Thema"))).encode(),
    "tabs.tsv": csv_of(messages(), "\t", ("body", "intent")).encode(),
    "windows.csv": csv_of([(f"{text} café", label) for text, label in messages()]).encode("cp1252"),
    "utf16.csv": csv_of(messages()).encode("utf-16"),
    "headless.csv": csv_of(messages(), head=("", "")).encode(),
    "lines.csv": csv_of([(text.replace(" ", "\n", 1), label) for text, label in messages()]).encode(),
    "rows.jsonl": "".join(
        json.dumps({"q": t, "intent": n, "id": i}) + "\n" for i, (t, n) in enumerate(messages())
    ).encode(),
    "inner.jsonl": "".join(
        json.dumps({"ticket": {"body": t}, "meta": {"topic": n}}) + "\n" for t, n in messages()
    ).encode(),
    "list.json": json.dumps([{"message": t, "category": n} for t, n in messages()], indent=1).encode(),
    "wrapped.json": json.dumps({"version": 1, "data": [{"message": t, "class": n} for t, n in messages()]}).encode(),
}


ANEW = {"windows.csv", "utf16.csv", "headless.csv", "inner.jsonl", "list.json", "wrapped.json"}
"""What a recipe cannot read as it is."""


@pytest.mark.parametrize("name", SHAPES)
def test_any_shape_becomes_a_recipe_of_the_same_rows(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(name).write_bytes(SHAPES[name])
    found = new(capsys, name)
    made = task(Path(found["recipe"]))
    assert made.labels == tuple(sorted(TOPICS))
    items = {
        (" ".join(item.text.replace(" café", "").split()), item.label)
        for item in (*made.train, *made.choose, *made.test)
    }
    assert items == set(messages())
    assert Path(name).read_bytes() == SHAPES[name]
    assert (found["rows"] is not None) == (name in ANEW)


def test_a_folder_a_label(capsys: pytest.CaptureFixture[str]) -> None:
    for place, (text, label) in enumerate(messages()):
        Path("mail", label).mkdir(parents=True, exist_ok=True)
        Path("mail", label, f"{place}.txt").write_text(text, "utf-8")
    found = new(capsys, "mail")
    assert task(Path(found["recipe"])).labels == tuple(sorted(TOPICS))
    assert found["draft"]["seen"]["kept"] == 90


def test_files_of_a_folder_are_pooled_and_the_others_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("data").mkdir()
    Path("data", "train.csv").write_text(csv_of(messages()[:60]), "utf-8")
    Path("data", "test.csv").write_text(csv_of(messages()[60:]), "utf-8")
    Path("data", "names.json").write_text('["billing", "login"]', "utf-8")
    seen = new(capsys, "data")["draft"]["seen"]
    assert (seen["kept"], seen["ignored"]) == (90, ["names.json"])


def test_every_row_is_accounted_for(capsys: pytest.CaptureFixture[str]) -> None:
    bad = [
        ("", "billing"),
        ("no label here at all", ""),
        (messages()[0][0].upper(), "login"),
        ("once only seen", "rare"),
    ]
    Path("a.csv").write_text(csv_of([*messages(), *bad]), "utf-8")
    found = new(capsys, "a.csv")
    seen = found["draft"]["seen"]
    assert seen["read"] == 94 == seen["kept"] + sum(len(one["places"]) for one in seen["left_out"])
    assert {one["why"]: one["places"] for one in seen["left_out"]} == {
        "without a text": ["line 92"],
        "without a label": ["line 93"],
        "whose text also has another label": ["line 2", "line 94"],
        "with a label of fewer than 5 rows": ["line 95"],
    }
    assert len(task(Path(found["recipe"])).train) > 0


def test_every_setting_stands_in_the_recipe_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.csv").write_text(csv_of(messages(), head=("utterance", "queue")), "utf-8")
    assert main.run(["new", "a.csv"]) == 0
    printed = capsys.readouterr()
    text = Path("a.toml").read_text("utf-8")
    raw = tomllib.loads(text)
    assert (raw["name"], raw["task"]["text"], raw["task"]["label"]) == ("a", "utterance", "queue")
    assert raw["task"]["prompt"] == "Utterance: {text}\nQueue:"
    assert raw["candidates"]["models"] == ["foundling-code", "foundling-mixture", "foundling-prose"]
    lines = text.splitlines()[text.splitlines().index('name = "a"') + 1 :]
    settings = [place for place, line in enumerate(lines) if " = " in line and not line.startswith("#")]
    assert len(settings) == 16
    assert all(" # " in lines[place] or lines[place - 1].startswith("# ") for place in settings)
    assert all(f"{key} = " in printed.out for key in ("task.shots", "tune.examples", "prove.forgetting"))
    assert "basewright build a.toml" in printed.err


def test_a_tuning_sees_every_row_however_many(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("basewright.looking.draft.EXAMPLES", (10, 20))
    Path("a.csv").write_text(csv_of(messages()), "utf-8")
    recipe = Path(new(capsys, "a.csv")["recipe"])
    assert tomllib.loads(recipe.read_text("utf-8"))["tune"]["examples"] == len(task(recipe).train) > 20


def test_a_stated_column_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.csv").write_text(csv_of(messages()), "utf-8")
    assert "agent" in new(capsys, "a.csv")["draft"]["seen"]["also_label"]
    seen = new(capsys, "a.csv", "--label", "agent", "--force")["draft"]["seen"]
    assert (seen["label"], len(seen["labels"])) == ("agent", 4)


REFUSED = {
    "empty.csv": (b"", "is empty"),
    "prose.csv": (b"only one line of prose\nand another\n", "has no columns"),
    "unlabelled.csv": (b"id,text\n" + b"".join(b"%d,a b c %d\n" % (i, i) for i in range(50)), "no column could be"),
    "numbers.csv": (b"a,b\n" + b"".join(b"%d,%d\n" % (i, i % 3) for i in range(50)), "no column holds prose"),
    "one.csv": (b"text,label\n" + b"".join(b"a b c %d,x\n" % i for i in range(50)), "no column could be"),
    "rare.csv": (b"text,label\n" + b"".join(b"a b c %d,x%d\n" % (i, i % 3) for i in range(9)), "is no task yet"),
    "book.xlsx": (b"PK\x03\x04rest", "an Excel workbook"),
    "rows.parquet": (b"PAR1rest", "Parquet"),
    "bytes.csv": (b"a,b\n\0\0", "NUL bytes"),
    "quote.csv": (b'text,label\n"a "b" c,x\n', "line 2 is not CSV"),
    "chat.jsonl": (b'{"messages": [{"role": "user", "content": "hello"}]}\n' * 9, "holds a conversation"),
    "object.json": (b'{"a": {"b": 1}}', "not a list of rows"),
    "list.json": (b"[1, 2]", "is no object"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_task_is_refused_in_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    content, says = REFUSED[name]
    Path(name).write_bytes(content)
    assert main.run(["new", name]) == 65
    err = capsys.readouterr().err.splitlines()
    assert says in err[0]
    assert [line[:8] for line in err] == ["basewrig", "  next: "]
    assert not list(Path().glob("*.toml"))


def test_rows_longer_than_every_context_are_refused_and_a_few_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    long = " ".join(f"word{i}" for i in range(1500))
    Path("a.csv").write_text(csv_of([*messages(), (long, "billing")]), "utf-8")
    (gone,) = new(capsys, "a.csv")["draft"]["seen"]["left_out"]
    assert (gone["why"], gone["places"]) == ("longer than the context of a candidate", ["line 92"])
    Path("b.csv").write_text(csv_of([(f"{text} {long}", label) for text, label in messages(24)]), "utf-8")
    assert main.run(["new", "b.csv"]) == 69
    assert "too short" in capsys.readouterr().err


def test_nothing_is_overwritten_without_force(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.json").write_bytes(SHAPES["list.json"])
    Path("a.rows.jsonl").write_text("mine", "utf-8")
    assert main.run(["new", "a.json"]) == 2
    assert Path("a.rows.jsonl").read_text("utf-8") == "mine"
    assert "--force" in capsys.readouterr().err
    assert not Path("a.toml").exists()
    new(capsys, "a.json", "--force")
    assert main.run(["new", "a.json"]) == 2


def test_the_recipe_may_lie_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    Path("in").mkdir()
    Path("out").mkdir()
    Path("in", "a.csv").write_text(csv_of(messages()), "utf-8")
    found = new(capsys, "in/a.csv", "--output", "out/mine.toml", "--name", "My Tickets!")
    raw = tomllib.loads(Path(found["recipe"]).read_text("utf-8"))
    assert (found["recipe"], raw["name"], raw["task"]["data"]) == ("out/mine.toml", "my-tickets", "../in/a.csv")
    assert main.run(["new", "in/a.csv", "--output", "none/mine.toml"]) == 2
    assert "mkdir -p none" in capsys.readouterr().err


def test_personal_data_is_counted_and_never_printed(capsys: pytest.CaptureFixture[str]) -> None:
    rows = messages()
    rows[3] = (f"{rows[3][0]} write to jane.doe@example.com or +44 20 7946 0958", rows[3][1])
    Path("a.csv").write_text(csv_of(rows), "utf-8")
    assert main.run(["new", "a.csv"]) == 0
    said = capsys.readouterr().out + Path("a.toml").read_text("utf-8")
    assert "1 row seems to hold e-mail addresses (line 5)" in said
    assert "phone numbers" in said
    assert "jane.doe" not in said
    assert "7946" not in said
