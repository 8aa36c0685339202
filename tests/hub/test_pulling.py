"""From a name to a result in the store: what is taken, locked, reused, repaired and removed."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from basewright import store as stores
from basewright.catalog import cards
from basewright.errors import BasewrightError, ModelFileError, Refused, StoreError, UsageError
from basewright.hub import api, lockfile, lookalike, pull, pulling, reference, upkeep
from basewright.hub.digests import Digest
from basewright.hub.pulling import Pulled
from basewright.hub.remote import Ask, Bytes
from basewright.hub.wire import Wire
from basewright.records import FileEntry, ModelCard, Weights, silent
from basewright.serve import artifact
from basewright.store import Store
from tests.formats import ggufs
from tests.hub.fake_hub import Handler, Hub, flipped, of_folder, serve
from tests.hub.folders import random_tensors, weights, write, write_shards
from tests.hub.test_transfer import CHUNK, QUICK, always

GGUF = ggufs.MODEL
TAKEN = {"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", "LICENSE", "README.md"}
LEFT = {
    "pytorch_model.bin": b"\x80\x04.",
    "modeling_x.py": b"import os",
    "onnx/model.onnx": b"x",
    ".gitattributes": b"",
}


@pytest.fixture(autouse=True)
def no_other_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = write(tmp_path / "source")
    (folder / "LICENSE").write_text("do as you like")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    hub = of_folder(folder)
    hub.files |= LEFT
    with serve(hub) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def get(hub: Hub, store: Store, text: str = "maker/model", **ask: Any) -> Pulled:
    line = None if ask.get("offline") else Wire(hub.url, stated=True, patience=QUICK)
    return pulling.pull(reference.parse(text), Ask(**ask), Bytes(store, line, silent, CHUNK))


def asked(hub: Hub) -> list[str]:
    return sorted(one.path.rpartition("/")[2] for one in hub.of_files())


def test_a_repository_becomes_weights_and_only_the_models_files_come(hub: Hub, store: Store) -> None:
    done = get(hub, store)
    record = done.made.record
    assert isinstance(record, Weights)
    assert {entry.name for entry in record.files} == TAKEN
    assert set(asked(hub)) == TAKEN
    assert (record.card.id, record.card.location, record.card.licence) == ("maker/model", "hub:maker/model", "mit")
    assert record.revision == "1" * 40
    assert done.fetched == sum(len(hub.files[name]) for name in TAKEN)
    assert stores.faults(done.made.folder) == []
    weights_file = done.made.folder / "model" / "model.safetensors"
    assert weights_file.stat().st_nlink == 2, "the blob and the model share the bytes"


def test_the_same_again_fetches_nothing(hub: Hub, store: Store) -> None:
    first = get(hub, store)
    hub.asked = []
    again = get(hub, store)
    assert (again.found, again.fetched, again.made.id) == (True, 0, first.made.id)
    assert hub.of_files() == []


def test_shards_come_with_their_index(store: Store, tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "sharded")
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    for i in (1, 2):
        (folder / f"model-{i}.safetensors").rename(folder / f"model-0000{i}-of-00002.safetensors")
    index["weight_map"] = {
        name: shard.replace("model-", "model-0000").replace(".safe", "-of-00002.safe")
        for name, shard in index["weight_map"].items()
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with serve(of_folder(folder)) as hub:
        record = get(hub, store).made.record
    assert isinstance(record, Weights)
    assert sum(entry.name.endswith(".safetensors") for entry in record.files) == 2


# --- one commit (H027, H035) -------------------------------------------------------------------------


def other_files(hub: Hub) -> dict[str, bytes]:
    return hub.files | {"model.safetensors": weights(random_tensors(seed=5)), "NOTICE": b"new"}


def test_h027_a_push_in_the_middle_changes_nothing(hub: Hub, store: Store) -> None:
    def push(request: Handler) -> bool:
        if hub.commit == "1" * 40:
            hub.push(other_files(hub), "2" * 40)
        return False

    hub.lie = push
    record = get(hub, store).made.record
    assert isinstance(record, Weights)
    assert record.revision == "1" * 40
    assert all(one.path.split("/")[4] == "1" * 40 for one in hub.of_files())


def test_h027_a_pull_that_was_stopped_goes_on_with_the_same_commit(hub: Hub, store: Store) -> None:
    def fail(request: Handler) -> bool:
        request.body(404, b"")
        return True

    hub.lie = fail
    with pytest.raises(UsageError):
        get(hub, store)
    hub.lie = None
    hub.push(other_files(hub), "2" * 40)
    done = get(hub, store)
    assert isinstance(done.made.record, Weights)
    assert done.made.record.revision == "1" * 40
    assert "--update goes there" in done.notes[0]


def test_h027_another_commit_needs_update_and_says_what_differs(hub: Hub, store: Store) -> None:
    first = get(hub, store)
    hub.push(other_files(hub), "2" * 40)
    stays = get(hub, store)
    assert stays.made.id == first.made.id
    assert "main is now 222222222222 (changed model.safetensors; new NOTICE): --update" in stays.notes[0]
    with pytest.raises(UsageError, match="is locked at commit 111111111111"):
        get(hub, store, revision="2" * 40)
    hub.asked = []
    moved = get(hub, store, update=True)
    assert isinstance(moved.made.record, Weights)
    assert moved.made.record.revision == "2" * 40
    assert asked(hub) == ["NOTICE", "model.safetensors"]
    lock = lockfile.read(store, "hub:maker/model")
    assert lock is not None
    assert (lock.commit, lock.result) == ("2" * 40, moved.made.id)


def test_h035_a_new_owner_of_an_old_name_is_stopped_at(hub: Hub, store: Store) -> None:
    first = get(hub, store)
    hub.owner_id = "another"
    for update in (False, True):
        with pytest.raises(Refused, match="another repository than the one first seen"):
            get(hub, store, update=update)
    assert get(hub, store, offline=True).made.id == first.made.id


def test_h035_a_renamed_repository_is_not_followed(hub: Hub, store: Store) -> None:
    hub.repo = "someone/else"
    with pytest.raises(UsageError, match="answers for someone/else"):
        get(hub, store)


def test_h036_look_alikes_of_curated_owners() -> None:
    owners = {one.location.removeprefix("hub:").partition("/")[0] for one in cards.facts() if "hub:" in one.location}
    for owner in owners:
        lookalike.refuse(f"{owner}/anything", None)
    for name in ("meta-1lama/Llama-3.1-8B", "rneta-llama/Llama-3.1-8B", "meta-lama/Llama-3.1-8B", "meta_llama/x"):
        with pytest.raises(Refused, match="is not meta-llama"):
            lookalike.refuse(name, None)
        lookalike.refuse(name, "a" * 40)
    for name in ("unsloth/Llama-3.1-8B", "maker/model", "NousResearch/Llama-2-7b-hf", "bartowski/x"):
        lookalike.refuse(name, None)


# --- what is refused ---------------------------------------------------------------------------------


def test_a_repository_of_pickles_is_refused_before_a_byte(hub: Hub, store: Store) -> None:
    del hub.files["model.safetensors"]
    with pytest.raises(ModelFileError, match=r"only as 'pytorch_model\.bin'") as caught:
        get(hub, store)
    assert "--revision" in caught.value.fix
    assert hub.of_files() == []


@pytest.mark.parametrize("name", ["../model.safetensors", "a/../../b", "/etc/passwd", "a\\..\\b", "C:x", "a//b", "x\n"])
def test_h006_a_list_that_leads_outside_is_no_list(hub: Hub, store: Store, name: str) -> None:
    hub.files[name] = b"x"
    with pytest.raises(ModelFileError, match="leads outside"):
        get(hub, store)
    assert hub.of_files() == []


def test_a_file_listed_twice(hub: Hub, store: Store) -> None:
    value = hub.listing()
    value["siblings"].append(value["siblings"][0])
    hub.lie_api = always(lambda r: r.json(value))
    with pytest.raises(ModelFileError, match="twice"):
        get(hub, store)


BAD: dict[str, Any] = {
    "no list": {"siblings": None},
    "no commit": {"sha": "main"},
    "commit as a path": {"sha": "../" * 13 + "a"},
    "a size that is none": {"siblings": [{"rfilename": "config.json", "size": -1, "blobId": "0" * 40}]},
    "a size as text": {"siblings": [{"rfilename": "config.json", "size": "9", "blobId": "0" * 40}]},
    "a hash as a path": {"siblings": [{"rfilename": "config.json", "size": 9, "blobId": "../../x"}]},
    "no hash": {"siblings": [{"rfilename": "config.json", "size": 9}]},
    "a list in a list": {"siblings": [[]]},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_an_api_that_answers_nonsense(hub: Hub, store: Store, change: dict[str, Any]) -> None:
    value = hub.listing() | change
    hub.lie_api = always(lambda r: r.json(value))
    with pytest.raises(BasewrightError, match="no description of a repository"):
        get(hub, store)


@pytest.mark.parametrize(
    ("body", "words"),
    [(b"<html>", "no description"), (b"{" * 100_000, "no description"), (b" " * (2**20 + 1), "more than 1 MiB")],
    ids=["html", "deep", "large"],
)
def test_an_api_that_answers_no_json(
    hub: Hub, store: Store, body: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "MAX_JSON", 2**20)
    hub.lie_api = always(lambda r: r.body(200, body))
    with pytest.raises(BasewrightError, match=words):
        get(hub, store)


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "GatedRepo", "is gated"),
        (401, "RepoNotFound", "gated or private, or is not there"),
        (403, "", "gated or private"),
        (404, "RevisionNotFound", "no such revision"),
        (404, "", "is not there"),
    ],
)
def test_a_repository_one_may_not_have(hub: Hub, store: Store, status: int, code: str, words: str) -> None:
    hub.lie_api = always(lambda r: r.body(status, b"", {"X-Error-Code": code}))
    with pytest.raises(UsageError, match=words):
        get(hub, store)
    assert lockfile.every(store) == []


def test_what_does_not_pass_the_airlock_is_no_result(hub: Hub, store: Store) -> None:
    hub.files["config.json"] = json.dumps({**json.loads(hub.files["config.json"]), "auto_map": {}}).encode()
    with pytest.raises(ModelFileError, match="auto_map"):
        get(hub, store)
    assert store.all() == []


# --- whole, or repaired (H037) ------------------------------------------------------------------------

FAULTS: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: _over(path, b""),
    "cut": lambda path: _over(path, path.read_bytes()[:-1]),
    "flipped": lambda path: _over(path, flipped(path.read_bytes(), random.Random(2))),
}


def _card(done: Pulled) -> ModelCard:
    assert isinstance(done.made.record, Weights)
    return done.made.record.card


def _over(path: Path, data: bytes) -> None:
    """In place, as a failing disk does: what is linked to it is changed too."""
    os.chmod(path, 0o644)
    with path.open("r+b") as file:
        file.write(data)
        file.truncate(len(data))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("name", ["model.safetensors", "LICENSE"])
def test_h037_check_names_the_bad_file_and_pull_repairs_just_it(hub: Hub, store: Store, fault: Any, name: str) -> None:
    ref = reference.parse("maker/model")
    done = get(hub, store)
    assert [one.fault for one in upkeep.check(ref, store)] == [""] * len(TAKEN)
    deleted = fault is FAULTS["deleted"]
    fault(done.made.folder / "model" / name)
    assert [one.name for one in upkeep.check(ref, store) if one.fault] == [name]
    with pytest.raises(StoreError, match="is damaged"):
        artifact.find("maker/model", store)
    with pytest.raises(StoreError, match="is damaged"):
        pull.locate(_card(done), store)
    hub.asked = []
    again = get(hub, store)
    assert asked(hub) == ([] if deleted else [name])  # what was only unlinked still is a blob
    assert stores.faults(again.made.folder) == []
    assert [one.fault for one in upkeep.check(ref, store)] == [""] * len(TAKEN)


def test_check_before_anything_was_pulled(store: Store) -> None:
    with pytest.raises(UsageError, match="has not been pulled"):
        upkeep.check(reference.parse("maker/model"), store)


# --- removing ----------------------------------------------------------------------------------------


def test_a_removal_is_planned_then_done(hub: Hub, store: Store) -> None:
    ref = reference.parse("maker/model")
    done = get(hub, store)
    before = sorted(path for path in store.root.rglob("*"))
    removal = upkeep.plan(ref, store)
    assert sorted(path for path in store.root.rglob("*")) == before
    assert done.made.id in removal.names
    assert removal.size >= sum(len(hub.files[name]) for name in TAKEN)
    upkeep.remove(removal, store)
    assert [path for path in store.root.rglob("*") if path.is_file() and "work" not in path.parts] == []
    with pytest.raises(UsageError, match="has not been pulled"):
        upkeep.plan(ref, store)


def test_a_removal_takes_what_former_commits_left(hub: Hub, store: Store) -> None:
    get(hub, store)
    hub.push(other_files(hub), "2" * 40)
    get(hub, store, update=True)
    removal = upkeep.plan(reference.parse("maker/model"), store)
    assert sum(name.startswith("weights-") for name in removal.names) == 2
    upkeep.remove(removal, store)
    assert [path for path in store.root.rglob("*") if path.is_file() and "work" not in path.parts] == []


def test_a_removal_says_who_uses_it_and_leaves_what_others_need(hub: Hub, store: Store) -> None:
    done = get(hub, store)
    entry = FileEntry(name="", size=0, sha256="")
    user, _ = store.make("adapter", {}, FileEntry, lambda _: entry, parents=(done.made.id,))
    hub.repo = "maker/other"
    hub.files |= {"README.md": b"another"}
    other = get(hub, store, "maker/other")
    removal = upkeep.plan(reference.parse("maker/model"), store)
    assert removal.used_by == (user.id,)
    assert removal.shared == ("hub:maker/other",)
    assert removal.size < 8192 + sum(len(hub.files[name]) for name in ("README.md",)) + 3 * 8192
    upkeep.remove(removal, store)
    assert stores.faults(other.made.folder) == []
    assert [one.fault for one in upkeep.check(reference.parse("maker/other"), store)] == [""] * len(TAKEN)


# --- other places ------------------------------------------------------------------------------------


def test_the_hubs_own_cache_is_shared_and_not_copied(hub: Hub, store: Store, tmp_path: Path) -> None:
    data = hub.files["model.safetensors"]
    cached = tmp_path / "hf" / "hub" / "models--maker--model" / "blobs" / hashlib.sha256(data).hexdigest()
    cached.parent.mkdir(parents=True)
    cached.write_bytes(data)
    done = get(hub, store)
    assert done.reused == len(data)
    assert "model.safetensors" not in asked(hub)
    assert (done.made.folder / "model" / "model.safetensors").stat().st_ino == cached.stat().st_ino
    assert cached.stat().st_mode & 0o200, "its mode is its owner's"


def test_a_cache_with_other_bytes_is_not_believed(hub: Hub, store: Store, tmp_path: Path) -> None:
    data = hub.files["model.safetensors"]
    cached = tmp_path / "hf" / "hub" / "models--maker--model" / "blobs" / hashlib.sha256(data).hexdigest()
    cached.parent.mkdir(parents=True)
    cached.write_bytes(flipped(data, random.Random(4)))
    done = get(hub, store)
    assert done.reused == 0
    assert "model.safetensors" in asked(hub)


def test_offline_only_what_is_here(hub: Hub, store: Store) -> None:
    with pytest.raises(UsageError, match="has not been pulled"):
        get(hub, store, offline=True)
    first = get(hub, store)
    hub.asked = []
    assert get(hub, store, offline=True).made.id == first.made.id
    assert hub.asked == []


def test_a_hub_that_is_down_does_not_take_away_what_is_here(hub: Hub, store: Store) -> None:
    first = get(hub, store)
    hub.lie_api = always(lambda r: r.body(503, b""))
    again = get(hub, store)
    assert again.made.id == first.made.id
    assert "answers 503" in again.notes[0]


def test_a_folder_and_a_shipped_model(hub: Hub, store: Store, tmp_path: Path) -> None:
    assert isinstance(get(hub, store, str(tmp_path / "source")).made.record, Weights)
    shipped = get(hub, store, "foundling-prose").made.record
    assert isinstance(shipped, Weights)
    assert shipped.card.location == "package:foundling-prose"
    assert hub.asked == []


# --- one GGUF file -----------------------------------------------------------------------------------


def test_a_gguf_file_of_a_repository_comes_with_its_licence(hub: Hub, store: Store) -> None:
    hub.files |= {"model-q8_0.gguf": GGUF, "model-q4_0.gguf": GGUF + b"x"}
    done = get(hub, store, "maker/model:model-q8_0.gguf")
    record = done.made.record
    assert isinstance(record, pulling.OneFile)
    assert (record.file.name, [one.name for one in record.licences]) == ("model-q8_0.gguf", ["LICENSE"])
    assert asked(hub) == ["LICENSE", "model-q8_0.gguf"]
    assert artifact.find("maker/model:model-q8_0.gguf", store) == done.made.folder / "gguf"
    with pytest.raises(UsageError, match="did you mean 'model-q8_0"):
        get(hub, store, "maker/model:model-q8_1.gguf")
    with pytest.raises(ModelFileError):  # not a whole one
        get(hub, store, "maker/model:model-q4_0.gguf")


def test_a_file_with_its_hash(hub: Hub, store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a model.gguf"
    path.write_bytes(GGUF)
    right, wrong = hashlib.sha256(GGUF).hexdigest(), "0" * 64
    with pytest.raises(ModelFileError, match="plain file name"):
        get(hub, store, f"file:{path}#sha256={right}")
    path = path.rename(tmp_path / "model.gguf")
    with pytest.raises(ModelFileError, match="not the file that its hash names"):
        get(hub, store, f"file:{path}#sha256={wrong}")
    done = get(hub, store, f"file://{path}#sha256={right}")
    assert isinstance(done.made.record, pulling.OneFile)
    assert get(hub, store, f"file:{path}#sha256={right}").found


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/m.gguf",
        "https://example.com/m.gguf#sha256=12",
        "http://example.com/m.gguf#sha256=" + "0" * 64,
        "https://example.com/m.bin#sha256=" + "0" * 64,
        "nothing-known",
        "a/b/c",
        "hub:../x",
        "maker/model:pytorch_model.bin",
        "ollama:../../x",
        "ollama:a:b:c",
    ],
)
def test_names_that_are_none(hub: Hub, store: Store, text: str) -> None:
    with pytest.raises((UsageError, ModelFileError)):
        get(hub, store, text)
    assert hub.asked == []


def test_an_address_is_fetched_by_its_hash(hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server is asked for the size; the line to it is opened here, which no person can do."""
    hub.files["m.gguf"] = GGUF
    address = f"{hub.url}/maker/model/resolve/{hub.commit}/m.gguf"
    ref = reference.Reference(kind="url", name=address, digest=Digest("sha256", hashlib.sha256(GGUF).hexdigest()))
    work = Bytes(store, Wire(hub.url, stated=True, patience=QUICK), silent, CHUNK)
    assert pulling.pull(ref, Ask(), work).fetched == len(GGUF)


