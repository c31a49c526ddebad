"""The report as one HTML page with inline drawings: opens without a network, in light and in dark."""

from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from schema.jobs import LossLine, ValidationLine
from schema.reports import NliReport, ReliabilityBin
from schema.vocabulary import LABELS

#: Of every drawing, in SVG units; the page scales it.
WIDTH, HEIGHT = 480.0, 240.0

Points = list[tuple[float, float]]


def _points(points: Sequence[tuple[float, float]], *, x_max: float, y_max: float) -> str:
    """Data to the `points` of a polyline, y upwards."""
    return " ".join(f"{WIDTH * x / x_max:.1f},{HEIGHT * (1 - y / y_max):.1f}" for x, y in points)


def curve_lines(curve: Sequence[LossLine | ValidationLine]) -> dict[str, str | float]:
    """The polylines of training, rehearsal and validation loss, and the scale."""
    training: Points = [(line.step, line.loss) for line in curve if isinstance(line, LossLine)]
    rehearsal: Points = [
        (line.step, line.rehearsal_loss)
        for line in curve
        if isinstance(line, LossLine) and line.rehearsal_loss is not None
    ]
    validation: Points = [(line.step, line.validation_loss) for line in curve if isinstance(line, ValidationLine)]
    every = training + rehearsal + validation
    x_max, y_max = max([x for x, _ in every] + [1]), max([y for _, y in every] + [1e-9])
    drawn = {"training": training, "rehearsal": rehearsal, "validation": validation}
    return {
        **{name: _points(points, x_max=x_max, y_max=y_max) for name, points in drawn.items()},
        "steps": x_max,
        "loss_max": y_max,
    }


def reliability_line(bins: Sequence[ReliabilityBin]) -> str:
    filled: Points = [(b.confidence, b.accuracy) for b in bins if b.confidence is not None and b.accuracy is not None]
    return _points(filled, x_max=1, y_max=1)


def render_page(report: NliReport) -> str:
    """One self-contained page; every text of a person is escaped."""
    environment = Environment(
        loader=PackageLoader("ml_worker.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    models = {"base": report.base, "champion": report.champion, "candidate": report.candidate}
    # What the person has today: only against that does the candidate change anything for them.
    before, scores_before = ("base", report.base) if report.champion is None else ("champion", report.champion)
    return environment.get_template("page.html.j2").render(
        report=report,
        labels=LABELS,
        models={name: scores for name, scores in models.items() if scores is not None},
        curve=curve_lines(report.training.curve),
        before=before,
        reliability={
            "before": reliability_line(scores_before.reliability),
            "after": reliability_line(report.candidate.reliability),
        },
        width=WIDTH,
        height=HEIGHT,
    )
