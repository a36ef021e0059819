"""The page's size, and what a real browser makes of it."""

import re
import time
from pathlib import Path

import pytest
from browser import Browser, find_browser
from factories import write_run
from pages import OUTCOMES, render, write_large_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run", OUTCOMES).path


@pytest.fixture(scope="module")
def large_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_large_run(tmp_path_factory.mktemp("runs") / "large")


@pytest.mark.slow
def test_500_trials_make_a_file_of_at_most_5_mb(large_run: Path, record_property):
    started = time.perf_counter()
    page = render(large_run)
    record_property("seconds", time.perf_counter() - started)
    record_property("bytes", len(page.encode()))
    assert "500 trials of 10 submissions on 5 workloads" in page
    assert len(page.encode()) <= 5_000_000


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    if find_browser() is None:
        pytest.skip("no chromium here")
    with Browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_it_without_overflow_network_or_complaint(
    browser: Browser, large_run: Path, run: Path, tmp_path: Path, width: int, scheme: str
):
    long = write_run(tmp_path / "run", {"w" * 70: {"s" * 90: [50.0], "t" * 90: [0.1, None]}}).path
    for number, path in enumerate((run, large_run, long)):
        page = tmp_path / f"page{number}.html"
        page.write_text(render(path))
        browser.open(page, width, scheme)
        browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert browser.evaluate("document.documentElement.scrollWidth") == width
        assert browser.requests() == [page.resolve().as_uri()]
        assert browser.complaints() == []
        clipped = browser.evaluate(OUTSIDE)
        assert clipped == []


OUTSIDE = """
[...document.querySelectorAll('svg.panel')].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(text => {
    const box = text.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1
      || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
  }).map(text => text.textContent);
})
"""
"""Labels that reach over the edge of their figure."""


@pytest.mark.slow
def test_a_hostile_title_runs_nothing_in_a_browser(browser: Browser, run: Path, tmp_path: Path):
    attack = "</title></style><script>document.title='owned'</script><img src=x onerror=alert(1)>"
    page = tmp_path / "page.html"
    page.write_text(render(run, title=attack))
    browser.open(page, 1280)
    assert browser.evaluate("document.title") == attack
    assert browser.requests() == [page.resolve().as_uri()]
    assert browser.complaints() == []


@pytest.mark.slow
def test_it_prints(browser: Browser, run: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    page.write_text(render(run))
    browser.open(page, 1280, "dark")
    paper = browser.print_pdf()
    assert paper.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 12
