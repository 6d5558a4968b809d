"""The command that does a recorded search again: replay."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from star.cli.console import count, note, print_json, say
from star.cli.find import open_run
from star.cli.results import Directory
from star.cli.sizes import Json

if TYPE_CHECKING:
    from star.run.retrain import Retrained

DIFFERENT = 1


def replay(
    run: Directory,
    id: Annotated[
        str | None,
        typer.Argument(
            help="Train this individual again instead, and compare the results. A run with warm weights must still "
            "hold the weights of its parents."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Repeat a recorded search without training, and check that every generation comes out byte for byte the same.

    Nothing is written. The exit code is 1 if something differs; the first difference is printed.
    """
    directory = open_run(run)
    if id is not None:
        from star.run.retrain import retrain  # which loads torch

        _tell_retrained(retrain(directory, id, lambda sentence: note(f"note: {sentence}")), json)
        return

    from star.run import replay as again  # which loads pymoo

    try:
        found = again.replay(directory)
    except again.Differs as difference:
        _end(json, {"run": str(run), "same": False, "difference": str(difference)}, f"{run} differs: {difference}")
    if json:
        print_json({"run": str(run), "same": True} | asdict(found))
    else:
        done = f"{count(found.generations, 'generation')} ({count(found.asks, 'proposal')})"
        say(f"Replayed {done}: identical to the record.")


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
        say(
            f"Trained individual {one.id} again: identical to the record "
            f"({one.recorded.status}, loss curve of {points}, {quality})."
        )


def _end(json: bool, found: dict[str, Any], sentence: str) -> None:
    if json:
        print_json(found)
    else:
        say(sentence)
    raise typer.Exit(DIFFERENT)


def _short(value: Any) -> str:
    return str(value) if not isinstance(value, tuple) else f"({', '.join(map(str, value[:3]))}, ...)"


def _gap(then: Any, now: Any) -> str:
    is_number = isinstance(then, float) and isinstance(now, float)
    return f": {now - then:+.3g}" if is_number else ""
