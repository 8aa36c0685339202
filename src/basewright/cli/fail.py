"""All errors a person sees: one line of what happened, one line of what to do next, an exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

import click

from basewright.errors import BasewrightError, Interrupted, ModelFileError, StoreError, UsageError


def guarded(action: Callable[[], object], *, as_json: bool) -> int:
    """Run `action`; turn what it raises into one line on stderr (JSON on stdout with --json) and an exit code."""
    try:
        action()
    except BasewrightError as error:
        return _say(error, as_json)
    except click.ClickException as error:
        return _say(UsageError(error.format_message(), fix=_usage_fix(error)), as_json)
    except (KeyboardInterrupt, click.Abort):
        return _say(Interrupted("stopped at once", fix="run the same command again: it continues"), as_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader has left; nothing to tell it
        return 0
    except OSError as error:
        reason = error.strerror or str(error)
        return _say(
            StoreError(f"{reason}: {error.filename or 'input/output'}", fix="run the same command again"), as_json
        )
    return 0


def _usage_fix(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context else "basewright --help"


def _say(error: BasewrightError, as_json: bool) -> int:
    where = f"{error.stage}: " if error.stage else ""
    if as_json:
        plain = {"error": error.message, "stage": error.stage, "fix": error.fix, "exit_code": error.exit_code}
        if isinstance(error, ModelFileError):
            plain |= {"code": error.code, "file": error.file, "offset": error.offset}
        click.echo(json.dumps(plain))
    click.echo(f"basewright: {where}{' '.join(error.message.split())}", err=True)
    click.echo(f"  next: {error.fix}", err=True)
    return error.exit_code
