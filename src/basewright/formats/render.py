"""The one place where a stranger's chat template is rendered: checked, then run in a worker that is killed on excess.

The worker has 200 ms of processor time, 64 MiB and no way to a file, import or socket (H012, H013). What a template
makes of the same messages is remembered, refusals too.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import select
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import IO, Any

from basewright.formats import template
from basewright.formats.render_worker import CPU_SECONDS, FORBIDDEN, TOO_MUCH

WALL_SECONDS = 20.0
"""For a worker that has 200 ms of processor time: only a machine that is far too busy comes near it."""
REMEMBERED = 256
START = "from basewright.formats.render_worker import main; main()"


def render(source: str, context: Mapping[str, Any], *, file: str, today: str = "2026-01-01") -> str:
    """What the template writes for `context`: plain values, as JSON has them. Raises `ModelFileError`.

    `today` is the date that a template which asks for one is given.
    """
    request = json.dumps({**context, "today": today})
    key = (_digest(source), _digest(request))
    answer = _known.get(key)
    if answer is None:
        _judge(source, key[0], file)
        most = 4 * len(request) + 2**16
        answer = _worker.ask({"source": source, "context": json.loads(request), "most": most})
        _remember(key, answer)
    if "text" not in answer:
        raise template.fault(file, f"has a chat template that {answer['error']}")
    return answer["text"]


def _judge(source: str, digest: bytes, file: str) -> None:
    """Refuse what may not run, once for each template. Raises `ModelFileError`."""
    if digest not in _passed:
        template.refuse_recursion(template.parse(source, file), file)
        if len(_passed) >= REMEMBERED:
            _passed.clear()
        _passed.add(digest)


_passed: set[bytes] = set()
_known: OrderedDict[tuple[bytes, bytes], dict[str, str]] = OrderedDict()


def _remember(key: tuple[bytes, bytes], answer: dict[str, str]) -> None:
    _known[key] = answer
    while len(_known) > REMEMBERED:
        _known.popitem(last=False)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class _Worker:
    """One process, started when it is first needed and again after it was killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, request: dict[str, Any]) -> dict[str, str]:
        with self._lock:
            process = self._running()
            try:
                answer = _exchange(process, json.dumps(request).encode() + b"\n")
            except OSError:
                answer = None
            if answer is None or answer.get("error") == TOO_MUCH:
                self._stop(process)
            return answer if answer is not None else {"error": _death(process)}

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", START],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"LC_ALL": "C.UTF-8"},
                close_fds=True,
            )
            self._owner = os.getpid()
            assert self._process.stdout is not None
            if not self._process.stdout.readline():
                raise template.fault("the worker", "that renders chat templates cannot be started")
        return self._process

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def close(self) -> None:
        if self._process is not None and self._owner == os.getpid():
            self._stop(self._process)


_worker = _Worker()
atexit.register(_worker.close)


def _exchange(process: subprocess.Popen[bytes], request: bytes) -> dict[str, str] | None:
    """The worker's answer; None when it died or did not come in time."""
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None
    stdin.write(request)
    stdin.flush()
    return _line(stdout)


def _line(stdout: IO[bytes]) -> dict[str, str] | None:
    found = bytearray()
    while not found.endswith(b"\n"):
        ready, _, _ = select.select([stdout], [], [], WALL_SECONDS)
        part = os.read(stdout.fileno(), 2**16) if ready else b""
        if not part:
            return None
        found += part
    answer: dict[str, str] = json.loads(found)
    return answer


def _death(process: subprocess.Popen[bytes]) -> str:
    if process.returncode == FORBIDDEN:
        return "tries to reach beyond the messages"
    return f"takes more than {CPU_SECONDS * 1000:.0f} ms"
