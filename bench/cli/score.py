"""bench score: the times of a run's trials, and the scores that follow from them."""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bench.report.grid import Grid
    from bench.score.leaderboard import Leaderboard


class Axis(StrEnum):
    """What time is counted in."""

    SECONDS = "seconds"
    REFERENCE = "reference"
    STEPS = "steps"
    EXAMPLES = "examples"


class Format(StrEnum):
    """What to print."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MARKDOWN = "markdown"
    LATEX = "latex"


def score(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Runs' folders.", show_default="the newest run")
    ] = None,
    rules: Annotated[str | None, typer.Option(help="Only runs by this ruleset.")] = None,
    time: Annotated[Axis, typer.Option(help="All but seconds compare across machines.")] = (
        Axis.SECONDS
    ),
    output: Annotated[Format, typer.Option("--format", help="CSV: a line a trial.")] = Format.TABLE,
    baseline: Annotated[str, typer.Option(help="Speed-ups are against it.")] = "nadamw",
) -> None:
    """Show times to target of every trial, and scores.

    [bold]bench score[/bold]

    [bold]bench score results/runs/mine --time steps --format json[/bold]
    """
    from bench.report.inventory import newest_run
    from bench.report.leaderboard import cells_grid, leaderboard_grid, trials_grid
    from bench.score.gather import gather
    from bench.score.leaderboard import make_leaderboard

    gathered = gather(runs or [newest_run()], time.value, rules)
    board = make_leaderboard(gathered, baseline)
    grids = (leaderboard_grid(board), cells_grid(board), trials_grid(board))
    _print(board, grids, output)


def _print(board: "Leaderboard", grids: "tuple[Grid, ...]", output: Format) -> None:
    from bench.report.leaderboard import times_csv, to_json, to_latex, to_markdown
    from bench.report.terminal import print_board

    match output:
        case Format.TABLE:
            print_board(board, *grids)
        case Format.JSON:
            typer.echo(json.dumps(to_json(board), indent=2, allow_nan=False))
        case Format.CSV:
            typer.echo(times_csv(board), nl=False)
        case Format.MARKDOWN:
            typer.echo(to_markdown(board, *grids), nl=False)
        case Format.LATEX:
            typer.echo(to_latex(board, *grids), nl=False)
