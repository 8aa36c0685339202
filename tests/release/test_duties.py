"""Licence duties: the table checks itself, names and texts are held to it, and nothing unknown passes as free."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from basewright.errors import Refused
from basewright.release.duties import check_name, check_texts, duties_of
from tests.release import making

LLAMA = b"LLAMA 3.2 COMMUNITY LICENSE AGREEMENT\n\nLlama 3.2 Version Release Date: September 25, 2024\n"
TEXTS = {
    "Apache-2.0": b"Apache License\nVersion 2.0, January 2004\n",
    "MIT": b"MIT License\n\nPermission is hereby granted, free\nof charge, to any person\n",
    "PSF-2.0": b"PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2\n",
    "CC0-1.0": b"CC0 1.0 Universal\n",
    "LicenseRef-Llama-3.2": LLAMA,
    "LicenseRef-Gemma": b"Gemma Terms of Use\n",
    "LicenseRef-Qwen-Research": b"Qwen RESEARCH LICENSE AGREEMENT\n",
    "CC-BY-4.0": b"Creative Commons Attribution 4.0 International\n",
    "CC-BY-SA-4.0": b"Creative Commons Attribution-ShareAlike 4.0 International\n",
    "LicenseRef-Llama-2": b"LLAMA 2 COMMUNITY LICENSE AGREEMENT\n",
    "LicenseRef-DeepSeek": b"DEEPSEEK LICENSE AGREEMENT\n",
    "LicenseRef-OPT-175B": b"<h2> OPT-175B LICENSE AGREEMENT </h2>\n",
    "LicenseRef-Falcon-180B": b"Falcon 180B TII License Version 1.0\n",
    "LicenseRef-StabilityAI-Community": b"STABILITY AI COMMUNITY LICENSE AGREEMENT\n",
    "LicenseRef-Falcon": b"Falcon 2 11B TII License Version 1.0\nbased on the Apache License Version 2.0\n",
    "LicenseRef-OpenRAIL": b"BigScience RAIL License v1.0\n",
}


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("apache-2.0", "Apache-2.0"),
        ("llama3.2", "LicenseRef-Llama-3.2"),
        ("gemma", "LicenseRef-Gemma"),
        ("bigscience-bloom-rail-1.0", "LicenseRef-OpenRAIL"),
        ("CC0-1.0 AND PSF-2.0", "CC0-1.0 AND PSF-2.0"),
    ],
)
def test_spdx_ids_and_the_names_of_hubs_are_known(given: str, found: str) -> None:
    assert duties_of(given).licence == found


@pytest.mark.parametrize(
    "licence", ["unknown", "other", "", "Apache-3.0", "GPL", "CC0-1.0 AND mine", "Apache-2.0 OR X"]
)
def test_h115_an_unknown_licence_is_never_a_free_one(licence: str) -> None:
    with pytest.raises(Refused, match="not in the table") as caught:
        duties_of(licence)
    assert "licence =" in caught.value.fix
    assert "[candidates]" in caught.value.fix


def test_several_licences_hold_together() -> None:
    both = duties_of("PSF-2.0 AND LicenseRef-Qwen-Research")
    assert both.non_commercial
    assert both.hub is None
    assert set(duties_of("PSF-2.0").texts) < set(both.texts)


@pytest.mark.parametrize(
    ("licence", "name"),
    [
        ("llama3.2", "contract-clauses"),
        ("llama3.1", "my-llama"),
        ("llama4", "lama-clauses"),
        ("llama3", "llama-clauses"),
        ("CC0-1.0 AND llama3.3", "clauses"),
    ],
)
def test_h113_a_name_that_breaks_the_licence_is_refused(tmp_path: Path, licence: str, name: str) -> None:
    with pytest.raises(Refused, match="begin with 'Llama") as caught:
        check_name(duties_of(licence), name)
    proper = re.search(r'"(.+)"', caught.value.fix)
    assert proper
    check_name(duties_of(licence), proper[1])
    assert re.fullmatch(r"[a-z0-9][a-z0-9. -]*", proper[1])


@pytest.mark.parametrize(("licence", "name"), [("llama3.2", "llama-clauses"), ("llama3", "Llama-3-x"), ("MIT", "any")])
def test_h113_a_name_that_keeps_it_passes(licence: str, name: str) -> None:
    check_name(duties_of(licence), name)


@pytest.mark.parametrize("licence", TEXTS)
def test_h115_only_the_text_of_the_named_licence_passes(licence: str) -> None:
    for other, text in TEXTS.items():
        if other == licence:
            check_texts(duties_of(licence), {"LICENSE": text})
        else:
            with pytest.raises(Refused, match="LICENSE beside its weights"):
                check_texts(duties_of(licence), {"LICENSE": text})


def test_h116_custom_terms_without_their_text_are_not_released(tmp_path: Path) -> None:
    walk = making.walk(tmp_path / "made", name="llama-clauses", licence="llama3.2")
    with pytest.raises(Refused, match="wants a copy of its text"):
        walk.stage(tmp_path / "out")


def test_h113_all_llama_duties_are_met_in_the_folder(tmp_path: Path) -> None:
    files = {"LICENSE.txt": LLAMA, "USE_POLICY.md": b"# Acceptable use\n"}
    walk = making.walk(tmp_path / "made", name="llama-clauses", licence="llama3.2", base_files=files)
    release = walk.stage(tmp_path / "out")
    out = tmp_path / "out"
    assert (out / "LICENSE").read_bytes() == LLAMA
    assert (out / "USE_POLICY.md").read_bytes() == files["USE_POLICY.md"]
    line = "Llama 3.2 is licensed under the Llama 3.2 Community License, Copyright © Meta Platforms, Inc."
    assert line in (out / "NOTICE").read_text("utf-8")
    card = (out / "README.md").read_text("utf-8")
    assert "**Built with Llama**" in card
    assert "license: llama3.2" in card
    assert release.licence == "LicenseRef-Llama-3.2"
    assert any("700 million" in duty for duty in release.duties)
    data = json.loads((out / "duties.json").read_text())
    assert set(data["texts"]) == {"LICENSE"}


def test_the_main_text_becomes_licence_and_the_others_keep_their_names(tmp_path: Path) -> None:
    files = {
        "COPYING": TEXTS["PSF-2.0"],
        "LICENSE-CC0": TEXTS["CC0-1.0"],
        "NOTICE": b"Copyright the makers\n",
        "LICENSE-NOTICE.md": b"of an earlier release",
    }
    walk = making.walk(tmp_path / "made", licence="CC0-1.0 AND PSF-2.0", base_files=files)
    walk.stage(tmp_path / "out")
    assert (tmp_path / "out" / "LICENSE").read_bytes() == TEXTS["CC0-1.0"]
    assert (tmp_path / "out" / "COPYING").read_bytes() == TEXTS["PSF-2.0"]
    assert not (tmp_path / "out" / "LICENSE-NOTICE.md").exists()
    notice = (tmp_path / "out" / "NOTICE").read_text()
    assert "Copyright the makers" in notice
    assert "rank 16" in notice


def test_a_standard_licence_without_a_text_is_named_with_its_duties(tmp_path: Path) -> None:
    making.walk(tmp_path / "made", licence="apache-2.0").stage(tmp_path / "out")
    text = (tmp_path / "out" / "LICENSE-NOTICE.md").read_text()
    assert "`Apache-2.0`" in text
    assert "state prominently that files were changed" in text


def test_a_licence_file_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    walk = making.walk(tmp_path / "made")
    (tmp_path / "secret").write_bytes(TEXTS["CC0-1.0"])
    (walk.weights.folder / "model" / "LICENSE").symlink_to(tmp_path / "secret")
    walk.stage(tmp_path / "out")
    assert not (tmp_path / "out" / "LICENSE").exists()
