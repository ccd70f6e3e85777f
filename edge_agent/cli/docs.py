"""`edge-agent docs`: the manual, from the installed package. Needs no internet."""

from __future__ import annotations

import difflib
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

INDEX: Final = "index"
_LINK_TO_PAGE: Final = re.compile(r"^- \[[^\]]+\]\(([a-z]+)\.md\)$", re.MULTILINE)


@click.command
@click.argument("topic", required=False)
def docs(topic: str | None) -> None:
    """List the pages of the manual, or show the page TOPIC.

    On a terminal the page is shown by the pager; otherwise it is printed.
    """
    topics = [INDEX, *topics_in_order()]
    if topic is None:
        width = max(len(name) for name in topics)
        for name in topics:
            click.echo(f"{name:{width}}  {first_paragraph(page(name))}")
        return
    if topic not in topics:
        close = difflib.get_close_matches(topic, topics, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(topics)}"
        raise click.BadParameter(f"there is no page {topic!r}; {hint}", param_hint="TOPIC")
    click.echo_via_pager(page(topic))


def topics_in_order() -> list[str]:
    """Names of all pages but the index, in the order of its list."""
    return _LINK_TO_PAGE.findall(page(INDEX))


def page(topic: str) -> str:
    """The text of a page, Markdown.

    Raises:
        FileNotFoundError: there is no such page.
    """
    return _folder().joinpath(f"{topic}.md").read_text(encoding="utf-8")


def first_paragraph(text: str) -> str:
    """The first paragraph of a page, in one line."""
    _title, paragraph, *_rest = text.split("\n\n", 2)
    return " ".join(paragraph.split())


def _folder() -> Traversable:
    return files("edge_agent").joinpath("docs")
