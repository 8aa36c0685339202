"""One file from a hub that lies in each way that hubs and lines have been seen to (H024-H030)."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import random
import re
import shutil
import socket
import subprocess
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from basewright import signals, store
from basewright.errors import BasewrightError, Interrupted, ModelFileError, StoreError, UsageError
from basewright.hub import journal, transfer
from basewright.hub.blobs import Blobs
from basewright.hub.digests import Digest, Wanted
from basewright.hub.wire import Patience, Wire
from tests.hub.fake_hub import Handler, Hub, flipped, git_sha1, serve

CHUNK = 2**15
DATA = random.Random(7).randbytes(5 * CHUNK + 1234)
QUICK = Patience(connect=2, stall=0.4, slowest=20_000, attempts=4, pause=0.01, longest_pause=1.0, deadline=6.0, stale=1)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve(Hub({"model.safetensors": DATA})) as running:
        yield running


def wanted(data: bytes = DATA, name: str = "model.safetensors") -> Wanted:
    return Wanted(name, len(data), Digest("sha256", hashlib.sha256(data).hexdigest()))


def fetch(
    hub: Hub, folder: Path, file: Wanted | None = None, patience: Patience = QUICK, line: Wire | None = None
) -> Path:
    line = line or Wire(hub.url, stated=True, patience=patience)
    file = file or wanted()
    url = f"{hub.url}/{hub.repo}/resolve/{hub.commit}/{file.name}"
    return transfer.fetch(line, url, file, Blobs(folder), lambda _what, _here: None, CHUNK)


def names(folder: Path) -> list[str]:
    return [path.name for path in (folder / "blobs").glob("*")] if (folder / "blobs").exists() else []


def test_a_file_comes_whole_read_only_and_leaves_nothing_half(hub: Hub, tmp_path: Path) -> None:
    path = fetch(hub, tmp_path)
    assert path.read_bytes() == DATA
    assert path == tmp_path / "blobs" / f"sha256-{hashlib.sha256(DATA).hexdigest()}"
    assert path.stat().st_mode & 0o777 == 0o444
    assert list((tmp_path / "partial").glob("*/*")) == []
    assert fetch(hub, tmp_path) == path
    assert len(hub.asked) == 1


@pytest.mark.parametrize("data", [b"", b"{}", DATA], ids=["empty", "small", "large"])
def test_small_files_are_known_by_gits_hash(tmp_path: Path, data: bytes) -> None:
    with serve(Hub({"README.md": data})) as hub:
        file = Wanted("README.md", len(data), Digest("sha1", git_sha1(data)))
        assert fetch(hub, tmp_path, file).read_bytes() == data


# --- lies that pass: told once, or so that the truth can still be had --------------------------------


def once(answer: Callable[[Handler], object]) -> Callable[[Handler], bool]:
    def lie(request: Handler) -> bool:
        if not request.first:
            return False
        answer(request)
        return True

    return lie


def on_resume(answer: Callable[[Handler], object]) -> Callable[[Handler], bool]:
    """The first answer breaks off after two chunks and a half; the second, to a range, is the lie."""

    def lie(request: Handler) -> bool:
        count = sum(one.path == request.path for one in request.hub.asked)
        if count == 1:
            request.body(200, DATA, {"ETag": request.etag(DATA)}, upto=2 * CHUNK + CHUNK // 2)
        elif count == 2:
            assert request.note.range, "the second request asks for a range"
            answer(request)
        return count <= 2

    return lie


def slept(request: Handler) -> None:
    request.body(200, DATA, {"ETag": request.etag(DATA)}, upto=CHUNK + 5)
    time.sleep(1.2)


def dripped(request: Handler) -> None:
    """A few bytes now and then: never silent, never done."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(DATA)))
    request.end_headers()
    for begin in range(0, len(DATA), 16):
        request.wfile.write(DATA[begin : begin + 16])
        request.wfile.flush()
        time.sleep(0.05)


def cut_off(request: Handler) -> None:
    request.body(200, DATA, upto=CHUNK * 3 + 1)
    request.reset()


