"""Reports: nothing hostile gets through, nothing is loaded, nothing lost is hidden, files are whole."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from lib import page
from lib.charts import line_plot
from lib.hits_sheet import HitCard, hits_sheet
from lib.report import (
    ContractCard,
    Metric,
    Picture,
    Plot,
    Published,
    Reject,
    Report,
    Section,
    Table,
    figure_rows,
    report_html,
    standing,
    write_report,
)
from lib.scoreboard import write_scoreboard

PNG = b"\x89PNG\r\n\x1a\n" + bytes(32)
HOSTILE = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>'&amp;\n{{ 7*7 }}\u202egpj.\udcff"
HARMFUL = ("javascript:alert(3)", "data:text/html,<script>alert(4)</script>")


class Seen(HTMLParser):
    """All tags with their attributes, and the text outside of style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.in_style = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self.in_style = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self.in_style else data

    def values(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.tags if name in attributes]


def a_report(text: str = "plain", metrics: tuple[Metric, ...] | None = None) -> Report:
    """A report with `text` in every place that takes text."""
    default = (Metric(text, text, 0.1, 0.5, 0.6, 200, note=text, published=[Published(text, text)]),)
    table = Table(text, [text, "n"], [[text, 1], [None, 2.5]], note=text)
    section = Section(
        text,
        text,
        default if metrics is None else metrics,
        naive=text,
        ours=text,
        plots=[
            Plot(line_plot([0, 1, 2], {text: [0, 1, 0]}, chosen_s=[(0, 1)], cuts_s=[1], y_label=text), text)
        ],
        pictures=[Picture(PNG, text, text)],
        tables=[table],
        details=[table],
    )
    return Report(
        title=text,
        archive=text,
        contract=ContractCard(text, text, text, text, text, text, "https://example.org/licence", text),
        sections=[section],
        lede=text,
        facts={text: text, "frames": 12345, "embed_seconds": 312.4, "bytes": 48_300_112},
        warnings=[text],
        rejects=[Reject(text, text)],
        versions={text: text},
        made_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
    )


def a_sheet(text: str) -> str:
    return hits_sheet(
        PNG,
        [HitCard(text, 0.5, PNG, 1.0, 2.0, Path(f"/films/{text}")), HitCard(text, 0.4, file=Path(text))],
        archive=text,
        asked=text,
        contract=text,
        warnings=[text],
    )


def a_scoreboard(folder: Path, text: str) -> str:
    made = write_report(a_report(text), folder / "lake" / "a" / "search_report")
    gone = folder / text.replace("/", "") / "report.json"
    return write_scoreboard([made.with_name("report.json"), gone], folder / "board").read_text("utf-8")


