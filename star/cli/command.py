"""The command `star`: its commands, and how it ends.

Exit codes: 0 done, 1 the run failed, 2 the command was wrong (one line says what), 130 interrupted.
"""

import os
import sys
import tempfile
import traceback
from typing import Annotated

import typer
from typer.exceptions import Abort, TyperException

from star import __version__
from star.cli import genomes, results, runs
from star.cli.compare import compare
from star.cli.design import design
from star.cli.inspect import inspect
from star.cli.replay import replay
from star.errors import UserError

DEBUG = "STAR_DEBUG"  # in the environment: unexpected errors show their traceback

app = typer.Typer(
    name="star",
    help="Evolve language-model architectures for quality, size and cache.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    runs.evolve,
    runs.resume,
    results.status,
    results.front,
    replay,
    results.report,
    results.export,
    inspect,
    compare,
    design,
    genomes.price,
    genomes.genomes,
    genomes.genes,
):
    app.command()(command)


@app.callback(invoke_without_command=True)
def _star(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
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
    sys.stdout.reconfigure(errors="surrogateescape")  # a path that is not UTF-8 is printed as it is
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run one command and give its exit code; every error has become one line on standard error."""
    try:
        return app(arguments, prog_name="star", standalone_mode=False) or 0
    except TyperException as error:
        return _fail(_usage(error), error.exit_code)
    except UserError as error:
        return _fail(str(error), 2)
    except (KeyboardInterrupt, Abort):
        print("star: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # the last resort: whatever it is, a person gets one line
        return _fail(f"{type(error).__name__}: {error}; {_keep_traceback()}", 1)


def _fail(message: str, code: int) -> int:
    print(f"star: error: {' '.join(message.split())}", file=sys.stderr)
    return code


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
    with tempfile.NamedTemporaryFile("w", prefix="star-", suffix=".log", delete=False) as file:
        traceback.print_exc(file=file)
    return f"the traceback is in {file.name}"
