"""Verify the front of a run that is recorded."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from star.evaluation.evaluate import evaluate
from star.options import read_record
from star.run.evolve import (
    PoolMaker,
    Trainer,
    evaluation_settings,
    interruptible,
    load_same_corpus,
    make_pool,
    terminable,
)
from star.run.latencies import refuse_latencies_of_proxies
from star.run.measurer import open_measurer
from star.run.plan import plan_run, read_plan
from star.run.progress import Progress
from star.run.summary import Clock
from star.run.verification import Verification
from star.run.verifier import Verifier
from star.storage.run_directory import RunDirectory

TIMES = 4  # the tokens of a proxy, unless told otherwise


def verify(
    run: RunDirectory,
    progress: Progress | None = None,
    changes: Mapping[str, Any] = MappingProxyType({}),
    evaluate: Trainer = evaluate,
    make_pool: PoolMaker = make_pool,
) -> Verification:
    """Train the front of a run and the named baselines longer, and record it in the run, as `Verifier` does.

    Args:
        run: the directory of a run with a front.
        progress: is told what happens.
        changes: settings by name: `verify_tokens`, four times the tokens of a proxy if neither these nor the run say;
            `verify_seeds`; and where to train, such as `workers` and `address`.
        evaluate: trains and scores one proxy.
        make_pool: starts the workers that evaluate.

    Raises:
        UserError: no front, no quality among the objectives, a budget below a proxy's, or too little text for it.
        Interrupted: SIGINT or SIGTERM came; calling it again goes on.
    """
    progress = progress or Progress()
    with run.resume():
        settings = replace(read_plan(run).settings, **changes)
        tokens = settings.verify_tokens or TIMES * settings.tokens
        plan = plan_run(replace(settings, verify_tokens=tokens))
        refuse_latencies_of_proxies(plan, run)
        verifier, clock = Verifier(run, plan, progress), Clock()
        if verifier.missing():
            corpus = load_same_corpus(plan, run, read_record(run.config_toml), progress.noted)
            bound = partial(evaluate, settings=evaluation_settings(plan), corpus=corpus)
            with interruptible(run, "star verify"), make_pool(plan, bound, corpus) as pool, terminable():
                progress.workers_ready(pool.num_workers, clock.ready(pool))
                verifier.finish(pool, open_measurer(plan, run, progress.noted))
        return verifier.result()
