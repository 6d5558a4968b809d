"""The command that trains a front longer: verify."""

from typing import Any

import typer

from star.cli import options
from star.cli.console import print_json
from star.cli.find import open_run
from star.cli.live import Watcher
from star.cli.results import Directory
from star.cli.sizes import Json
from star.cli.verification import describe, print_verification
from star.run.plan import read_plan


@options.with_settings(("verify_tokens", "verify_seeds", *options.PLACES))
def verify(given: dict[str, Any], run: Directory, json: Json = False) -> None:
    """Train the front of a run and named baselines longer, by default on four times the tokens of a proxy, and compare
    them. A stopped verification goes on."""
    directory = open_run(run)
    plan = read_plan(directory)

    from star.run.evolve import Interrupted
    from star.run.verify import verify as train

    try:
        with options.named_as_options(given.keys()), Watcher(plan, directory.path) as watcher:
            found = train(directory, watcher, given)
            watcher.verified(found)
    except Interrupted as stop:
        raise typer.Abort(stop) from None
    if json:
        print_json(describe(found))
    else:
        print_verification(found)
