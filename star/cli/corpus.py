"""Commands about text: corpus build."""

from pathlib import Path
from typing import Annotated, Any

import typer

from star.cli.console import note, print_json, say
from star.cli.sizes import Json
from star.cli.sources import absolute, absolute_sources
from star.errors import UserError

corpus = typer.Typer(name="corpus", help="Prepare text for training.")


@corpus.callback(invoke_without_command=True)
def _corpus(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


@corpus.command()
def build(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="stdlib, prose, a directory, a file of text, JSON lines, Parquet or Arrow, a URI, or shards of "
            "tokens; all or none with a weight, as in books/=2."
        ),
    ],
    to: Annotated[Path, typer.Option(help="Folder to write; one that star corpus build wrote is replaced.")],
    tokenizer: Annotated[
        str,
        typer.Option(
            help="Tokenizer: bytes, bpe:N to train one of N tokens on the text, or the path of a tokenizer.json or "
            "SentencePiece model."
        ),
    ] = "bytes",
    text_field: Annotated[
        str,
        typer.Option(
            help="Field or column that holds the text; a dot leads into a nested one, as in meta.body.",
            show_default="text, else content, else messages or conversations",
        ),
    ] = "",
    json: Json = False,
) -> None:
    """Tokenise text once and write it as files of tokens, which --corpus takes in place of the text."""
    from star.data.prepare import build as write
    from star.data.text_source import TextSource, is_built

    if to.exists() and not is_built(to) and (to.is_file() or any(to.iterdir())):
        raise UserError(f"{to} is no folder of tokens and not empty; choose a new folder")
    source = TextSource(sources=absolute_sources(sources), tokenizer=absolute(tokenizer), text_field=text_field)
    found = describe(write(source, to), to)
    if json:
        print_json(found)
        return
    for line in found.pop("notes"):
        note(f"note: {line}")
    for name, value in found.items():
        say(f"{name.replace('_', ' '):18} {f'{value:,}' if isinstance(value, int) else value}")


def describe(built: Any, folder: Path) -> dict[str, Any]:
    """Return what a corpus holds, by name."""
    report = built.report
    return {
        "folder": str(folder),
        "tokenizer": built.tokenizer,
        "vocabulary": built.vocab_size,
        "training_tokens": int(built.train.size),
        "validation_tokens": int(built.valid.size),
        "bytes_per_token": round(built.bytes_per_token, 4),
        "documents": report.documents,
        "duplicates": report.duplicates,
        "digest": built.digest,
        "notes": report.lines(),
    }