def ollama(folder: Path, name: str = "library/tiny/latest", digest: str = "") -> Path:
    """A store of Ollama's with one model."""
    real = f"sha256:{hashlib.sha256(GGUF).hexdigest()}"
    licence = b"MIT"
    layers = [
        {"mediaType": "application/vnd.ollama.image.model", "digest": digest or real, "size": len(GGUF)},
        {"mediaType": "application/vnd.ollama.image.template", "digest": real, "size": 5},
        {
            "mediaType": "application/vnd.ollama.image.license",
            "digest": f"sha256:{hashlib.sha256(licence).hexdigest()}",
            "size": 3,
        },
    ]
    manifest = folder / "manifests" / "registry.ollama.ai" / name
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    (folder / "blobs").mkdir()
    for data in (GGUF, licence):
        (folder / "blobs" / f"sha256-{hashlib.sha256(data).hexdigest()}").write_bytes(data)
    return folder


def test_ollamas_store_is_read_and_not_written(hub: Hub, store: Store, tmp_path: Path) -> None:
    folder = ollama(tmp_path / "ollama")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    record = get(hub, store, "ollama:tiny").made.record
    assert isinstance(record, pulling.OneFile)
    assert (record.file.name, record.licences[0].size) == ("tiny.gguf", 3)
    assert get(hub, store, "ollama:tiny").found
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    with pytest.raises(UsageError, match="holds no other"):
        get(hub, store, "ollama:other")


