"""The process that templates are rendered in: it reads one request a line, writes one answer a line, and keeps nothing
of it but the last templates, compiled.

Started by `render` alone. Beyond its limits it dies, by its own hand or the system's; that is an answer too.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

CPU_SECONDS = 0.2
MEMORY = 64 * 2**20
"""Bytes above what the process has when it begins."""
ALLOWED = frozenset({
    "builtins.id", "code.__new__", "compile", "cpython._PySys_ClearAuditHooks", "exec", "object.__getattr__",
    "sys._getframe", "sys._getframemodulename", "sys.unraisablehook",
})  # fmt: skip
"""Audit events of compiling and running a template; any other ends the process: open, import, socket, …"""
COMPILED = 4
"""Templates that are kept compiled: the rows of a data set are all written by one."""
FORBIDDEN = 77
"""Exit status of a worker whose template tried to reach beyond."""
TOO_MUCH = f"takes more than {MEMORY // 2**20} MiB"
"""After this answer the worker is not used again."""


def main() -> None:
    render = _renderer()
    answers = os.fdopen(os.dup(1), "wb")
    requests = os.fdopen(os.dup(0), "rb")
    _confine()
    answers.write(b"{}\n")
    answers.flush()
    while line := requests.readline():
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # what it sends kills, also inside one long operation
        answer = _answer(render, json.loads(line))
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(answer + b"\n")
        answers.flush()


def _answer(render: Callable[[str, dict[str, Any], int], str], request: dict[str, Any]) -> bytes:
    try:
        text = render(request["source"], request["context"], request["most"])
        return json.dumps({"text": text}).encode()
    except MemoryError:
        return json.dumps({"error": TOO_MUCH}).encode()
    except Exception as error:  # noqa: BLE001 - whatever a stranger's template raises is the answer
        return json.dumps({"error": f"fails: {type(error).__name__}: {str(error)[:200]}"}).encode()


def _renderer() -> Callable[[str, dict[str, Any], int], str]:
    """Everything that needs a file or an import happens here, before the process is confined."""
    from jinja2 import TemplateError

    from basewright.formats.template import environment

    env = environment()
    today = [date(2026, 1, 1)]

    def stop(message: object) -> NoReturn:
        raise TemplateError(str(message))

    def to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **other: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **other)

    env.filters["tojson"] = to_json
    env.globals |= {"raise_exception": stop, "strftime_now": lambda form: today[0].strftime(str(form))}

    compiled = lru_cache(COMPILED)(env.from_string)

    def render(source: str, context: dict[str, Any], most: int) -> str:
        today[0] = date.fromisoformat(context.pop("today"))
        pieces: list[str] = []
        length = 0
        for piece in compiled(source).generate(context):
            length += len(piece)
            if length > most:
                raise ValueError(f"it writes more than {most} characters")
            pieces.append(piece)
        return "".join(pieces)

    for source in ("{{ strftime_now('%d\\n') }}{{ a | tojson(indent=2) }}", "{{ a.b.c }}", "{% if %}"):
        with suppress(TemplateError):  # so that what Python imports late is there before the process is confined
            render(source, {"a": {"é": "é"}, "today": "2026-01-01"}, 99)
    return render


def _confine() -> None:
    """No new file, no new import, no more memory than allowed, no core."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if _has_proc() else 2**30
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    sys.addaudithook(_watch)


def _has_proc() -> bool:
    return Path("/proc/self/statm").exists()


def _watch(event: str, _: tuple[Any, ...]) -> None:
    if event not in ALLOWED:
        os._exit(FORBIDDEN)


if __name__ == "__main__":
    main()