PASS = {
    "flipped bit": once(lambda r: r.file(flipped(DATA, random.Random(1)))),
    "truncated": once(lambda r: r.body(200, DATA, {"ETag": r.etag(DATA)}, upto=CHUNK * 2 + 7)),
    "length too large": once(lambda r: r.body(200, DATA, {"Content-Length": str(len(DATA) + 9)}, upto=len(DATA))),
    "length too small": once(lambda r: r.body(200, DATA[:-9], {"Content-Length": str(len(DATA) - 9)})),
    "no length": once(lambda r: r.body(200, DATA, {"Content-Length": "", "Connection": "close"}, upto=len(DATA) - 3)),
    "500": once(lambda r: r.body(500, b"oops")),
    "503": once(lambda r: r.body(503, b"", {"Retry-After": "0"})),
    "429 with seconds": once(lambda r: r.body(429, b"", {"Retry-After": "0.2"})),
    "429 with a date": once(lambda r: r.body(429, b"", {"Retry-After": formatdate(time.time() + 1, usegmt=True)})),
    "429 with a window": once(lambda r: r.body(429, b"", {"RateLimit": '"resolvers";r=0;t=0'})),
    "429 without": once(lambda r: r.body(429, b"slow down")),
    "reset before": once(lambda r: r.reset()),
    "reset in the body": once(cut_off),
    "stall": once(slept),
    "slow drip": once(dripped),
    "gzip unasked": once(lambda r: r.body(200, gzip.compress(DATA), {"Content-Encoding": "gzip"})),
    "206 unasked": once(lambda r: r.body(206, DATA, {"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"})),
    "200 to a range": on_resume(lambda r: r.body(200, DATA, {"ETag": r.etag(DATA)})),
    "wrong content-range": on_resume(
        lambda r: r.body(
            206, DATA[r.start + 1 :], {"Content-Range": f"bytes {r.start + 1}-{len(DATA) - 1}/{len(DATA)}"}
        )
    ),
    "no content-range": on_resume(lambda r: r.body(206, DATA[r.start :])),
    "range of another length": on_resume(
        lambda r: r.body(206, DATA[r.start : -5], {"Content-Range": f"bytes {r.start}-{len(DATA) - 6}/{len(DATA)}"})
    ),
    "right range, wrong bytes": on_resume(lambda r: r.file(DATA[: r.start] + bytes(len(DATA) - r.start))),
    "416": on_resume(lambda r: r.body(416, b"", {"Content-Range": f"bytes */{len(DATA)}"})),
    "etag changed": on_resume(lambda r: r.file(etag='"another"')),
    "etag changed, range all the same": on_resume(
        lambda r: r.body(
            206, DATA[r.start :], {"ETag": '"other"', "Content-Range": f"bytes {r.start}-{len(DATA) - 1}/{len(DATA)}"}
        )
    ),
    "redirect to another name": once(lambda r: r.redirect(r.path + "?signed=1")),
}


@pytest.mark.parametrize("lie", PASS.values(), ids=PASS)
def test_h026_what_a_hub_does_once_does_not_matter(hub: Hub, tmp_path: Path, lie: Callable[[Handler], bool]) -> None:
    hub.lie = lie
    began = time.monotonic()
    path = fetch(hub, tmp_path)
    assert path.read_bytes() == DATA
    assert time.monotonic() - began < QUICK.deadline
    assert len(hub.asked) >= 2


# --- lies that stay: one error, in time, and nothing under the final name ----------------------------


