"""The reliability diagram: well-formed, readable without sight, and true to the report's numbers."""

import random
from xml.etree import ElementTree as ET

import pytest

from lyra_mcp.domain.reliability import reliability_svg
from lyra_mcp.domain.statistics import Sample, evaluate

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(name="report")
def _report():
    chance = random.Random(1)
    samples = []
    for _ in range(300):
        first = chance.uniform(0.34, 1)
        gold = 0 if chance.random() < first**2 else 1
        samples.append(Sample((first, (1 - first) / 2, (1 - first) / 2), gold))
    return evaluate(samples, chance=chance)


@pytest.fixture(name="root")
def _root(report):
    return ET.fromstring(reliability_svg(report))


def rects(root, kind):
    return [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == kind]


def test_every_filled_bin_has_a_bar_with_its_numbers(report, root):
    drawn = [
        (
            int(bar.get("data-bin")),
            float(bar.get("data-accuracy")),
            float(bar.get("data-confidence")),
            bar.get("data-n"),
        )
        for bar in rects(root, "bar")
    ]

    assert drawn == [
        (index, pytest.approx(row.accuracy), pytest.approx(row.confidence), str(row.n))
        for index, row in enumerate(report.bins)
        if row.n
    ]


def test_bars_are_as_high_as_the_accuracy_and_gaps_as_high_as_the_error(report, root):
    filled = [row for row in report.bins if row.n]
    side = 384

    assert [float(bar.get("height")) / side for bar in rects(root, "bar")] == [
        pytest.approx(row.accuracy, abs=1e-6) for row in filled
    ]
    gaps = sorted(rects(root, "over") + rects(root, "under"), key=lambda rect: float(rect.get("x")))
    # Two more are the legend's, which stand apart with a fixed size.
    assert [float(gap.get("height")) / side for gap in gaps if gap.get("width") != "10"] == [
        pytest.approx(abs(row.accuracy - row.confidence), abs=1e-6) for row in filled
    ]


def test_the_histogram_shows_how_many_reviews_each_bin_holds(report, root):
    counts = [int(rect.get("data-count")) for rect in rects(root, "count")]
    heights = [float(rect.get("height")) for rect in rects(root, "count")]

    assert counts == [row.n for row in report.bins if row.n]
    assert [height / max(heights) for height in heights] == [pytest.approx(n / max(counts), abs=1e-6) for n in counts]


def test_the_diagonal_runs_from_corner_to_corner(root):
    (diagonal,) = [line for line in root.iter(f"{SVG}line") if line.get("class") == "diagonal"]

    assert [float(diagonal.get(end)) for end in ("x1", "y1", "x2", "y2")] == [64, 456, 448, 72]


def test_title_and_description_say_what_is_seen(report, root):
    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")

    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
    assert title.text == "Reliability diagram of 300 reviews"
    assert f"ECE {report.ece:.3f}" in description.text
    assert f"95 % interval {report.ci95['ece'].low:.3f} to {report.ci95['ece'].high:.3f}" in description.text
    assert description.text.count("confidence 0.") == sum(row.n > 0 for row in report.bins)


def test_sample_size_and_error_stand_in_the_picture(report, root):
    texts = [text.text for text in root.iter(f"{SVG}text")]

    assert any(f"n = 300 · ECE {report.ece:.3f}" in text for text in texts)


def test_the_picture_loads_nothing_and_runs_nothing(report):
    drawn = reliability_svg(report)

    assert "prefers-color-scheme: dark" in drawn
    for forbidden in ("<script", "href", "url(", "@import", "<foreignObject"):
        assert forbidden not in drawn


def test_a_report_of_one_review_is_drawn_too():
    report = evaluate([Sample((1.0, 0.0, 0.0), 0)], chance=random.Random(1))

    root = ET.fromstring(reliability_svg(report))

    assert len(rects(root, "bar")) == 1
    assert "1 review" in root.find(f"{SVG}title").text