@pytest.fixture(params=["report", "hits", "scoreboard"])
def pages(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """One kind of page twice: with plain text, and with hostile text in every place."""

    def make(text: str) -> str:
        if request.param == "report":
            return report_html(a_report(text))
        return a_sheet(text) if request.param == "hits" else a_scoreboard(tmp_path / str(len(text)), text)

    return make("plain"), make(HOSTILE)


def test_hostile_text_adds_no_tag_and_no_attribute(pages: tuple[str, str]) -> None:
    plain, hostile = (Seen(html) for html in pages)
    assert [(tag, sorted(a)) for tag, a in hostile.tags] == [(tag, sorted(a)) for tag, a in plain.tags]


def test_hostile_text_is_shown_letter_by_letter_with_its_controls_visible(pages: tuple[str, str]) -> None:
    hostile = Seen(pages[1])
    shown = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>'&amp;"
    assert shown in hostile.text
    assert "\\u202egpj.\\udcff" in hostile.text
    assert "\u202e" not in pages[1]
    assert "{{ 7*7 }}" in hostile.text


def test_a_page_loads_nothing_and_links_only_where_it_was_told_to(pages: tuple[str, str]) -> None:
    for html in pages:
        seen = Seen(html)
        assert not {tag for tag, _ in seen.tags} & {
            "script",
            "iframe",
            "object",
            "embed",
            "base",
            "form",
            "video",
        }
        assert all(value.startswith("data:image/") for value in seen.values("src"))
        assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
        assert not re.search(r"url\(|@import|srcset", html)
        links = [a["href"] or "" for tag, a in seen.tags if tag == "a"]
        assert all(
            re.match(r"https://example\.org/licence$|#|file:///films/|\./|\.\./", link) for link in links
        )
        assert [a["href"] for tag, a in seen.tags if tag == "link"] == ["data:,"]
        assert any("default-src 'none'" in value for value in seen.values("content"))


@pytest.mark.parametrize("address", HARMFUL)
def test_a_licence_address_that_runs_code_is_text_and_no_link(address: str) -> None:
    report = a_report()
    html = report_html(replace(report, contract=replace(report.contract, licence_url=address)))
    assert not [v for v in Seen(html).values("href") if v.startswith(("javascript", "data:text"))]
    assert address in Seen(html).text


def test_a_file_whose_name_is_no_text_keeps_its_name_in_the_json(tmp_path: Path) -> None:
    write_report(a_report(HOSTILE), tmp_path)
    assert json.loads((tmp_path / "report.json").read_bytes())["rejects"] == [
        {"file": HOSTILE, "reason": HOSTILE}
    ]


def test_the_json_has_the_contract_id_and_the_six_fields_that_scripts_read(tmp_path: Path) -> None:
    metric = Metric("search", "R@1", None, np.float32(0.5), float("nan"), np.int64(7), note="why")  # type: ignore[arg-type]
    write_report(a_report("plain", metrics=(metric,)), tmp_path)
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["contract"] == "plain"
    (row,) = data["metrics"]
    six = {"task": "search", "metric": "R@1", "chance": None, "naive": 0.5, "ours": None, "n": 7}
    assert {name: row[name] for name in six} == six


def test_a_missing_figure_is_a_dash_with_its_reason_in_a_footnote() -> None:
    metric = Metric("summary", "cuts", 0.1, None, 0.9, 99, note="k-means has no shots")
    html = report_html(a_report(metrics=(metric,)))
    assert '<td class="number" data-label="naive">–</td>' in html
    assert "<li>k-means has no shots</li>" in html
    assert figure_rows([metric])["footnotes"] == ["k-means has no shots"]


def test_a_figure_that_is_no_number_says_so() -> None:
    metric = Metric("summary", "τ", 0.0, float("nan"), 0.1, 99)
    assert metric.naive is None
    assert metric.note == "naive came out as nan"


@pytest.mark.parametrize(
    ("naive", "ours", "higher_is_better", "interval", "verdict"),
    [
        (0.5, 0.6, True, None, "better"),
        (0.6, 0.5, True, None, "worse"),
        (0.6, 0.5, False, None, "better"),
        (3.0, 4.0, False, None, "worse"),
        (0.50001, 0.50002, True, None, "level"),
        (0.5, 0.6, True, (-0.01, 0.2), "unsure"),
        (0.5, 0.4, True, (-0.2, -0.01), "worse"),
        (None, 0.6, True, None, "unknown"),
    ],
)
def test_the_verdict_follows_direction_interval_and_shown_digits(
    naive: float | None,
    ours: float,
    higher_is_better: bool,
    interval: tuple[float, float] | None,
    verdict: str,
) -> None:
    metric = Metric("t", "m", None, naive, ours, 99, "", higher_is_better, interval)
    assert metric.verdict == verdict


def test_a_lost_figure_is_counted_and_named_before_any_table_and_marked_in_its_row() -> None:
    won, lost = Metric("search", "R@1", 0.1, 0.5, 0.6, 99), Metric("summary", "F", 0.41, 0.43, 0.402, 99)
    html = report_html(a_report(metrics=(won, lost)))
    opening = " ".join(Seen(html[: html.index("<table")]).text.split())
    assert "better than naive in 1, worse in 1" in opening
    assert "Worse than naive: summary, F: .402 against .430" in opening
    assert "No better than chance: summary, F: .402, chance .410" in opening
    row = html[html.index('<tr class="worse') :].split("</tr>")[0]
    assert "▼ worse" in row
    assert "not above chance" in row


def test_figures_without_both_columns_are_not_counted_as_compared() -> None:
    metrics = [
        ("", Metric("t", "m", 0.1, None, 0.6, 9, "no naive")),
        ("", Metric("t", "m", 0.1, 0.2, 0.6, 9)),
    ]
    assert standing(metrics)["compared"] == 1


def test_few_cases_are_said_once_and_with_what_one_of_them_weighs() -> None:
    notes = figure_rows([Metric("t", m, 0.1, 0.5, 0.6, 16) for m in ("R@1", "R@5")])["footnotes"]
    assert notes == ["only 16 cases: where a figure is a mean over them, one case can move it by .062"]
    assert figure_rows([Metric("t", "R@1", 0.1, 0.5, 0.6, 30)])["footnotes"] == []


def test_published_figures_stand_apart_from_ours() -> None:
    html = report_html(
        a_report(metrics=(Metric("t", "τ", 0.0, 0.1, 0.2, 50, published=[Published(".211", "LLMVS")]),))
    )
    table = html[html.index('<table class="figures">') : html.index("</table>")]
    assert "LLMVS" not in table
    assert "Measured by others, on other weights" in html[html.index("</table>") : html.index("LLMVS")]


@pytest.mark.parametrize("breaks_at", ["render", "replace"])
def test_a_failed_writing_leaves_the_old_files_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks_at: str
) -> None:
    write_report(a_report("old"), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    report = a_report("new")
    if breaks_at == "render":
        broken = replace(report.sections[0], pictures=[Picture(b"no picture", "", "")])
        with pytest.raises(ValueError, match="PNG or JPEG"):
            write_report(replace(report, sections=[broken]), tmp_path)
    else:

        def full(self: Path, target: Path) -> Path:
            raise OSError("no space left")

        monkeypatch.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="no space"):
            write_report(report, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_json_stands_before_the_page_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    monkeypatch.setattr(page, "write_whole", lambda path, content: moved.append(path.name))
    write_report(a_report(), tmp_path)
    assert moved == ["report.json", "report.html"]


def test_a_drawing_given_as_plain_text_is_escaped() -> None:
    report = a_report()
    section = replace(report.sections[0], plots=[Plot("<svg onload=alert(1)>", "c")])  # type: ignore[arg-type]
    assert "&lt;svg onload" in report_html(replace(report, sections=[section]))


def test_the_hits_sheet_links_to_the_moment_in_a_file_of_any_name() -> None:
    html = hits_sheet(
        None, [HitCard("x", 0.9, PNG, 12.0, 16.5, Path('/a b/#1 "ü"?.mp4'))], archive="a", asked="q"
    )
    assert "file:///a%20b/%231%20%22%C3%BC%22%3F.mp4#t=12.00,16.50" in Seen(html).values("href")
    assert "0:12.0 – 0:16.5" in html


def test_the_scoreboard_keeps_contracts_apart_and_names_what_it_could_not_read(tmp_path: Path) -> None:
    metric = Metric("t", "τ", 0.0, 0.1, 0.2, 50, "", True, (0.05, 0.15), [Published(".211", "LLMVS")])
    reports = []
    for contract in ("aaa", "bbb"):
        report = replace(a_report(contract, metrics=(metric,)), archive=contract)
        reports.append(write_report(report, tmp_path / contract / "summary_report").with_name("report.json"))
    broken = tmp_path / "ccc" / "report.json"
    broken.parent.mkdir()
    broken.write_text('{"archive": "ccc"}')
    made = write_scoreboard([*reports, broken], tmp_path / "board")
    data = json.loads(made.with_name("report.json").read_text())
    assert data["contract"] is None
    assert [(m["archive"], m["stage"], m["contract"], m["ours"]) for m in data["metrics"]] == [
        ("aaa", "summary_report", "aaa", 0.2),
        ("bbb", "summary_report", "bbb", 0.2),
    ]
    assert data["metrics"][0]["gain_interval"] == [0.05, 0.15]
    assert [row["file"] for row in data["unread"]] == [str(broken)]
    seen = Seen(made.read_text())
    assert "../aaa/summary_report/report.html" in "".join(seen.values("href"))
    assert "no report of Dinolake" in seen.text
    # Under each contract's heading stand its own archives only.
    groups = [Seen(part).text for part in made.read_text().split("<section>")]
    assert [("aaa · " in group, "bbb · " in group) for group in groups[1:3]] == [(True, False), (False, True)]
