"""The options of a search, generated from its settings. An option that is not given changes nothing."""

import inspect
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import Field
from functools import wraps
from typing import Annotated, Any, get_args, get_origin

import typer
from rich.markup import escape

from star.errors import SettingError, UserError
from star.options import Option, options_of
from star.run.settings import Settings

ALL = tuple(name for name, (_, known) in options_of(Settings).items() if not known.in_file_only)
PLACES = ("workers", "address", "serial", "tries", "worker_memory", "gpus_per_worker", "store")  # where to train
GIVEN = "given"  # the parameter of a command that takes the settings


def with_settings(
    names: Collection[str], kind: type = Settings
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each of these settings of a dataclass. Its parameter `given` receives those on the
    command line, read as settings, by name."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters
        generated = [_parameter(name, options_of(kind)) for name in names]

        @wraps(command)
        def run(**values: Any) -> None:
            typed = {name: values.pop(name) for name in names}
            command(**values, **{GIVEN: read_settings(typed, kind)})

        parameters = [one for name, one in own.items() if name != GIVEN] + generated
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


def read_settings(typed: dict[str, Any], kind: type = Settings) -> dict[str, Any]:
    """Return the settings that were typed as options, by name, as values of their types.

    Raises:
        UserError: a text that is no such value, or options that exclude each other.
    """
    given = {name: value for name, value in typed.items() if value not in (None, (), [])}
    if given.get("serial") and "workers" in given:
        raise UserError("--serial trains in this process, without --workers: give one of the two")
    known = options_of(kind)
    for name, value in given.items():
        if read := known[name][1].read:
            given[name] = read(spell(name), value)
        elif isinstance(value, list):
            given[name] = tuple(value)
    if "serial" in known and given.keys() & {"workers", "address", "gpus_per_worker"}:
        given.setdefault("serial", False)  # whatever the file, or the run so far, said
    return given


@contextmanager
def named_as_options(names: Collection[str]) -> Iterator[None]:
    """Name a setting that was given as an option by its option, because nobody wrote the key."""
    try:
        yield
    except SettingError as error:
        if error.key not in names:
            raise
        raise UserError(f"{spell(error.key)} {error.reason}") from error


def spell(name: str) -> str:
    """Return the option of a setting."""
    return f"--{name.replace('_', '-')}"


def _parameter(name: str, settings: dict[str, tuple[Field, Option]]) -> inspect.Parameter:
    field, known = settings[name]
    kind = next(one for one in (*get_args(field.type), field.type) if one is not type(None))
    if get_origin(field.type) is tuple:
        kind = str if name in ("objectives", "track") else list[str]
    elif known.read:
        kind = str
    declared = typer.Option(spell(name), help=escape(_describe(field.default, known)), rich_help_panel=known.group)
    annotation = Annotated[kind | None, declared]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _describe(default: Any, known: Option) -> str:
    """Return the help of an option: the sentence of its setting, the choices, and the default in brackets."""
    choices = f" One of: {', '.join(known.choices)}." if known.choices else ""
    shown = ",".join(default) if isinstance(default, tuple) else default
    words = known.default or ("off" if shown is False else shown)
    return f"{known.help}{choices}" + (f" [default: {words}]" if words not in ("", None) else "")
