"""The reliability diagram as one self-contained SVG: how often the model was right at each confidence."""

from collections.abc import Sequence

from lyra_mcp.domain.statistics import Bin, Report

_WIDTH, _HEIGHT = 480, 590
#: The square of the diagram, and the histogram of counts below it, in pixels.
_LEFT, _TOP, _SIDE = 64, 72, 384
_COUNTS_TOP, _COUNTS_HEIGHT = 490, 56
#: A bar and the gap on it need a pixel of air on either side.
_AIR = 1.5

_STYLE = """
.page { fill: #ffffff } .ink { fill: #1f2430 } .quiet { fill: #5c6475 } .grid { stroke: #d9dde5 }
.bar { fill: #2f6fb7 } .over { fill: #c8502c; fill-opacity: .30; stroke: #c8502c }
.under { fill: #2b8a5b; fill-opacity: .28; stroke: #2b8a5b } .count { fill: #8b95a8 }
.diagonal { stroke: #5c6475; stroke-dasharray: 5 4 }
text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif } .title { font-size: 16px; font-weight: 600 }
@media (prefers-color-scheme: dark) {
.page { fill: #14171d } .ink { fill: #e8ebf1 } .quiet { fill: #a3abba } .grid { stroke: #333a47 }
.bar { fill: #6ea8e5 } .over { fill: #f08a65; stroke: #f08a65 } .under { fill: #63c494; stroke: #63c494 }
.count { fill: #6d778a } .diagonal { stroke: #a3abba }
}
"""


def reliability_svg(report: Report) -> str:
    """Draw accuracy per bin against the diagonal, the gap to the mean confidence, and how many samples each bin holds.

    Bars carry `data-bin`, `data-accuracy`, `data-confidence` and `data-n`, so that a reader or a test finds the numbers.
    """
    filled = [(index, row) for index, row in enumerate(report.bins) if row.n]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        'role="img" aria-labelledby="reliability-title reliability-description">',
        f'<title id="reliability-title">Reliability diagram of {_reviews(report.n)}</title>',
        f'<desc id="reliability-description">{_description(report)}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect class="page" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>',
        *_heading(report),
        *_grid(),
        *(part for index, row in filled for part in _bar(index, row)),
        f'<line class="diagonal" x1="{_LEFT}" y1="{_y(0.0):g}" x2="{_LEFT + _SIDE}" y2="{_y(1.0):g}" stroke-width="1.5"/>',
        *_histogram(report.bins),
        "</svg>",
    ]
    return "\n".join(parts)


def _y(share: float) -> float:
    return round(_TOP + _SIDE * (1.0 - share), 2)


def _column(index: int, count: int = 10) -> tuple[float, float]:
    """Left edge and width of a bin's column."""
    step = _SIDE / count
    return round(_LEFT + index * step + _AIR, 2), round(step - 2 * _AIR, 2)


def _reviews(n: int) -> str:
    return "1 review" if n == 1 else f"{n:,} reviews"


def _ece(report: Report) -> str:
    interval = report.ci95.get("ece")
    bounds = f" (95 % interval {interval.low:.3f} to {interval.high:.3f})" if interval else ""
    return f"ECE {report.ece:.3f}{bounds}"


def _description(report: Report) -> str:
    rows = [
        f"confidence {row.low:.1f} to {row.high:.1f}: right {row.accuracy:.0%} of {row.n}"
        for row in report.bins
        if row.accuracy is not None
    ]
    return f"{_ece(report)}. A bar on the diagonal means honest confidence. " + "; ".join(rows) + "."


def _heading(report: Report) -> list[str]:
    return [
        f'<text class="ink title" x="{_LEFT}" y="28">How honest are the confidences?</text>',
        f'<text class="quiet" x="{_LEFT}" y="48">n = {report.n:,} · {_ece(report)}</text>',
        f'<rect class="over" x="{_LEFT}" y="56" width="10" height="10"/>',
        f'<text class="quiet" x="{_LEFT + 15}" y="65">too sure</text>',
        f'<rect class="under" x="{_LEFT + 80}" y="56" width="10" height="10"/>',
        f'<text class="quiet" x="{_LEFT + 95}" y="65">not sure enough</text>',
    ]


def _grid() -> list[str]:
    lines = []
    for tenth in range(0, 11, 2):
        share = tenth / 10
        y, x = _y(share), round(_LEFT + _SIDE * share, 2)
        lines += [
            f'<line class="grid" x1="{_LEFT}" y1="{y:g}" x2="{_LEFT + _SIDE}" y2="{y:g}"/>',
            f'<text class="quiet" x="{_LEFT - 8}" y="{y + 4:g}" text-anchor="end">{share:.1f}</text>',
            f'<text class="quiet" x="{x:g}" y="{_TOP + _SIDE + 16}" text-anchor="middle">{share:.1f}</text>',
        ]
    middle = _TOP + _SIDE / 2
    return [
        *lines,
        f'<text class="ink" transform="translate(18 {middle:g}) rotate(-90)" text-anchor="middle">share that was right</text>',
    ]


def _bar(index: int, row: Bin) -> list[str]:
    """The bar up to the accuracy, and over it the gap between accuracy and mean confidence."""
    assert row.accuracy is not None, "only bins with samples are drawn"
    assert row.confidence is not None, "only bins with samples are drawn"
    x, width = _column(index)
    top, bottom = _y(row.accuracy), _y(0.0)
    gap_top, gap_bottom = _y(max(row.accuracy, row.confidence)), _y(min(row.accuracy, row.confidence))
    kind = "over" if row.confidence > row.accuracy else "under"
    hint = f"said {row.confidence:.0%}, was right {row.accuracy:.0%} of {_reviews(row.n)}"
    return [
        f'<rect class="bar" data-bin="{index}" data-accuracy="{row.accuracy!r}" data-confidence="{row.confidence!r}" '
        f'data-n="{row.n}" x="{x:g}" y="{top:g}" width="{width:g}" height="{bottom - top:.2f}">'
        f"<title>{hint}</title></rect>",
        f'<rect class="{kind}" data-gap="{index}" x="{x:g}" y="{gap_top:g}" width="{width:g}" '
        f'height="{gap_bottom - gap_top:.2f}"><title>{hint}</title></rect>',
    ]


def _histogram(bins: Sequence[Bin]) -> list[str]:
    most = max((row.n for row in bins), default=0) or 1
    bottom = _COUNTS_TOP + _COUNTS_HEIGHT
    parts = [f'<line class="grid" x1="{_LEFT}" y1="{bottom}" x2="{_LEFT + _SIDE}" y2="{bottom}"/>']
    for index, row in enumerate(bins):
        if not row.n:
            continue
        x, width = _column(index)
        height = round(_COUNTS_HEIGHT * row.n / most, 2)
        parts += [
            f'<rect class="count" data-count="{row.n}" x="{x:g}" y="{bottom - height:g}" width="{width:g}" '
            f'height="{height:g}"/>',
            f'<text class="quiet" x="{x + width / 2:g}" y="{bottom - height - 4:g}" text-anchor="middle">{row.n}</text>',
        ]
    return [
        *parts,
        f'<text class="ink" x="{_LEFT + _SIDE / 2:g}" y="{bottom + 24}" text-anchor="middle">'
        "the model's confidence, and how many reviews lie in each bin</text>",
    ]
