"""The command `star`: its commands, and how it ends.

Exit codes: 0 done, 1 the run failed or its output cannot be written, 2 the command was wrong (one line says what), 130
interrupted.
"""

import errno
import os
import sys
import tempfile
import traceback
from io import TextIOWrapper
from typing import Annotated, TextIO

import typer
from typer.exceptions import Abort, TyperException

from star import __version__
from star.cli import eval as evaluation
from star.cli import genomes, results, runs
from star.cli.compare import compare
from star.cli.console import printable
from star.cli.corpus import corpus
from star.cli.design import design
from star.cli.explain import genes
from star.cli.export import export
from star.cli.importing import import_checkpoint
from star.cli.inspect import inspect
from star.cli.laws import laws
from star.cli.replay import replay
from star.cli.train import train
from star.cli.verify import verify
from star.errors import UserError

# What the writing of a stream fails with; of files, all that is written tells its own errors.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
INTERRUPTED = 130
DEBUG = "STAR_DEBUG"  # in the environment: unexpected errors show their traceback

app = typer.Typer(
    name="star",
    help="Evolve language-model architectures for quality, size and cache.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    runs.evolve,
    runs.resume,
    verify,
    results.status,
    results.front,
    replay,
    train,
    evaluation.eval,
    results.report,
    export,
    inspect,
    compare,
    design,
    genomes.price,
    genomes.genomes,
    genes,
):
    app.command()(command)
app.command("import")(import_checkpoint)
app.add_typer(corpus)
app.add_typer(laws)


@app.callback(invoke_without_command=True)
def _star(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")] = False,
) -> None:
    if debug:
        os.environ[DEBUG] = "1"
    if version:
        print(f"star {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: the entry point of the `star` command."""
    if sys.stderr is None:  # closed by the shell; without it, errors would go to standard output
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:  # whatever is opened next would get its number, and what is printed
        sys.exit(_fail("standard output is closed", 1))
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run one command and give its exit code; every error has become one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # so that names can be shown that its encoding lacks
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(arguments, prog_name="star", standalone_mode=False) or 0
        sys.stdout.flush()
        return _fail("interrupted", INTERRUPTED, kind="") if code == INTERRUPTED else code
    except TyperException as error:
        return _fail(_usage(error), error.exit_code)
    except UserError as error:
        return _fail(str(error), 2)
    except (KeyboardInterrupt, Abort) as stop:
        return _fail(str(stop) or "interrupted", INTERRUPTED, kind="")
    except (BrokenPipeError, SystemExit) as end:
        if isinstance(end, SystemExit) and not isinstance(end.__context__, BrokenPipeError):
            return int(end.code or 0)  # of what shows or installs the completion of a shell
        _drop(sys.stdout)  # whose reader, such as `head`, has left
        return 0
    except OSError as error:
        if error.filename is None and error.errno in FULL:
            _drop(sys.stdout)
            return _fail(f"cannot write the output: {error.strerror}", 1)
        return _fail_unexpected(error)
    except Exception as error:  # the last resort: whatever it is, a person gets one line
        return _fail_unexpected(error)


def _fail_unexpected(error: Exception) -> int:
    return _fail(f"{type(error).__name__}: {error}; {_keep_traceback()}", 1)


def _fail(message: str, code: int, kind: str = "error: ") -> int:
    try:
        print(f"star: {kind}{printable(' '.join(message.split()))}", file=sys.stderr, flush=True)
    except OSError:  # of a standard error that is full: the exit code is left
        _drop(sys.stderr)
    return code


def _drop(stream: TextIO) -> None:
    """Send what a stream still holds nowhere, so that the end of the process does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _usage(error: TyperException) -> str:
    """A parser's complaint, with the nearest right option where it has one."""
    message = error.format_message().rstrip(".")
    possibilities = getattr(error, "possibilities", None)
    if possibilities:
        return f"{error.message}; did you mean {possibilities[0]!r}?"
    context = getattr(error, "ctx", None)
    return f"{message}; see {context.command_path} --help" if context and "mean" not in message else message


def _keep_traceback() -> str:
    if os.environ.get(DEBUG):
        traceback.print_exc()
        return "the traceback is above"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="star-", suffix=".log", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            traceback.print_exc(file=file)
    except OSError as error:
        return f"its traceback cannot be kept: {error.strerror}"
    return f"the traceback is in {file.name}"
