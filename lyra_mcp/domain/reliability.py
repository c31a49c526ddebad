"""The reliability diagram as one self-contained SVG: how often the model was right at each confidence."""

from collections.abc import Mapping, Sequence
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from lyra_mcp.domain.statistics import Bin, Report

_WIDTH, _HEIGHT = 480, 598
#: The square of the diagram, and the histogram of counts below it, in pixels.
_LEFT, _TOP, _SIDE = 64, 72, 384
_COUNTS_TOP, _COUNTS_HEIGHT = 498, 56
_AIR = 1.5

_STYLE = """
.page { fill: #ffffff } .ink { fill: #1f2430 } .quiet { fill: #5c6475 } .grid { stroke: #d9dde5 }
.bar { fill: #2f6fb7 } .over { fill: #c8502c; fill-opacity: .30; stroke: #c8502c }
.under { fill: #2b8a5b; fill-opacity: .28; stroke: #2b8a5b } .count { fill: #8b95a8 }
.clear { fill: transparent } .diagonal { stroke: #5c6475; stroke-width: 1.5; stroke-dasharray: 5 4 }
text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif } .title { font-size: 16px; font-weight: 600 }
@media (prefers-color-scheme: dark) {
.page { fill: #14171d } .ink { fill: #e8ebf1 } .quiet { fill: #a3abba } .grid { stroke: #333a47 }
.bar { fill: #6ea8e5 } .over { fill: #f08a65; stroke: #f08a65 } .under { fill: #63c494; stroke: #63c494 }
.count { fill: #6d778a } .diagonal { stroke: #a3abba }
}
"""


def reliability_svg(report: Report) -> str:
    """Draw accuracy per bin against the diagonal, the gap to the mean confidence, and how many samples each bin holds.

    Bars carry `data-bin`, `data-accuracy`, `data-confidence` and `data-n`: a reader or a test finds the numbers.
    """
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"',
        f'     width="{_WIDTH}" height="{_HEIGHT}" aria-labelledby="reliability-title reliability-description">',
        _tag("title", {"id": "reliability-title"}, f"Reliability diagram of {_reviews(report.n)}"),
        _tag("desc", {"id": "reliability-description"}, _description(report)),
        _tag("style", {}, _STYLE),
        _rect("page", 0, 0, _WIDTH, _HEIGHT, more={"rx": 8}),
        *_heading(report),
        *_grid(),
        *(part for index, row in enumerate(report.bins) if row.n for part in _bar(index, row, len(report.bins))),
        _line("diagonal", _LEFT, _y(0.0), _LEFT + _SIDE, _y(1.0)),
        *_histogram(report.bins),
        "</svg>",
    ]
    return "\n".join(parts)


def _tag(name: str, attributes: Mapping[str, str | float], content: str | None = None) -> str:
    written = "".join(
        f" {key}={quoteattr(value if isinstance(value, str) else f'{value:.8g}')}" for key, value in attributes.items()
    )
    return f"<{name}{written}/>" if content is None else f"<{name}{written}>{escape(content)}</{name}>"


def _rect(
    kind: str, x: float, y: float, width: float, height: float, *, more: Mapping[str, str | float] | None = None
) -> str:
    return _tag("rect", {"class": kind, "x": x, "y": y, "width": width, "height": height, **(more or {})})


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return _tag("line", {"class": kind, "x1": x1, "y1": y1, "x2": x2, "y2": y2})


def _text(
    kind: str, content: str, x: float, y: float, *, anchor: Literal["start", "middle", "end"] = "start", turn: float = 0
) -> str:
    place: dict[str, str | float] = {"transform": f"rotate({turn:g} {x:g} {y:g})"} if turn else {}
    return _tag("text", {"class": kind, "x": x, "y": y, "text-anchor": anchor, **place}, content)


def _y(share: float) -> float:
    return _TOP + _SIDE * (1.0 - share)