def always(answer: Callable[[Handler], object]) -> Callable[[Handler], bool]:
    def lie(request: Handler) -> bool:
        answer(request)
        return True

    return lie


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n"
STAY: dict[str, tuple[Callable[[Handler], object], type[BasewrightError], str]] = {
    "another file": (lambda r: r.file(bytes(len(DATA))), ModelFileError, "only zeros"),
    "flipped bits for ever": (
        lambda r: r.file(flipped(DATA, random.Random(len(r.hub.asked)))),
        ModelFileError,
        "not what its hash says",
    ),
    "never more than a part": (lambda r: r.body(200, DATA, upto=CHUNK // 2), BasewrightError, "broke off, 4 times"),
    "503 for ever": (lambda r: r.body(503, b""), BasewrightError, "answers 503, 4 times"),
    "429 for long": (lambda r: r.body(429, b"", {"Retry-After": "3600"}), BasewrightError, "asks to wait 3600 s"),
    "429 for ever": (lambda r: r.body(429, b"", {"Retry-After": "1e400"}), BasewrightError, "asks to wait inf s"),
    "418": (lambda r: r.body(418, b""), BasewrightError, "answers 418"),
    "a web page": (
        lambda r: r.body(200, b"<!DOCTYPE html><title>Log in</title>", {"Content-Type": "text/html"}),
        ModelFileError,
        "is a web page",
    ),
    "a web page of the right length": (lambda r: r.file(b"<html>".ljust(len(DATA))), ModelFileError, "is a web page"),
    "a pointer": (
        lambda r: r.body(200, POINTER, {"Content-Type": "text/plain"}),
        ModelFileError,
        "is a Git-LFS pointer",
    ),
    "404": (lambda r: r.body(404, b""), UsageError, "is not there"),
    "401": (lambda r: r.body(401, b""), UsageError, "gated or private"),
    "403": (lambda r: r.body(403, b"", {"X-Error-Code": "GatedRepo"}), UsageError, "is gated"),
    "redirects in a ring": (lambda r: r.redirect(r.path), BasewrightError, "redirects more than 5 times"),
    "redirect to nowhere": (lambda r: r.body(302, b""), BasewrightError, "to nowhere"),
    "redirect to a file": (lambda r: r.redirect("file:///etc/passwd"), UsageError, "not an address"),
    "redirect with a user name": (lambda r: r.redirect("https://a@b.example/x"), UsageError, "not an address"),
    "redirect to metadata": (lambda r: r.redirect("https://169.254.169.254/latest"), BasewrightError, "not a public"),
    "redirect to plain http": (lambda r: r.redirect("http://example.com/x"), BasewrightError, "not https"),
    "silence": (lambda r: time.sleep(1.0), BasewrightError, "does not answer"),
    "drip for ever": (dripped, BasewrightError, "bytes in"),
    "gzip for ever": (
        lambda r: r.body(200, gzip.compress(DATA), {"Content-Encoding": "gzip"}),
        BasewrightError,
        "gzip unasked",
    ),
    "garbage": (lambda r: r.wfile.write(b"SSH-2.0-OpenSSH_9\r\n"), BasewrightError, "BadStatusLine"),
    "headers without end": (
        lambda r: r.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000),
        BasewrightError,
        "does not answer",
    ),
}


@pytest.mark.parametrize("case", STAY.values(), ids=STAY)
def test_h026_a_hub_that_never_stops_lying_is_one_error(
    hub: Hub, tmp_path: Path, case: tuple[Callable[[Handler], object], type[BasewrightError], str]
) -> None:
    answer, kind, words = case
    hub.lie = always(answer)
    began = time.monotonic()
    with pytest.raises(kind, match=words) as caught:
        fetch(hub, tmp_path)
    assert time.monotonic() - began < QUICK.deadline + 2
    assert names(tmp_path) == []
    assert caught.value.fix


INSIDE = ["169.254.169.254", "127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "0.0.0.0", "[::1]"]
INSIDE += ["[::ffff:169.254.169.254]", "[fe80::1]", "[fd00::1]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]"]
INSIDE += ["2852039166", "0xa9fea9fe", "224.0.0.1"]


@pytest.mark.parametrize("host", INSIDE)
def test_h033_no_redirect_leads_inside(hub: Hub, tmp_path: Path, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.lie = always(lambda r: r.redirect(f"https://{host}/latest/meta-data"))
    connect, gone = socket.create_connection, []
    port = int(hub.url.rpartition(":")[2])

    def watched(address: tuple[str, int], timeout: float) -> socket.socket:
        gone.append(address)
        return connect(address, timeout)

    monkeypatch.setattr(socket, "create_connection", watched)
    with pytest.raises(BasewrightError, match="not a public address"):
        fetch(hub, tmp_path)
    assert set(gone) == {("127.0.0.1", port)}


def test_h033_a_name_that_is_rebound_is_connected_to_as_it_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is looked up once; what is connected to is the address, not the name."""
    answers = iter(["93.184.215.14", "127.0.0.1", "127.0.0.1"])
    gone = []

    def lookup(_host: str, port: int, **_: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    def connect(address: tuple[str, int], _timeout: float) -> socket.socket:
        gone.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(socket, "create_connection", connect)
    line = Wire("https://rebound.example", patience=QUICK)
    with pytest.raises(BasewrightError, match="not a public address"):  # at the second attempt
        transfer.read(line, "https://rebound.example/x", "x", 100)
    assert gone == ["93.184.215.14"]


def test_h033_loopback_is_only_for_an_endpoint_that_was_set(hub: Hub) -> None:
    with pytest.raises(BasewrightError, match="not https"):
        transfer.read(Wire(hub.url, patience=QUICK), f"{hub.url}/api/models/maker/model", "x", 100)
    assert hub.asked == []


def test_h034_the_token_goes_to_its_origin_alone_and_into_no_message(hub: Hub, tmp_path: Path) -> None:
    with serve(Hub({"model.safetensors": DATA})) as other:
        line = Wire(hub.url, stated=True, token="hf_canary", patience=QUICK)
        hub.lie = always(lambda r: r.redirect(f"{other.url}{r.path}"))
        with pytest.raises(BasewrightError) as caught:  # another origin is not the one that was set: plain http
            transfer.read(line, f"{hub.url}/maker/model/resolve/{'1' * 40}/model.safetensors", "x", 2**20)
        assert [one.token for one in hub.asked] == ["Bearer hf_canary"]
        assert [one.token for one in other.asked] == []
        assert "hf_canary" not in str(caught.value) + caught.value.fix + repr(line)
    hub.lie = always(lambda r: r.body(400, b"", {"X-Error-Code": "your token hf_canary is bad"}))
    with pytest.raises(BasewrightError) as caught:
        transfer.read(line, f"{hub.url}/x", "x", 2**20)
    assert "[token]" in caught.value.message
    assert "hf_canary" not in caught.value.message


def test_h034_a_token_is_dropped_on_the_way_and_stays_dropped(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Away to another origin and back: both origins are let in here, to look at what they are sent."""
    from basewright.hub import wire

    monkeypatch.setattr(wire, "is_public", lambda _address: True)
    monkeypatch.setattr(wire.Wire, "_one", _open_line(wire.Wire._one))
    with serve(Hub({"model.safetensors": DATA})) as other:

        def away(request: Handler) -> bool:
            if "back" not in request.path:
                request.redirect(f"{other.url}/away/resolve/x")
            return "back" not in request.path

        hub.lie = away
        other.lie = always(lambda r: r.redirect(f"{hub.url}/maker/model/resolve/{'1' * 40}/model.safetensors?back=1"))
        line = Wire(hub.url, stated=True, token="hf_canary", patience=QUICK)
        assert transfer.read(line, f"{hub.url}/start", "x", 2**20) == DATA
        assert [one.token for one in hub.asked] == ["Bearer hf_canary", ""]
        assert [one.token for one in other.asked] == [""]


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes its certificate with openssl")
def test_https_with_a_certificate_that_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    making = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*making.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with serve(Hub({"model.safetensors": DATA}), tls=(certificate, key)) as hub:
        line = Wire(hub.url, stated=True, token="hf_canary", patience=QUICK)
        with pytest.raises(BasewrightError, match="certificate of localhost is not one"):
            fetch(hub, tmp_path, line=line)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        hub.lie = once(lambda r: r.body(200, DATA, {"ETag": r.etag(DATA)}, upto=CHUNK + 5))
        assert fetch(hub, tmp_path, line=line).read_bytes() == DATA
        assert {one.token for one in hub.asked} == {"Bearer hf_canary"}


def _open_line(one: Callable[..., object]) -> Callable[..., object]:
    """Plain http is let through to any origin."""

    def free(line: Wire, parts: object, headers: object, until: object) -> object:
        origin, line.origin = line.origin, parts  # type: ignore[assignment]
        try:
            return one(line, parts, headers, until)
        finally:
            line.origin = origin

    return free


def test_a_token_is_not_sent_over_an_open_line_to_another_machine() -> None:
    line = Wire("http://10.0.0.7:8080", stated=True, token="hf_canary")
    assert line._authorization(line.origin) == {}


# --- going on -------------------------------------------------------------------------------------------


def test_h025_another_process_goes_on_where_the_last_chunk_ended(hub: Hub, tmp_path: Path) -> None:
    hub.lie = always(lambda r: r.body(200, DATA, {"ETag": r.etag(DATA)}, upto=3 * CHUNK + 99) if r.first else r.reset())
    with pytest.raises(BasewrightError):
        fetch(hub, tmp_path)
    hub.lie, hub.asked = None, []
    _dead(tmp_path)
    assert fetch(hub, tmp_path).read_bytes() == DATA
    assert [(one.range, one.if_range) for one in hub.asked] == [
        (f"bytes={3 * CHUNK}-", f'"{hashlib.sha256(DATA).hexdigest()}"')
    ]


def _dead(folder: Path) -> None:
    """Let what is on its way look as if its process, which is this one, had ended."""
    for holder in (folder / "partial").glob("*/*/holder"):
        holder.write_text(holder.read_text().replace(f"[{os.getpid()},", f"[{2**22 + 1},"))


@pytest.mark.parametrize("fault", ["journal cut", "journal garbage", "data flipped", "data short"])
def test_h025_a_damaged_journal_or_chunk_costs_what_follows_it(hub: Hub, tmp_path: Path, fault: str) -> None:
    hub.lie = always(lambda r: r.body(200, DATA, {"ETag": r.etag(DATA)}, upto=4 * CHUNK) if r.first else r.reset())
    with pytest.raises(BasewrightError):
        fetch(hub, tmp_path)
    hub.lie, hub.asked = None, []
    _dead(tmp_path)
    (place,) = (tmp_path / "partial").glob("*/*/journal")
    data = place.with_name("data")
    if fault == "journal cut":
        place.write_bytes(place.read_bytes()[:-3])
    elif fault == "journal garbage":
        place.write_bytes(place.read_bytes() + b'{"chunk": 7}\nnonsense\n')
    elif fault == "data flipped":
        data.write_bytes(flipped(data.read_bytes(), random.Random(3)))
    else:
        os.truncate(data, 2 * CHUNK + 17)
    assert fetch(hub, tmp_path).read_bytes() == DATA
    kept = int(hub.asked[0].range.removeprefix("bytes=").rstrip("-") or 0)
    assert kept % CHUNK == 0
    assert kept == {"journal cut": 3, "journal garbage": 4, "data short": 2}.get(fault, kept // CHUNK) * CHUNK


def test_the_journals_bytes_are_the_files(tmp_path: Path) -> None:
    """However the blocks fall, chunks begin and end where they should."""
    draw = random.Random(5)
    for _ in range(20):
        folder = tmp_path / str(draw.random())
        folder.mkdir()
        part = journal.Partial(folder, len(DATA), CHUNK)
        part.begin('"e"')
        at = 0
        while at < len(DATA):
            step = draw.randrange(1, 2 * CHUNK)
            part.write(DATA[at : at + step])
            at += step
            if draw.random() < 0.2:
                part.close()
                part = journal.Partial(folder, len(DATA), CHUNK)
                at = part.position
        part.close()
        assert (folder / "data").read_bytes() == DATA
        assert part.chunks == [hashlib.sha256(DATA[i : i + CHUNK]).hexdigest() for i in range(0, len(DATA), CHUNK)]


def test_h030_the_disk_is_reserved_before_the_first_byte(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(0, 0, len(DATA)))
    with pytest.raises(StoreError, match="disk full"):
        fetch(hub, tmp_path)
    assert hub.asked == []


def test_h030_a_full_disk_says_how_much_is_missing_and_keeps_what_came(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite

    def full(handle: int, data: bytes, at: int) -> int:
        if at >= 3 * CHUNK:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data, at)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreError, match=r"disk full .* bytes are missing"):
        fetch(hub, tmp_path)
    monkeypatch.undo()
    assert names(tmp_path) == []
    hub.asked = []
    _dead(tmp_path)
    assert fetch(hub, tmp_path).read_bytes() == DATA
    assert hub.asked[0].range == f"bytes={3 * CHUNK}-"


@pytest.mark.parametrize(("call", "code"), [("pwrite", errno.ENOSPC), ("fsync", errno.EIO), ("replace", errno.ENOSPC)])
def test_p3_a_failing_call_at_any_time_costs_no_chunk_that_was_whole(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    real = getattr(os, call)
    for failing in range(1, 40):
        count = 0

        def sometimes(*rest: object, failing: int = failing) -> object:
            nonlocal count
            count += 1
            if count == failing:
                raise OSError(code, os.strerror(code))
            return real(*rest)

        folder = tmp_path / str(failing)
        monkeypatch.setattr(os, call, sometimes)
        try:
            fetch(hub, folder)
        except StoreError:
            monkeypatch.setattr(os, call, real)
            assert all((folder / "blobs" / name).read_bytes() == DATA for name in names(folder))
            _dead(folder)
            assert fetch(hub, folder).read_bytes() == DATA
            continue
        monkeypatch.setattr(os, call, real)
        assert count < failing
        return
    pytest.fail("the sweep never came to an end")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="mounting a small disk needs root")
def test_h030_a_disk_of_each_size_is_filled_and_enlarged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random.Random(8).randbytes(2**21)
    monkeypatch.setattr(store, "reserve", lambda _folder, _size: None)  # as if another process took the space later
    for percent in range(4, 100, 5):
        disk = tmp_path / str(percent)
        disk.mkdir()
        size = f"size={(len(data) * percent // 100 + 3 * 4096) // 1024}k"
        if subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)], check=False).returncode:
            pytest.skip("this machine mounts nothing")
        try:
            with serve(Hub({"model.safetensors": data})) as hub:
                with pytest.raises(StoreError, match="bytes are missing") as caught:
                    fetch(hub, disk, wanted(data))
                missing = int(re.findall(r"([\d,]+) bytes", caught.value.message)[0].replace(",", ""))
                assert 0 < missing <= len(data)
                assert names(disk) == []
                subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
                _dead(disk)
                hub.asked = []
                assert fetch(hub, disk, wanted(data)).read_bytes() == data
                again = sum(one.sent for one in hub.asked)
                assert again <= len(data) - (len(data) * percent // 100) + 2 * CHUNK
        finally:
            subprocess.run(["umount", str(disk)], check=True)


def test_h050_a_stop_is_heeded_while_a_server_is_silent(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.lie = always(lambda r: time.sleep(2.0))
    began = time.monotonic()

    def poll() -> None:
        if time.monotonic() - began > 0.5:
            raise Interrupted("stopped", fix="again")

    monkeypatch.setattr(signals, "poll", poll)
    with pytest.raises(Interrupted):
        fetch(hub, tmp_path, patience=Patience())
    assert time.monotonic() - began < 1.5


# --- hashes as names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 64 + "\n",
        "sha256:" + "٣" * 64,
        "sha256:" + "/" * 64,
        "sha256:../../etc/passwd",
        "sha1:" + "0" * 64,
        "md5:" + "a" * 32,
        "a" * 64,
        "",
    ],
)
def test_h031_only_a_whole_hash_becomes_a_path(text: str) -> None:
    with pytest.raises(ModelFileError, match="not a"):
        Digest.parse(text)


def test_h031_no_second_way_from_a_hash_to_a_path() -> None:
    source = Path(transfer.__file__).parent
    for path in source.glob("*.py"):
        code = path.read_text("utf-8")
        assert path.name in ("digests.py", "elsewhere.py") or ".hex" not in code.replace(".hexdigest", "").replace(
            "uuid4().hex", ""
        ).replace("digest.hex}", ""), path.name
