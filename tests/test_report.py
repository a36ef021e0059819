import csv
import io
import json
import re
from pathlib import Path

import pytest
from factories import RULES, write_run
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench.errors import BenchError
from bench.report.grid import Grid, escape_csv, escape_latex, escape_markdown, printable, write_csv
from bench.report.leaderboard import (
    caption,
    cells_grid,
    leaderboard_csv,
    leaderboard_grid,
    times_csv,
    to_json,
    to_latex,
    to_markdown,
    trials_grid,
)
from bench.report.publish import publish
from bench.report.splice import BEGIN, END, splice
from bench.score.gather import gather
from bench.score.leaderboard import Leaderboard, make_leaderboard

OUTCOMES = {
    "bert": {"nadamw": [20.0, 30.0, 40.0], "schedule_free_adamw": [60.0, 61.0, 62.0]},
    "cifar_resnet": {"nadamw": [50.0, 51.0, 52.0], "schedule_free_adamw": [50.0, None, None]},
    "gpt": {"nadamw": [10.0, 11.0, 12.0], "schedule_free_adamw": [5.0, 5.5, 6.0]},
}
HOSTILE = ["a|b", "a & b", "snake_case_", "[red]x[/red]", r"\input{/etc/passwd}", "=1+1", "a\nb"]
HOSTILE += ["\x1b[31mred", "<script>", "100 %", "~/x^2", "@SUM(A1)", "$HOME#1", "{", "`rm`"]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Leaderboard:
    path = tmp_path_factory.mktemp("runs") / "run"
    write_run(path, OUTCOMES)
    return make_leaderboard(gather([path]))