def _column(index: int, count: int) -> tuple[float, float]:
    """Left edge and width of one of `count` columns, with air on either side."""
    step = _SIDE / count
    return _LEFT + index * step + _AIR, step - 2 * _AIR


def _reviews(n: int) -> str:
    return "1 review" if n == 1 else f"{n:,} reviews"


def _ece(report: Report) -> str:
    bounds = report.ci95.get("ece")
    return f"ECE {report.ece:.3f}" + (f" (95 % interval {bounds.low:.3f} to {bounds.high:.3f})" if bounds else "")


def _description(report: Report) -> str:
    rows = [
        f"confidence {row.low:.1f} to {row.high:.1f}: right {row.accuracy:.0%} of {_reviews(row.n)}"
        for row in report.bins
        if row.accuracy is not None
    ]
    return f"{_ece(report)}. A bar that ends on the diagonal means honest confidence. " + "; ".join(rows) + "."


def _heading(report: Report) -> list[str]:
    return [
        _text("ink title", "How honest are the confidences?", _LEFT, 28),
        _text("quiet", f"n = {report.n:,} · {_ece(report)}", _LEFT, 47),
        _rect("over", _LEFT, 55, 10, 10),
        _text("quiet", "too sure", _LEFT + 15, 64),
        _rect("under", _LEFT + 80, 55, 10, 10),
        _text("quiet", "not sure enough", _LEFT + 95, 64),
    ]


def _grid() -> list[str]:
    parts = []
    for tenth in range(0, 11, 2):
        share = tenth / 10
        parts += [
            _line("grid", _LEFT, _y(share), _LEFT + _SIDE, _y(share)),
            _text("quiet", f"{share:.1f}", _LEFT - 8, _y(share) + 4, anchor="end"),
            _text("quiet", f"{share:.1f}", _LEFT + _SIDE * share, _y(0.0) + 16, anchor="middle"),
        ]
    return [*parts, _text("ink", "share that was right", 18, _y(0.5), anchor="middle", turn=-90)]


def _bar(index: int, row: Bin, count: int) -> list[str]:
    """The bar up to the accuracy, and over it the gap between accuracy and mean confidence."""
    accuracy, confidence = row.accuracy, row.confidence
    assert accuracy is not None, "only bins with samples are drawn"
    assert confidence is not None, "only bins with samples are drawn"
    x, width = _column(index, count)
    low, high = sorted((accuracy, confidence))
    hint = f"said {confidence:.0%}, was right {accuracy:.0%} of {_reviews(row.n)}"
    numbers: dict[str, str | float] = {
        "data-bin": index,
        "data-accuracy": repr(accuracy),
        "data-confidence": repr(confidence),
        "data-n": row.n,
    }
    return [
        _rect("bar", x, _y(accuracy), width, _SIDE * accuracy, more=numbers),
        _rect("over" if confidence > accuracy else "under", x, _y(high), width, _SIDE * (high - low)),
        # Invisible and on top, so that pointing anywhere at the column shows the hint.
        f"<g>{_tag('title', {}, hint)}{_rect('clear', x, _TOP, width, _SIDE)}</g>",
    ]


def _histogram(bins: Sequence[Bin]) -> list[str]:
    most = max(row.n for row in bins)
    bottom = _COUNTS_TOP + _COUNTS_HEIGHT
    parts = [_line("grid", _LEFT, bottom, _LEFT + _SIDE, bottom)]
    for index, row in enumerate(bins):
        if row.n:
            x, width = _column(index, len(bins))
            height = _COUNTS_HEIGHT * row.n / most
            parts += [
                _rect("count", x, bottom - height, width, height, more={"data-count": row.n}),
                _text("quiet", f"{row.n:,}", x + width / 2, bottom - height - 4, anchor="middle"),
            ]
    caption = "the model's confidence, and how many reviews lie in each bin"
    return [*parts, _text("ink", caption, _LEFT + _SIDE / 2, bottom + 24, anchor="middle")]
