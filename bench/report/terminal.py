"""A leaderboard on the terminal."""

from rich.console import Console
from rich.text import Text

from bench.report.grid import Grid, printable
from bench.report.leaderboard import caption, leaderboard_grid
from bench.score.leaderboard import Leaderboard


def print_board(board: Leaderboard, *grids: Grid, console: Console | None = None) -> None:
    """Print tables and caption; without grids, the leaderboard's."""
    console = console or Console()
    for grid in grids or (leaderboard_grid(board),):
        console.print(grid.to_terminal())
        console.print()
    for line in caption(board):
        console.print(Text(printable(line), style="dim"))