def render(grid: Grid, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(grid.to_terminal())
    return console.file.getvalue()


# Tables.


def test_the_leaderboard_table(board: Leaderboard):
    grid = leaderboard_grid(board)
    intervals = [row[3] for row in grid.rows]
    assert [[*row[:3], *row[4:]] for row in grid.rows] == [
        ["1", "nadamw", "0.889", "30.0 s (3/3)", "51.0 s (3/3)", "11.0 s (3/3)", "9"],
        ["2", "schedule_free_adamw", "0.552", "61.0 s (3/3)", "— (1/3)", "5.5 s (3/3)", "9"],
    ]
    assert all(re.fullmatch(r"\d\.\d\d-\d\.\d\d", interval) for interval in intervals)


def test_the_leaderboard_fits_a_terminal_of_80_columns(board: Leaderboard):
    lines = render(leaderboard_grid(board), 80).splitlines()
    assert len(lines) == 4  # header, rule, and no row folded
    assert "schedule_free_adamw" in lines[3]
    assert lines[3].split()[-1] == "9"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(board: Leaderboard, width: int):
    for make in (leaderboard_grid, cells_grid, trials_grid):
        assert max(map(len, render(make(board), width).splitlines())) <= width


def test_cells_tell_spread_and_speed_up(board: Leaderboard):
    assert cells_grid(board).rows[-1] == [
        "gpt", "schedule_free_adamw", "5.5 s", "5.0 to 6.0", "3", "3/3", "1.00", "2.00"
    ]  # fmt: skip


def test_an_unranked_ruleset_shows_no_ranks(tmp_path: Path):
    write_run(tmp_path / "run", OUTCOMES, rules=RULES.model_copy(update={"ranked": False}))
    unranked = make_leaderboard(gather([tmp_path / "run"]))
    assert {row[0] for row in leaderboard_grid(unranked).rows} == {"—"}
    assert any(line.startswith("Unranked") for line in caption(unranked))


def test_the_caption_says_what_numbers_depend_on(board: Leaderboard):
    text = "\n".join(caption(board))
    for needed in ("micro-1", "ruleset self", "seconds", "Example CPU", "2026-01-02", "bootstrap"):
        assert needed in text


# Formats.


def test_json_has_the_shape_that_scripts_rely_on(board: Leaderboard):
    table = json.loads(json.dumps(to_json(board), allow_nan=False))
    assert (table["edition"], table["rules"], table["time_axis"]) == ("micro-1", "self", "seconds")
    best = table["scores"][0]
    assert (best["submission"], best["runs"]) == ("nadamw", 9)
    assert best["low"] <= best["score"] <= best["high"]
    missed = [trial for trial in table["times"] if trial["time"] is None]
    assert [(t["workload"], t["study"], t["trial"], t["status"]) for t in missed] == [
        ("cifar_resnet", 1, 0, "budget"),
        ("cifar_resnet", 2, 0, "budget"),
    ]
    assert table["scores"][1]["workloads"]["cifar_resnet"]["median"] is None


def test_csv_of_submissions(board: Leaderboard):
    rows = list(csv.DictReader(io.StringIO(leaderboard_csv(board))))
    assert [row["submission"] for row in rows] == ["nadamw", "schedule_free_adamw"]
    assert float(rows[0]["bert time"]) == 30.0
    assert rows[1]["cifar_resnet time"] == ""
    assert rows[1]["cifar_resnet hits"] == "1"


def test_csv_of_trials_is_tidy(board: Leaderboard):
    rows = list(csv.DictReader(io.StringIO(times_csv(board))))
    assert len(rows) == 18
    assert {row["score"] for row in rows if row["submission"] == "nadamw"} == {str(8 / 9)}
    times = [row["time"] for row in rows if row["workload"] == "cifar_resnet"]
    assert times == ["50.0", "51.0", "52.0", "50.0", "", ""]


def test_markdown_holds_table_and_caption(board: Leaderboard):
    text = to_markdown(board)
    assert "| 1 | nadamw | 0.889 |" in text
    assert "Edition micro-1" in text


def test_latex_has_equally_many_columns_everywhere(board: Leaderboard):
    text = to_latex(board, leaderboard_grid(board), cells_grid(board))
    for table in text.split(r"\begin{tabular}")[1:]:
        columns = len(table[1 : table.index("}")])
        rows = [line for line in table.splitlines() if line.endswith(r"\\")]
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {columns}


# Hostile names.

texts = st.sampled_from(HOSTILE) | st.text(max_size=20)


@given(texts, texts)
def test_markdown_keeps_its_columns(one: str, two: str):
    lines = Grid("lr", ["x", "y"], [[one, two]]).to_markdown().splitlines()
    assert len(lines) == 3
    assert len(re.findall(r"(?<!\\)\|", lines[2].replace(r"\\", ""))) == 3


@given(texts, texts)
def test_latex_runs_nothing(one: str, two: str):
    text = escape_latex(one + two)
    commands = set(re.findall(r"\\([A-Za-z]+)", text))
    assert commands <= {
        "textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater"
    }  # fmt: skip
    bare = re.sub(r"\\[&%$#_{}]|\\text[a-z]+\{\}", "", text)
    assert not set(bare) & set("\\&%$#_{}~^<>\n")


@given(texts)
def test_csv_holds_no_formula_and_reads_back(text: str):
    [[cell]] = csv.reader(io.StringIO(write_csv([text], [])), strict=True) if text else [[""]]
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cell.removeprefix("'") == printable(text).removeprefix("'")


def test_csv_leaves_negative_numbers_alone():
    assert write_csv(["x"], [[-1.5]]) == "x\n-1.5\n"


@pytest.mark.parametrize("name", HOSTILE)
def test_the_terminal_shows_names_and_obeys_none(name: str):
    shown = render(Grid("ll", ["name", ""], [[name, "end"]]))
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 3
    if name.isprintable():
        assert name in shown


@pytest.mark.parametrize(
    ("text", "markdown", "latex", "cell"),
    [
        ("a|b", r"a\|b", "a|b", "a|b"),
        ("R&D", "R&amp;D", r"R\&D", "R&D"),
        ("a_b _c_", r"a_b \_c\_", r"a\_b \_c\_", "a_b _c_"),
        ("[red]", r"\[red\]", "[red]", "[red]"),
        (r"\input", r"\\input", r"\textbackslash{}input", r"\input"),
        ("=1+1", "=1+1", "=1+1", "'=1+1"),
    ],
)
def test_escapes(text: str, markdown: str, latex: str, cell: str):
    assert (escape_markdown(text), escape_latex(text), escape_csv(text)) == (markdown, latex, cell)


# Publishing.


def test_publishing_writes_three_files(board: Leaderboard, tmp_path: Path):
    publish(board, tmp_path / "boards")
    names = sorted(path.name for path in (tmp_path / "boards").iterdir())
    assert names == ["leaderboard.csv", "leaderboard.json", "leaderboard.md"]


def test_splicing_replaces_the_block_alone_and_twice_is_once(tmp_path: Path):
    path = tmp_path / "README.md"
    path.write_text(f"before\r\n{BEGIN}\nold\n{END}\nafter", newline="")
    for _ in range(2):
        splice(path, "new\n")
        assert path.read_bytes().decode() == f"before\r\n{BEGIN}\nnew\n{END}\nafter"


@pytest.mark.parametrize("text", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}"])
def test_splicing_needs_both_marks_once(tmp_path: Path, text: str):
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(BenchError, match="no place for a leaderboard"):
        splice(path, "new")
    assert path.read_text() == text
