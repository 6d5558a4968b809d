"""The command that does a recorded search again: replay."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from star.cli.console import count, print_json, stderr
from star.cli.results import Directory, Json

if TYPE_CHECKING:
    from star.run.replay import Retrained

DIFFERENT = 1


def replay(
    run: Directory,
    id: Annotated[
        str | None,
        typer.Argument(
            help="An individual of it: train this one again, and compare what comes out. In a run with warm weights "
            "its parents must still be there."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Do a recorded search again without training, and tell whether it comes out as recorded, byte for byte.

    Nothing is written. Exit code 1 if something differs: the first difference is named.
    """
    from star.run import replay as again
    from star.storage.run_directory import RunDirectory

    directory = RunDirectory(run).open()
    if id is not None:
        _tell_retrained(again.retrain(directory, id, lambda note: stderr().print(f"note: {note}", markup=False)), json)
        return
    try:
        found = again.replay(directory)
    except again.Differs as difference:
        _end(json, {"run": str(run), "same": False, "difference": str(difference)}, f"{run} differs: {difference}")
    asks, arrivals = count(found.asks, "ask"), count(found.arrivals, "arrival")
    if json:
        print_json({"run": str(run), "same": True} | asdict(found))
    else:
        print(f"{asks}, {arrivals}: {count(found.generations, 'generation')} as recorded, byte for byte")


def _tell_retrained(one: "Retrained", json: bool) -> None:
    differences = one.differences()
    found = {"id": one.id, "hash": one.recorded.hash, "same": not differences}
    if differences:
        name, (then, now) = next(iter(differences.items()))
        sentence = f"individual {one.id} has {name} {_short(then)}, and {_short(now)} trained again{_gap(then, now)}"
        _end(json, found | {"differences": differences}, sentence)
    if json:
        print_json(found)
    else:
        quality = ", ".join(f"{name} {value!r}" for name, value in one.recorded.objectives.items())
        points = count(len(one.recorded.loss_curve), "point")
        print(f"individual {one.id} comes out as recorded: {one.recorded.status}, loss curve of {points}, {quality}")


def _end(json: bool, found: dict[str, Any], sentence: str) -> None:
    if json:
        print_json(found)
    else:
        print(sentence)
    raise typer.Exit(DIFFERENT)


def _short(value: Any) -> str:
    return str(value) if not isinstance(value, tuple) else f"({', '.join(map(str, value[:3]))}, ...)"


def _gap(then: Any, now: Any) -> str:
    is_number = isinstance(then, float) and isinstance(now, float)
    return f": {now - then:+.3g}" if is_number else ""
