"""`bezoar VERB ...`: finds the verb's module when it is called, and turns every outcome into an exit code.

    0 clean, valid    1 findings    2 error    3 nothing to do, undecided    64 usage    130 Ctrl-C

Standard output carries the result, standard error progress and one line per error. A traceback appears only
with BEZOAR_DEBUG=1.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import importlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence

import click

from bezoar import __version__, progress
from bezoar.errors import BezoarError, UsageError
from bezoar.report.text import shown

USAGE = UsageError.exit_code
ERROR = BezoarError.exit_code
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
BROKEN_PIPE = 141  # 128 + SIGPIPE
_MAX_MESSAGE = 2000

atexit.register(gc.freeze)  # the process ends: nothing in it is worth another search for garbage (0.04 s)

VERBS = {
    "fetch": "Download a list, repository or archive and verify every byte.",
    "quarantine": "List, show and release what a fetch set aside.",
    "index": "Sign, verify and analyse a list of URLs before fetching it.",
    "scan": "Look for poison in a dataset and give a verdict.",
    "inspect": "Look for a backdoor in a trained model and give a verdict.",
    "repair": "Write a model without the backdoor that an inspection found.",
    "clean": "Write a dataset without the records that a scan flagged.",
    "poison": "Write a poisoned copy of a dataset, to measure defences.",
    "bench": "Poison sample data with every attack, scan, and count what is found.",
    "demo": "Poison, scan and clean synthetic traffic signs, with figures.",
    "seal": "Sign a dataset: every file, and every record with its label.",
    "verify": "Say whether a dataset is what was sealed, and who sealed it.",
    "diff": "Say what changed between two sealed snapshots.",
    "prove": "Write a proof that a record is sealed, or that none has a key.",
    "check": "Check such a proof offline, without the dataset.",
    "attest": "Sign an event in a dataset's life and append it to a log.",
    "custody": "Tell the life of one record: events, signers, proofs.",
    "audit": "Balance a dataset's books and give the auditor's statement.",
    "keygen": "Make a key pair to sign datasets, events and logs.",
    "log": "Keep, show, verify and serve a custody log, and witness others.",
    "doctor": "Show versions, extras and the speed of this machine.",
}
_WITHOUT_MATRICES = {"seal", "verify", "diff", "prove", "check", "attest", "custody", "audit", "log"}


class _Verbs(click.Group):
    """Imports a verb's module only when that verb is called; `--help` imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        if cmd_name in _WITHOUT_MATRICES:  # NumPy need not start threads to multiply them (0.05 s)
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        command: click.Command = importlib.import_module(f"bezoar.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="bezoar", message="%(prog)s %(version)s")
def bezoar() -> None:
    """Keep poison out of training data: find, show and remove planted records before a model learns them.

    Exit codes: 0 clean, 1 findings, 2 error, 3 nothing to do or undecided, 64 usage.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command (`sys.argv` by default) and return its exit code; never raises on bad input."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(
            AttributeError, ValueError
        ):  # a name that the terminal cannot spell is escaped
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = _run(argv)
        sys.stdout.flush()
    except click.UsageError as error:
        return _fail(_usage_line(error), USAGE)
    except BezoarError as error:
        return _fail(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted; nothing was written", INTERRUPTED)
    except BrokenPipeError:
        # the reader of our output went away; keep the interpreter from failing on it again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except click.ClickException as error:
        return _fail(error.format_message(), ERROR)
    except OSError as error:
        return _fail(_os_line(error), ERROR)
    except Exception as error:
        hint = "this is a fault in bezoar; run again with BEZOAR_DEBUG=1 for the traceback and report it"
        return _fail(f"{type(error).__name__}: {error}; {hint}", ERROR)
    return code


def _run(argv: Sequence[str] | None) -> int:
    with warnings.catch_warnings(), progress.enabled():
        if not _debugging():
            warnings.simplefilter("ignore")  # a library's warning says nothing to the person at the terminal
        result = bezoar.main(args=argv, prog_name="bezoar", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int) -> int:
    if _debugging() and code == ERROR:
        traceback.print_exc()
    click.echo(f"error: {shown(message, _MAX_MESSAGE)}", err=True)
    return code


def _usage_line(error: click.UsageError) -> str:
    where = error.ctx.command_path if error.ctx else "bezoar"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return f"no command given; `{where} --help` lists them"
    return f"{error.format_message()} See `{where} --help`."


def _os_line(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}the disk is full; nothing was written"
    return f"{where}{error.strerror or error}; check the path and its permissions"


def _debugging() -> bool:
    return os.environ.get("BEZOAR_DEBUG", "") not in ("", "0")
