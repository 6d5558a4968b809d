"""Writes the reference of commands into its page, from the commands themselves."""

import typer
from typer.cli import get_docs_for_click

from star.cli.command import app

PAGE = "commands.md"


def on_page_markdown(markdown: str, page: object, **_: object) -> str:
    """Return the text of a page, with the reference after that of `PAGE`; mkdocs calls it for each page."""
    if page.file.src_uri != PAGE:  # type: ignore[attr-defined]
        return markdown
    command = typer.main.get_command(app)
    return markdown + get_docs_for_click(obj=command, ctx=typer.Context(command), name="star")
