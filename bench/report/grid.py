"""A table of text, and how each format writes it with hostile names made harmless."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "—": "---",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
MARKDOWN = re.compile(r"[\\`*\[\]|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""What means something in a cell; an underscore within a word does not."""


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        align: one letter a column, as LaTeX writes it: l or r.
        header: of the columns.
        rows: of cells.
    """

    align: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def to_terminal(self) -> Table:
        """Return the table for rich; where it is too wide, numbers fold and names do not."""
        table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
        for letter, name in zip(self.align, self.header, strict=True):
            table.add_column(
                Text(printable(name)),
                justify="left" if letter == "l" else "right",
                overflow="fold",
                no_wrap=letter == "l" and name != self.header[-1],
            )
        for row in self.rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        return table

    def to_markdown(self) -> str:
        """Return the table in GitHub's Markdown."""
        rule = ["---:" if letter == "r" else "---" for letter in self.align]
        lines = [_join(self.header, escape_markdown), rule, *self._escaped(escape_markdown)]
        return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)

    def to_latex(self) -> str:
        """Return the table as LaTeX that needs the package booktabs."""
        lines = [_join(self.header, escape_latex), *self._escaped(escape_latex)]
        head, *body = [" & ".join(cells) + r" \\" for cells in lines]
        begin, end = rf"\begin{{tabular}}{{{self.align}}}", r"\end{tabular}"
        parts = [begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", end]
        return "\n".join(parts) + "\n"

    def _escaped(self, escape: Callable[[str], str]) -> list[list[str]]:
        return [_join(row, escape) for row in self.rows]


def _join(cells: Sequence[str], escape: Callable[[str], str]) -> list[str]:
    return [escape(cell) for cell in cells]


def write_csv(header: Sequence[str], rows: Sequence[Sequence[str | float | None]]) -> str:
    """Return plain values as CSV; None and infinity are empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([escape_csv(name) for name in header])
    for row in rows:
        writer.writerow([escape_csv(cell) if isinstance(cell, str) else cell for cell in row])
    return file.getvalue()


def printable(text: str) -> str:
    """Return the text without control characters, which could drive a terminal."""
    return "".join(
        c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def escape_markdown(text: str) -> str:
    """Return the text as a cell or paragraph of Markdown that shows just it."""
    plain = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKDOWN.sub(lambda match: "\\" + match[0], plain)


def escape_latex(text: str) -> str:
    """Return the text as LaTeX that shows just it."""
    return "".join(LATEX.get(character, character) for character in printable(text))


def escape_csv(text: str) -> str:
    """Return the text so that no spreadsheet takes it for a formula."""
    plain = printable(text)
    return f"'{plain}" if plain.startswith(("=", "+", "-", "@")) else plain
