"""Where answers end, and in which template a model is asked, as other programs find it in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from basewright.engine import ends
from basewright.errors import ModelFileError
from basewright.records import ChatTemplate, Layout
from basewright.text import encode
from basewright.text.tokenizer import open_tokenizer, stops_of
from tests.text.chats import CHATML, INST, tokenizer, write_folder

PLAIN = Layout(prompt="{text}", separator="\n\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = write_folder(tmp_path / "m", CHATML)
    config = json.loads((made / "tokenizer_config.json").read_text())
    (made / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": CHATML}))
    return made


def test_h065_ends_are_read_where_they_are_written_and_are_no_padding(folder: Path) -> None:
    found = open_tokenizer(folder)
    end = encode.control_id(found, "<|im_end|>")
    ends.write(found, None, (end, found.pad_id), folder)
    written = json.loads((folder / "generation_config.json").read_text())
    assert written["eos_token_id"] == [found.eos_id, end, found.pad_id]
    assert written["pad_token_id"] not in written["eos_token_id"]
    assert stops_of(folder) == (found.eos_id, end, found.pad_id)
    again = open_tokenizer(folder)
    assert again.stops == (end, found.pad_id)
    assert [again.ends(number) for number in (found.eos_id, end, 70)] == [True, True, False]


def test_h067_a_folder_has_the_template_that_was_learned_or_none(folder: Path) -> None:
    ends.write(
        tokenizer(), Layout(prompt="{text}", separator="", chat=ChatTemplate(source=INST, tokens={})), (), folder
    )
    assert (folder / "chat_template.jinja").read_text() == INST
    assert "chat_template" not in json.loads((folder / "tokenizer_config.json").read_text())
    ends.write(tokenizer(), PLAIN, (), folder)
    assert not (folder / "chat_template.jinja").exists()
    assert open_tokenizer(folder).eos_id == tokenizer().eos_id


@pytest.mark.parametrize("named", ['"</s>"', "[1, true]", "-1", "[1e3]", "99999999999"])
def test_ends_that_are_no_ids_are_refused(folder: Path, named: str) -> None:
    (folder / "generation_config.json").write_text(f'{{"eos_token_id": {named}}}')
    with pytest.raises(ModelFileError, match="names an end that is no id"):
        open_tokenizer(folder)
