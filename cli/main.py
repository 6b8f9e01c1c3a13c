"""The command group, and the one place where errors become a sentence and an exit status."""

from __future__ import annotations

import io
import os
import sys
from importlib import import_module
from typing import NoReturn

import click

import hashae
from hashae.errors import HashaeError

COMMANDS = {
    "apply": "hashae.cli.apply",
    "calibrate": "hashae.cli.calibrate",
    "compare": "hashae.cli.compare",
    "copy": "hashae.cli.copy",
    "dedup": "hashae.cli.dedup",
    "encoders": "hashae.cli.encoders",
    "history": "hashae.cli.apply",
    "index": "hashae.cli.index",
    "leaks": "hashae.cli.leaks",
    "outliers": "hashae.cli.outliers",
    "prune": "hashae.cli.prune",
    "probe": "hashae.cli.probe",
    "query": "hashae.cli.query",
    "serve": "hashae.cli.serve",
    "restore": "hashae.cli.restore",
    "report": "hashae.cli.report",
    "show": "hashae.cli.show",
    "stats": "hashae.cli.stats",
    "train": "hashae.cli.train",
    "undo": "hashae.cli.apply",
    "verdict": "hashae.cli.verdict",
    "verify": "hashae.cli.verify",
    "watch": "hashae.cli.watch",
}
"""Name: module that defines it; imported when it is called or listed, so that start-up stays short."""


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name]), cmd_name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(hashae.__version__, prog_name="hashae")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Find duplicates and look-alikes in folders of pictures, by learned binary codes.

    \b
    Examples:
      hashae dedup ~/Pictures --report report.html    find duplicates, write a report
      hashae query beach.jpg -k 10                    what looks like this picture?
      hashae stats                                    what is in the collection?

    Only `apply` touches pictures, and `undo` takes it back; all other commands just read them.
    """


def run() -> NoReturn:
    """Be the program: :func:`main`, in a child where a decoder may crash."""
    from hashae.cli.guard import stand_by

    stand_by()
    main()


def main() -> NoReturn:
    """Run the command line: exit status 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    debug = "--debug" in sys.argv[1:]
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names may hold bytes that are no text, or signs that this terminal has not: shown as escapes.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = cli.main(prog_name="hashae", standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        if debug:
            raise
        click.echo("hashae: interrupted; what was stored is safe, run the command again to go on", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone; writing to it again, even at exit, would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (HashaeError, OSError) as error:
        if debug:
            raise
        click.echo(f"hashae: {_sentence(error)}", err=True)
        sys.exit(1)
    sys.exit(status if isinstance(status, int) else 0)  # a number is that of a command that ended with Exit


def _sentence(error: BaseException) -> str:
    """Return the message of an error on one line, safe to print whatever file names are in it."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


if __name__ == "__main__":
    main()
