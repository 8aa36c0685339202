"""`basewright`: finds the one command that was asked for and imports only that."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import click

from basewright import __version__, signals
from basewright.cli import fail
from basewright.errors import UsageError, nearest

COMMANDS = {
    "new": "look at labelled data and write a recipe for it, each choice with its reason",
    "catalog": "list base models with their facts, each with its source, and say which fit",
    "plan": "say whether a job fits a machine, line by line, and what else would",
    "pull": "bring a model to this machine: whole, verified, through the airlock",
    "build": "walk a recipe: plan, pull, choose, certify, tune, prove, convert, release",
    "choose": "say which base model to build on for your task, how sure that is, or that it is a tie",
    "certify": "show what a model would learn from your rows, and prove that it is what they say",
    "tune": "adapt a base model to your rows, certified first, resumable to the bit",
    "evaluate": "score a model on own tasks and benchmarks, with intervals",
    "compare": "say which of two models is better, or that they cannot be separated",
    "nature": "say whether a model is base or instruct, from evidence",
    "complete": "continue a prompt with a base model, raw or few-shot",
    "classify": "say which class a text has, with a model that was tuned with a head",
    "serve": "answer on /v1/completions with what was built",
    "verify": "check that a release is whole and carries its proofs",
    "runs": "list what has been made, newest first",
    "pretrain": "make a base model from scratch",
}


class Table(click.Group):
    """A group whose help is the table above; a command's module is imported when it is the one that runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            raise UsageError(
                f"there is no command {cmd_name!r}; {nearest(cmd_name, COMMANDS)}", fix="basewright --help lists them"
            )
        command = importlib.import_module(f"basewright.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=Table,
    invoke_without_command=True,
    help="From base model to your model, every step proven.",
    epilog="Results go to stdout, hints to stderr. Every command takes --json.",
)
@click.version_option(__version__, prog_name="basewright")
@click.pass_context
def basewright(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        from basewright.cli import standing

        click.echo(standing.welcome(Path(), Path(os.environ.get("BASEWRIGHT_RUNS", "runs"))))


def main(arguments: list[str] | None = None) -> None:
    """The console script. Exits with the code of the error tree; prints no traceback for a person's mistake."""
    gc.set_threshold(50_000)  # a command's objects are seldom garbage in cycles; looking took 4 % of a listing
    signals.install()
    _offline_and_quiet()
    _yield_soon()
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def _offline_and_quiet() -> None:
    """Libraries below make no network call, draw no bar of their own, and keep advice for developers to themselves."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def _yield_soon() -> None:
    """An OpenMP thread that waits for the others gives its core away after some microseconds.

    GNU's waits 30 times as long before it sleeps. On a core that another program has too, the thread that is waited
    for then cannot run: training with two threads took 18 times as long there, with this 3 times; alone it costs 6 %
    (`docs/log.md`, 2026-11-25).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    options: dict[str, Any] = {"standalone_mode": False, "prog_name": "basewright"}
    return fail.guarded(lambda: basewright.main(arguments, **options), as_json="--json" in arguments)
