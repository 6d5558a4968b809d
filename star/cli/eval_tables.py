"""What star eval prints for a person, part by part."""

from collections.abc import Callable
from typing import Any

from star.cli.console import count, duration, say, si, stdout
from star.cli.table import Table

Record = dict[str, Any]
MILLI = 1_000


def print_model(one: Record) -> None:
    """Print what a model is."""
    say(
        f"{one['name']}: {si(one['params'])} parameters at {one['scale']}, tokenizer {one['tokenizer']}, "
        f"{one['dtype']} on {one['device']}"
    )


def print_text(one: Record) -> None:
    """Print the loss on text."""
    side = "validation text of" if one["side"] == "validation" else "all of"
    interval = "no interval of one document"
    if one["interval"]:
        low, high = one["interval"]
        interval = f"95 % interval {low:.4f} to {high:.4f}"
    windows = f"windows of {one['context']:,} tokens"
    if one["stride"] < one["context"]:
        windows += f" that begin every {one['stride']:,}"
    say(
        "",
        f"{one['bits_per_byte']:.4f} bits/byte ({interval}) on {side} {one['corpus']}: "
        f"{count(one['documents'], 'document')}, {one['tokens']:,} tokens, {one['bytes']:,} bytes",
        f"{one['loss']:.4f} nats/token, perplexity {one['perplexity']:.4g}, {windows}",
        "",
    )
    rows = Table(">sees", ">tokens", ">nats/token")
    for part in one["positions"]:
        last = f" to {part['last']:,}" if part["last"] > part["first"] else ""
        rows.add_row(f"{part['first']:,}{last}", f"{part['tokens']:,}", f"{part['loss']:.4f}")
    stdout().print(rows)
    if one["contexts"]:
        say("", f"in {count(one['full_windows'], 'window')} of {one['contexts'][-1]['context']:,} tokens", "")
        rows = Table(">context", ">sees", ">tokens", ">nats/token")
        for part in one["contexts"]:
            sees = f"{part['first']:,} to {part['last']:,}"
            rows.add_row(f"{part['context']:,}", sees, f"{part['tokens']:,}", f"{part['loss']:.4f}")
        stdout().print(rows)


def print_tasks(found: list[Record]) -> None:
    """Print the errors in synthetic tasks."""
    say("", "errors of new models of this architecture, each trained on the task alone", "")
    rows = Table("task", ">error", ">tokens", ">time")
    for one in found:
        rows.add_row(one["task"], f"{one['error']:.4f}", si(one["tokens"]), duration(one["seconds"]))
    stdout().print(rows)


def print_harness(found: dict[str, Record]) -> None:
    """Print the metrics of tasks of lm-eval."""
    say("")
    rows = Table("task", "metric", ">value", ">standard error")
    for task, metrics in found.items():
        for name, value in metrics.items():
            metric, comma, filter = name.partition(",")
            if metric.endswith("_stderr"):
                continue
            error = metrics.get(f"{metric}_stderr{comma}{filter}")
            rows.add_row(task, name, f"{value:,.6g}", "" if error is None else f"{error:.4g}")
    stdout().print(rows)


def print_samples(found: list[Record]) -> None:
    """Print the continuations of prompts, each on one line."""
    for one in found:
        say("", f"after {one['prompt']!r}:", *(f"    {text}" for text in one["texts"]))


def print_speed(found: list[Record]) -> None:
    """Print time and memory."""
    say("", "one sequence at a time; medians, with the least and the greatest", "")
    rows = Table(
        *(">context", ">prefill tokens/s", ">first token", ">decode tokens/s", ">weights", ">cache", ">both"),
        *(">priced", ">peak"),
    )
    for one in found:
        rows.add_row(
            f"{one['context']:,}",
            _rates(one["prefill_seconds"], one["context"]),
            f"{MILLI * one['first_token_seconds'][0]:,.1f} ms",
            _rates(one["decode_seconds"], 1),
            si(one["weight_bytes"], "B"),
            si(one["cache_bytes"], "B"),
            si(one["weight_bytes"] + one["cache_bytes"], "B"),
            si(one["priced_weight_bytes"] + one["priced_cache_bytes"], "B"),
            "-" if one["peak_bytes"] is None else si(one["peak_bytes"], "B"),
        )
    stdout().print(rows)


def _rates(seconds: tuple[float, float, float], tokens: int) -> str:
    median, low, high = (tokens / one for one in seconds)
    return f"{median:,.0f} ({high:,.0f} to {low:,.0f})"


SHOW: dict[str, Callable[[Any], None]] = {
    "model": print_model,
    "text": print_text,
    "tasks": print_tasks,
    "harness": print_harness,
    "samples": print_samples,
    "speed": print_speed,
}
