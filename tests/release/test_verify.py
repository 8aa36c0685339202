"""Tampering: every byte of every file counts, and the file is named."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from basewright import store
from basewright.records import Check
from basewright.release.verify import REQUIRED, verify
from tests.release import making
from tests.release.test_duties import LLAMA


@pytest.fixture
def released(tmp_path: Path) -> Path:
    return making.walk(tmp_path / "made").commit(tmp_path / "store")


def faults(folder: Path) -> str:
    return " ".join(check.how for check in verify(folder) if not check.passed)


def rewrite_manifest(folder: Path) -> None:
    """What a careful forger does: the manifest agrees with the changed files."""
    (folder / store.MANIFEST).unlink()
    store.write_json(folder / store.MANIFEST, {"schema": 1, "files": store.entries(folder)})


def edit(path: Path, change: Callable[[dict[str, object]], None]) -> None:
    value = json.loads(path.read_text())
    change(value)
    path.unlink()
    store.write_json(path, value)


def test_an_untouched_release_passes_every_check(released: Path) -> None:
    checks = verify(released)
    assert [check.name for check in checks] == ["manifest", "nothing added", "files", "ml-bom", "proof", "licence"]
    assert all(isinstance(check, Check) and check.passed and check.value == 0 for check in checks), faults(released)


def test_h118_one_changed_byte_in_any_file_is_named(released: Path) -> None:
    chance = random.Random(0)
    names = [path.relative_to(released).as_posix() for path in released.rglob("*") if path.is_file()]
    assert len(names) == 16
    for name in names:
        path = released / name
        good = path.read_bytes()
        path.unlink()  # a release's weights are links to the converted ones: tamper with a copy
        for _ in range(40):
            at = chance.randrange(len(good))
            path.write_bytes(good[:at] + bytes([good[at] ^ 1 << chance.randrange(8)]) + good[at + 1 :])
            found = faults(released)
            assert found, f"{name} at {at}"
            if name != store.MANIFEST:
                assert name in found
        path.write_bytes(good)
    assert not faults(released)


@pytest.mark.parametrize("name", [*REQUIRED, "model/model.safetensors", "gguf/model-f16.gguf", "LICENSE-NOTICE.md"])
def test_h118_a_missing_file_is_named_also_when_the_manifest_is_rewritten(released: Path, name: str) -> None:
    (released / name).unlink()
    assert f"{name} is missing" in faults(released)
    rewrite_manifest(released)
    assert name in faults(released)


def test_h118_an_added_file_and_a_link_are_named(released: Path, tmp_path: Path) -> None:
    (released / "model" / "extra.py").write_text("x = 1")
    (released / "gguf" / "link.gguf").symlink_to(tmp_path / "anything")
    found = faults(released)
    assert "model/extra.py is not in MANIFEST.json" in found
    assert "gguf/link.gguf is a link" in found


def test_h119_weights_swapped_under_a_rewritten_manifest_are_found_by_the_bom(released: Path) -> None:
    path = released / "gguf" / "model-q8_0.gguf"
    path.unlink()
    path.write_bytes(b"GGUF other")
    rewrite_manifest(released)
    assert "gguf/model-q8_0.gguf has another hash in bom.json" in faults(released)


def test_a_failed_check_in_the_proof_is_named(released: Path) -> None:
    def fail(value: dict[str, object]) -> None:
        value["checks"][0]["passed"] = False  # type: ignore[index]

    edit(released / "proof.json", fail)
    rewrite_manifest(released)
    assert "proof.json: training data: every row is ended by a supervised EOS failed" in faults(released)


def test_h114_a_freer_licence_put_on_the_base_is_found(tmp_path: Path) -> None:
    made = making.walk(tmp_path / "made", name="llama-x", licence="llama3.2", base_files={"LICENSE": LLAMA})
    folder = made.commit(tmp_path / "store")
    assert not faults(folder)

    def relabel(value: dict[str, object]) -> None:
        value["base"]["licence"] = "Apache-2.0"  # type: ignore[index]

    edit(folder / "basewright.json", relabel)
    rewrite_manifest(folder)
    assert "declared as Apache-2.0, and LICENSE beside its weights is another text" in faults(folder)


@pytest.mark.parametrize(("name", "words"), [("NOTICE", "Llama 3.2 is licensed"), ("README.md", "Built with Llama")])
def test_h113_a_notice_that_was_taken_out_is_found(tmp_path: Path, name: str, words: str) -> None:
    made = making.walk(tmp_path / "made", name="llama-x", licence="llama3.2", base_files={"LICENSE": LLAMA})
    folder = made.commit(tmp_path / "store")
    text = (folder / name).read_text("utf-8")
    (folder / name).unlink()
    (folder / name).write_text(text.replace(words, ""), "utf-8")
    rewrite_manifest(folder)
    assert f"{name} " in faults(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b"\xff", b'{"a": 1, "a": 2}', b"[" * 100_000])
@pytest.mark.parametrize("name", ["basewright.json", "bom.json", "proof.json", "duties.json", store.MANIFEST])
def test_it_names_a_fault_and_never_raises_for_what_a_file_holds(released: Path, name: str, content: bytes) -> None:
    (released / name).unlink()
    (released / name).write_bytes(content)
    assert faults(released)


def test_an_empty_folder_is_no_release(tmp_path: Path) -> None:
    assert not any(check.passed for check in verify(tmp_path))
