"""What a hub says of a repository at one commit: its files, with size and hash (H027). Nothing of it is trusted."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any
from urllib.parse import quote

from basewright.errors import BasewrightError, ModelFileError, UsageError
from basewright.formats import strict
from basewright.hub import transfer
from basewright.hub.digests import Digest, Wanted
from basewright.hub.wire import MAX_JSON, Wire
from basewright.records import record

COMMIT = re.compile("[0-9a-f]{40}")


@record
class Listing:
    """A repository at a commit."""

    repo: str
    owner_id: str
    """The hub's own number of the repository: a new one under an old name has another (H035)."""
    commit: str
    files: tuple[Wanted, ...]


def listing(line: Wire, repo: str, revision: str) -> Listing:
    """The files of `repo` at the commit that `revision` is now. Raises `BasewrightError`, `UsageError`."""
    url = f"{line.endpoint.rstrip('/')}/api/models/{repo}/revision/{quote(revision, safe='')}?blobs=true"
    value = _parsed(transfer.read(line, url, repo, MAX_JSON), line)
    found, commit, siblings = value.get("id"), value.get("sha"), value.get("siblings")
    if isinstance(found, str) and found != repo:
        raise UsageError(
            f"the hub answers for {line.clean(found)[:100]} when asked for {repo}: it was renamed, or is another one",
            fix="look at it there; if you mean it, pull it by that name",
        )
    if not isinstance(commit, str) or not COMMIT.fullmatch(commit) or not isinstance(siblings, list):
        raise _unusable(line)
    if COMMIT.fullmatch(revision) and commit != revision:
        raise BasewrightError(
            f"the hub answers with commit {commit[:12]} when asked for {revision[:12]}", fix="check HF_ENDPOINT"
        )
    files = tuple(_file(one, line) for one in siblings)
    _refuse_odd_names(files, repo)
    return Listing(repo=repo, owner_id=str(value.get("_id", ""))[:64], commit=commit, files=files)


def address(line: Wire, repo: str, commit: str, name: str) -> str:
    return f"{line.endpoint.rstrip('/')}/{repo}/resolve/{commit}/{quote(name)}"


def _parsed(data: bytes, line: Wire) -> dict[str, Any]:
    try:
        return strict.parse_object(data, "the answer")
    except ModelFileError:
        raise _unusable(line) from None


def _file(one: Any, line: Wire) -> Wanted:
    """An LFS file has a sha256; another one git's sha1, as its blob is called."""
    try:
        large = one.get("lfs")
        digest = Digest("sha256", large["sha256"]) if large else Digest("sha1", one["blobId"])
        size = large["size"] if large else one["size"]
        if type(one["rfilename"]) is not str or type(size) is not int or not 0 <= size < 2**50:
            raise TypeError(one)
        return Wanted(one["rfilename"], size, digest)
    except (AttributeError, KeyError, TypeError, ModelFileError):
        raise _unusable(line) from None


def _refuse_odd_names(files: tuple[Wanted, ...], repo: str) -> None:
    """A list that names a file twice, or one outside the repository, is no list to go by (H006)."""
    for file in files:
        parts = file.name.replace("\\", "/").split("/")
        if ".." in parts or "" in parts or ":" in parts[0] or not file.name.isprintable():
            raise ModelFileError(
                f"{repo} lists the file {file.name[:80]!r}, which leads outside it", fix="do not use that repository"
            )
    name, times = Counter(file.name for file in files).most_common(1)[0] if files else ("", 0)
    if times > 1:
        raise ModelFileError(f"{repo} lists the file {name[:80]!r} twice", fix="do not use that repository")


def _unusable(line: Wire) -> BasewrightError:
    return BasewrightError(
        f"what {line.origin.hostname} answers is no description of a repository",
        fix="check HF_ENDPOINT, or try again later",
    )
