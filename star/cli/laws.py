"""Commands about scaling laws: laws fit, laws plan."""

from pathlib import Path
from typing import Annotated, Any

import typer

from star.cli.console import print_json, say, stdout
from star.cli.sizes import Json
from star.cli.table import Table
from star.errors import UserError, located, nearest
from star.units import read_amount, write_amount

EXTRAPOLATED = (1, 10, 100)  # times the largest budget of the table
ALLOCATIONS = ("isoflop", "envelope")  # estimators of the best N and D alone
ESTIMATORS = ("vp", "lbfgs", *ALLOCATIONS)
FEWEST_SAMPLES = 100

laws = typer.Typer(name="laws", help="Fit scaling laws to runs, and plan by them.")


@laws.callback(invoke_without_command=True)
def _laws(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@laws.command()
def fit(
    table: Annotated[
        Path,
        typer.Argument(help="CSV or Parquet: params, tokens (or flops), loss in nats per token; a run in each row."),
    ],
    law: Annotated[
        str,
        typer.Option(help="chinchilla, over-training, kaplan, data-constrained, experts or granularity."),
    ] = "chinchilla",
    estimator: Annotated[
        str,
        typer.Option(
            help="vp (variable projection), lbfgs (4,500 starts, a minute), isoflop (parabolas) or "
            "envelope (training curves)."
        ),
    ] = "vp",
    objective: Annotated[
        str, typer.Option(help="huber (of log losses, delta 1e-3) or squared (errors of losses).")
    ] = "huber",
    bootstrap: Annotated[
        int, typer.Option(min=0, max=100_000, help="Samples of runs for the 95 % intervals; 0 for none.")
    ] = 1000,
    params_convention: Annotated[
        str,
        typer.Option(
            help="What params counts: total or non-embedding.", show_default="column params_convention, or total"
        ),
    ] = "",
    column: Annotated[
        list[str] | None, typer.Option(help="NAME=COLUMN where a column has another name: loss=val_loss.")
    ] = None,
    architecture: Annotated[str, typer.Option(help="The architecture to take of a table of several.")] = "",
    drop_highest: Annotated[int, typer.Option(min=0, help="Leave out the runs of the highest losses.")] = 0,
    tokens_below_params: Annotated[
        bool, typer.Option("--tokens-below-params", help="Most runs do have fewer tokens than parameters.")
    ] = False,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help="FLOPs to give the best params and tokens for.", show_default="the largest of the table, x10, x100"
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Fit a scaling law to a table of runs: constants with intervals, the best sizes for budgets, and residuals."""
    from star.cli.laws_report import fit_record, print_fit
    from star.laws.fits import fit as fit_law
    from star.laws.intervals import bootstrap as draw
    from star.laws.intervals import leave_out_largest

    if estimator not in ESTIMATORS:
        raise UserError(f"there is no estimator {estimator!r}{nearest(estimator, ESTIMATORS)}")
    if 0 < bootstrap < FEWEST_SAMPLES:
        raise UserError(
            f"intervals need at least {FEWEST_SAMPLES} samples: --bootstrap {FEWEST_SAMPLES}, or 0 for none"
        )
    budgets = [read_amount("--budget", one, of_bytes=False) for one in budget or []]
    runs = _read(table, column or [], params_convention, architecture, tokens_below_params)
    if drop_highest >= len(runs):
        raise UserError(f"--drop-highest {drop_highest} leaves no run of {len(runs)}")
    runs = runs.without_highest(drop_highest)
    budgets = budgets or [times * float(runs.budgets.max()) for times in EXTRAPOLATED]
    if estimator in ALLOCATIONS:
        _allocate(runs, estimator, law, budgets, json)
        return
    made = fit_law(runs, law, estimator, objective)
    sampled = draw(runs, made, bootstrap) if bootstrap else None
    held_out = leave_out_largest(runs, made)
    if json:
        print_json(fit_record(made, budgets, sampled, held_out))
    else:
        print_fit(made, budgets, sampled, held_out)


def _allocate(runs: Any, estimator: str, law: str, budgets: list[float], json: bool) -> None:
    """Find the best N and D from the lowest losses of each budget; with parabolas the bias that they have here."""
    from star.cli.laws_report import allocation_record, print_allocation
    from star.laws.envelope import fit_envelope
    from star.laws.fits import fit as fit_law
    from star.laws.isoflop import bias_of, fit_isoflop

    if law != "chinchilla":
        raise UserError(f"the estimator {estimator} finds the best sizes without a law; --law {law} needs vp")
    found = fit_isoflop(runs) if estimator == "isoflop" else fit_envelope(runs)
    bias, reason = None, ""
    if estimator == "isoflop":
        try:
            bias = bias_of(runs, fit_law(runs).law)
        except UserError as error:
            reason = str(error)
    if json:
        print_json(allocation_record(estimator, found, runs, budgets, bias))
    else:
        print_allocation(estimator, found, runs, budgets, bias, reason)


def _read(table: Path, column: list[str], convention: str, architecture: str, below: bool) -> Any:
    from star.laws.table import Reading, read_csv, read_runs

    if any("=" not in one for one in column):
        raise UserError("--column takes NAME=COLUMN, such as --column loss=val_loss")
    named = dict(one.split("=", 1) for one in column)
    if table.suffix == ".parquet":
        from star.storage.columns import read_columns

        columns = read_columns(table)
    else:
        columns = read_csv(table)
    reading = Reading(columns=named, convention=convention, architecture=architecture, tokens_below_params=below)
    with located(str(table)):
        return read_runs(columns, reading)


@laws.command()
def plan(
    flops: Annotated[str, typer.Option(help="Training budget in FLOPs: 1e22.", show_default="from --gpu-hours")] = "",
    gpu_hours: Annotated[str, typer.Option(help="Training budget in hours of one GPU: 10k.")] = "",
    gpu: Annotated[str, typer.Option(help="Its kind: a100, h100, h200, b200 or mi300x.")] = "h100",
    utilisation: Annotated[float, typer.Option(help="Fraction of the GPU's peak that training reaches.")] = 0.4,
    inference_tokens: Annotated[
        str, typer.Option(help="Tokens that the model will read and write in its life: 2T.", show_default="none")
    ] = "",
    constants: Annotated[
        str,
        typer.Option(help="besiroglu, hoffmann, hoffmann-exact, muennighoff, or a .json of star laws fit --json."),
    ] = "besiroglu",
    json: Json = False,
) -> None:
    """Plan a dense model for a training budget: the lowest loss, and the cheapest model of that loss with inference."""
    from star.laws.plan import find_law, gpu_flops
    from star.laws.plan import plan as make_plan

    if bool(flops) == bool(gpu_hours):
        raise UserError("give a budget: either --flops or --gpu-hours")
    if flops:
        budget = read_amount("--flops", flops, of_bytes=False)
    else:
        budget = gpu_flops(gpu, read_amount("--gpu-hours", gpu_hours, of_bytes=False), utilisation)
    tokens = read_amount("--inference-tokens", inference_tokens, of_bytes=False) if inference_tokens else 0.0
    made = make_plan(find_law(constants), budget, tokens)
    if json:
        served = made.served and made.served._asdict() | {"flops": made.served.flops, "saved": made.saved}
        print_json({"constants": constants, "optimal": made.optimal._asdict(), "served": served})
        return
    rows = Table("plan", ">params", ">tokens", ">tokens/param", ">loss", ">training FLOPs", ">with inference")
    rows.add_row(*_plan_row("compute-optimal", made.optimal, budget, budget + 2 * made.optimal.params * tokens))
    if made.served:
        rows.add_row(*_plan_row("inference-aware", made.served, made.served.training_flops, made.served.flops))
    stdout().print(rows)
    if made.served:
        inference = write_amount(tokens)
        say("", f"{made.saved:.1%} fewer FLOPs for the same loss, {inference} tokens of inference included")


def _plan_row(name: str, size: Any, training: float, everything: float) -> list[str]:
    ratio = size.tokens / size.params
    amounts = (write_amount(size.params, "params"), write_amount(size.tokens, "params"))
    return [name, *amounts, f"{ratio:.3g}", f"{size.loss:.4f}", f"{training:.3g}", f"{everything:.3g}"]