def test_h031_a_manifest_of_ollamas_that_leads_outside(hub: Hub, store: Store, tmp_path: Path) -> None:
    ollama(tmp_path / "ollama", digest="sha256:../../../etc/passwd")
    with pytest.raises(ModelFileError, match="not a sha256 hash"):
        get(hub, store, "ollama:tiny")


# --- found by what comes after -------------------------------------------------------------------------


def test_nothing_but_pull_downloads(hub: Hub, store: Store) -> None:
    with pytest.raises(ModelFileError, match="not on this machine") as caught:
        artifact.find("maker/model", store)
    assert caught.value.fix == "basewright pull maker/model"
    curated = next(one for one in cards.find() if one.location.startswith("hub:"))
    with pytest.raises(ModelFileError) as caught:
        pull.locate(curated, store)
    assert caught.value.fix == f"basewright pull {curated.location.removeprefix('hub:')}"


def test_what_was_pulled_is_found_by_its_name(hub: Hub, store: Store) -> None:
    done = get(hub, store)
    folder = artifact.find("maker/model", store)
    assert folder == done.made.folder / "model"
    assert pulling.name_of(folder) == "maker/model"
    assert isinstance(done.made.record, Weights)
    assert pull.card_of("maker/model", store) == done.made.record.card
    assert pull.card_of("maker/other", store) is None
    assert pull.locate(done.made.record.card, store) == folder
