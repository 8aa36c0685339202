from __future__ import annotations

import ntpath
import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewright.errors import ModelFileError
from basewright.formats.names import check_name

UNSAFE = (
    "", ".", "..", "../model.safetensors", "..\\model.safetensors", "a/b", "a\\b", "/etc/passwd", "C:\\x", "C:x",
    "\\\\server\\share", "//server/share", "%2e%2e%2fx", "a\0b", "a\nb", "a b", "model.safetensors ", "model.", "...",
    "con", "CON.safetensors", "nul.json", "LPT1", "com9.x", "aux", "~", "$HOME", "mödel", "a:b", "a*", "x" * 256,
)  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE)
def test_h022_names_that_could_mean_another_place_are_refused(name: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        check_name(name, "the index")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "name", ["model.safetensors", "model-00001-of-00002.safetensors", "README.md", "a", "_x", "console"]
)
def test_plain_names_pass(name: str) -> None:
    assert check_name(name, "the index") == name


@given(st.text(alphabet="ab./\\:~%\0 \n-_", max_size=8))
def test_h006_an_accepted_name_stays_in_its_folder_on_every_system(name: str) -> None:
    try:
        check_name(name, "the index")
    except ModelFileError:
        return
    for path in (posixpath, ntpath):
        assert path.basename(name) == name
        assert path.dirname(path.normpath(path.join("folder", name))) == "folder"
