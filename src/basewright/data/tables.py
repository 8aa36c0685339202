"""Rows of Parquet files, Arrow files and folders that `datasets` saved, read with pyarrow; nothing of them is run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from basewright.errors import DataError
from basewright.formats.names import SAFE

PARQUET, ARROW = b"PAR1", b"ARROW1"
STREAM = b"\xff\xff\xff\xff"
"""How an Arrow stream begins, the form of a shard."""
MAGIC = (PARQUET, ARROW, STREAM)
FACTS = ("dataset_dict.json", "dataset_info.json", "state.json")


def splits(folder: Path) -> list[str]:
    """The parts of a saved `DatasetDict`; none where it is something else."""
    return [_name(name, folder) for name in _facts(folder / FACTS[0]).get("splits") or []]


def shards(folder: Path) -> list[Path]:
    """The files of a saved `Dataset`, in order; none where it is something else. Raises `DataError`."""
    listed = _facts(folder / FACTS[2]).get("_data_files") or []
    return [folder / _name(one.get("filename"), folder) for one in listed]


def label_names(folder: Path) -> dict[str, list[str]]:
    """Columns whose numbers stand for labels (`ClassLabel`), and the labels."""
    features = _facts(folder / FACTS[1]).get("features") or {}
    return {
        name: [str(label) for label in feature["names"]]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list)
    }


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Each row as plain values. Raises `DataError` for a damaged file, or where pyarrow is not installed."""
    try:
        import pyarrow
        from pyarrow import ipc, parquet
    except ImportError as error:
        raise DataError(
            f"{path.name} is a table, and pyarrow is not installed", fix="pip install 'basewright[parquet]'"
        ) from error
    try:
        with path.open("rb") as file:
            start = file.read(8)
            file.seek(0)
            if start.startswith(PARQUET):
                batches = parquet.ParquetFile(file).iter_batches()
            elif start.startswith(ARROW):
                reader = ipc.open_file(file)
                batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
            else:
                batches = ipc.open_stream(file)
            for batch in batches:
                yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowException, ValueError) as error:
        raise DataError(f"{path.name} cannot be read: {error}", fix="copy the file again") from error


def _facts(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path.name} of the dataset cannot be read: {error}", fix="save the dataset again") from error
    return found if isinstance(found, dict) else {}


def _name(name: Any, folder: Path) -> str:
    """A name from inside the folder's own files must not lead out of it (H022)."""
    if not isinstance(name, str) or not SAFE.fullmatch(name) or name.startswith("."):
        raise DataError(f"{folder.name} names {str(name)[:60]!r} as a part of it", fix="save the dataset again")
    return name
