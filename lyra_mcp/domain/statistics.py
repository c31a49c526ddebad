"""How good and how honest the model's probabilities are, from reviewed samples: metrics with bootstrap intervals.

Every metric is weighted: a sample of weight w counts like w samples, except that it brings no more certainty
than one (`ece_debiased` and the intervals know that).
"""

import math
import random
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import itemgetter, mul

from lyra_mcp.domain.edges import Triple
from lyra_mcp.errors import TooFewReviews
from schema.vocabulary import LABELS, Label

BINS = 10
#: Smaller probabilities count as this in the log-likelihood: one certain mistake costs 27.6 nats, not infinity.
PROBABILITY_CLIP = 1e-12
RESAMPLES = 1_000
#: Work allowed for one set of intervals: draws = samples * resamples. Below the minimum, percentiles mean nothing.
RESAMPLE_DRAWS_MAX = 400_000
RESAMPLES_MIN = 200
_TAIL = 0.025


@dataclass(frozen=True, slots=True)
class Sample:
    #: Sum to 1, in the order of `schema.vocabulary.LABELS`.
    probabilities: Triple
    #: Index of the reviewed label in the same order.
    gold: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Samples whose confidence lies in [low, high); the last bin holds 1 too."""

    low: float
    high: float
    n: int
    #: Share of all weight, in [0, 1].
    share: float
    #: Weighted means; null in an empty bin.
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class LabelMetrics:
    """Null where nothing was predicted (precision), nothing reviewed (recall) or neither (f1) as this label."""

    #: Reviewed samples with this label.
    n: int
    precision: float | None
    recall: float | None
    f1: float | None
    ci95: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class Report:
    n: int
    accuracy: float
    #: Mean of the squared distance over the three classes, in [0, 2]. Source: Brier 1950.
    brier: float
    #: Mean negative log-likelihood in nats.
    nll: float
    #: Mean gap between confidence and accuracy, over 10 bins of equal width. Source: Guo et al. 2017.
    ece: float
    #: The same over bins of equal mass: 10, or fewer where a bin would hold fewer than two samples.
    ece_equal_mass: float
    #: L2 error over the same bins without the bias of small samples; null below two samples. Source: Kumar et al. 2019.
    ece_debiased: float | None
    #: The largest gap of any bin of equal width.
    mce: float
    per_label: dict[Label, LabelMetrics]
    #: Percentile intervals by metric name. Those of the calibration errors lean upwards: resampling adds noise.
    ci95: dict[str, Interval]
    bins: tuple[Bin, ...]
    resamples: int


def evaluate(samples: Sequence[Sample], *, chance: random.Random, resamples: int = RESAMPLES) -> Report:
    """Compute every metric with a 95 % interval; the report says how many resamples the work budget allowed.

    A single sample has no intervals: drawn again it is always itself, and a width of zero would look like certainty.

    Raises TooFewReviews without a sample.
    """
    if not samples:
        raise TooFewReviews("there is no review to evaluate; review_queue() offers edges, feedback() takes the answers")
    table = _Table(samples)
    point = table.metrics([1] * len(samples))
    resamples = resamples_within_budget(len(samples), resamples)
    columns = zip(*(table.metrics(_resample(len(samples), chance)) for _ in range(resamples)), strict=True)
    intervals = {
        name: interval(defined)
        for name, value, column in zip(_NAMES, point, columns, strict=True)
        if len(samples) > 1 and value is not None and (defined := [drawn for drawn in column if drawn is not None])
    }
    return table.report(dict(zip(_NAMES, point, strict=True)), intervals, resamples)


def mean_interval(
    values: Sequence[float], weights: Sequence[float], *, chance: random.Random, resamples: int = RESAMPLES
) -> Interval:
    """Bootstrap 95 % interval of a weighted mean."""
    weighted = list(map(mul, values, weights))
    means = []
    for _ in range(resamples_within_budget(len(values), resamples)):
        counts = _resample(len(values), chance)
        means.append(sum(map(mul, counts, weighted)) / sum(map(mul, counts, weights)))
    return interval(means)


def resamples_within_budget(n: int, wanted: int) -> int:
    return max(RESAMPLES_MIN, min(wanted, RESAMPLE_DRAWS_MAX // n))


def interval(values: Sequence[float]) -> Interval:
    """Middle 95 % of some values, interpolated linearly between neighbours."""
    ordered = sorted(values)
    return Interval(_quantile(ordered, _TAIL), _quantile(ordered, 1.0 - _TAIL))


def top(probabilities: Triple) -> int:
    """Index of the predicted label; of equal ones, the first."""
    return probabilities.index(max(probabilities))


def brier_of(sample: Sample) -> float:
    return math.fsum((p - (index == sample.gold)) ** 2 for index, p in enumerate(sample.probabilities))


def nll_of(sample: Sample) -> float:
    return -math.log(max(sample.probabilities[sample.gold], PROBABILITY_CLIP))


def _quantile(ordered: Sequence[float], share: float) -> float:
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def _resample(n: int, chance: random.Random) -> list[int]:
    """How often each of n samples is drawn in n draws with replacement."""
    counts = [0] * n
    for index in chance.choices(range(n), k=n):
        counts[index] += 1
    return counts


_SCALARS = ("accuracy", "brier", "nll", "ece", "ece_equal_mass", "ece_debiased", "mce")
_OF_LABEL = ("precision", "recall", "f1")
_NAMES = (*_SCALARS, *(f"{name}.{label}" for label in LABELS for name in _OF_LABEL))


class _Table:
    """Samples as columns, sorted by confidence, so that every bin is a slice and a resample is one product a column."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        # Sorting by everything makes each sum, and each resample of a seed, independent of the order of the input.
        rows = sorted(samples, key=lambda s: (max(s.probabilities), s.probabilities, s.gold, s.weight))
        self.n = len(rows)
        self.confidence = [max(row.probabilities) for row in rows]
        self.weight = [row.weight for row in rows]
        self.gold = [row.gold for row in rows]
        hit = [float(top(row.probabilities) == row.gold) for row in rows]
        self.w_hit = list(map(mul, self.weight, hit))
        self.w_confidence = list(map(mul, self.weight, self.confidence))
        self.w_brier = [row.weight * brier_of(row) for row in rows]
        self.w_nll = [row.weight * nll_of(row) for row in rows]
        self.w_squared = list(map(mul, self.weight, self.weight))
        width_bin = [min(int(confidence * BINS), BINS - 1) for confidence in self.confidence]
        self.width_edges = [bisect_left(width_bin, index) for index in range(BINS + 1)]
        # Samples of equal confidence form one block, which no bin of equal mass splits.
        starts = [i for i in range(self.n) if i == 0 or self.confidence[i] != self.confidence[i - 1]]
        self.block_edges = [*starts, self.n]
        self.mass_bins = max(1, min(BINS, self.n // 2))
        cell = [top(row.probabilities) * len(LABELS) + row.gold for row in rows]
        order = sorted(range(self.n), key=cell.__getitem__)
        # itemgetter of a single index would give a number instead of a tuple.
        self.by_cell: Callable[[list[float]], tuple[float, ...]] = itemgetter(*order, order[0])
        self.cell_edges = [bisect_left([cell[i] for i in order], index) for index in range(len(LABELS) ** 2 + 1)]

    def metrics(self, counts: list[int]) -> tuple[float | None, ...]:
        """Values in the order of `_NAMES` when sample i counts `counts[i]` times."""
        weight = list(map(mul, counts, self.weight))
        hit = list(map(mul, counts, self.w_hit))
        confidence = list(map(mul, counts, self.w_confidence))
        squared = list(map(mul, counts, self.w_squared))
        total = sum(weight)
        width = _binned(self.width_edges, weight, hit, confidence)
        mass = _binned(self._mass_edges(weight), weight, hit, confidence, squared)
        return (
            sum(hit) / total,
            sum(map(mul, counts, self.w_brier)) / total,
            sum(map(mul, counts, self.w_nll)) / total,
            sum(abs(c - h) for _, h, c in width) / total,
            sum(abs(c - h) for _, h, c, _ in mass) / total,
            _debiased(mass),
            max(abs(c - h) / w for w, h, c in width),
            *_label_metrics(_sums(self.cell_edges, self.by_cell(weight))),
        )

    def _mass_edges(self, weight: list[float]) -> list[int]:
        """Cut into bins of equal mass: a block belongs to the bin in which its middle lies."""
        blocks, below = self.block_edges, [0.0, *accumulate(weight)]
        total = below[-1]

        def doubled_middle(block: int) -> float:
            return below[blocks[block]] + below[blocks[block + 1]]

        cuts = [
            blocks[bisect_left(range(len(blocks) - 1), 2.0 * total * k / self.mass_bins, key=doubled_middle)]
            for k in range(1, self.mass_bins)
        ]
        return [0, *cuts, self.n]

    def report(self, point: dict[str, float | None], intervals: dict[str, Interval], resamples: int) -> Report:
        def required(name: str) -> float:
            value = point[name]
            assert value is not None, f"{name} is defined for every sample"
            return value

        return Report(
            n=self.n,
            accuracy=required("accuracy"),
            brier=required("brier"),
            nll=required("nll"),
            ece=required("ece"),
            ece_equal_mass=required("ece_equal_mass"),
            ece_debiased=point["ece_debiased"],
            mce=required("mce"),
            per_label={label: self._label(index, label, point, intervals) for index, label in enumerate(LABELS)},
            ci95={name: intervals[name] for name in _SCALARS if name in intervals},
            bins=self._bins(),
            resamples=resamples,
        )

    def _label(
        self, index: int, label: Label, point: dict[str, float | None], intervals: dict[str, Interval]
    ) -> LabelMetrics:
        return LabelMetrics(
            n=self.gold.count(index),
            precision=point[f"precision.{label}"],
            recall=point[f"recall.{label}"],
            f1=point[f"f1.{label}"],
            ci95={name: intervals[key] for name in _OF_LABEL if (key := f"{name}.{label}") in intervals},
        )

    def _bins(self) -> tuple[Bin, ...]:
        total = sum(self.weight)
        bins = []
        for index, (start, end) in enumerate(pairwise(self.width_edges)):
            weight = sum(self.weight[start:end])
            bins.append(
                Bin(
                    low=index / BINS,
                    high=(index + 1) / BINS,
                    n=end - start,
                    share=weight / total,
                    confidence=sum(self.w_confidence[start:end]) / weight if weight else None,
                    accuracy=sum(self.w_hit[start:end]) / weight if weight else None,
                )
            )
        return tuple(bins)


def _sums(edges: Sequence[int], column: Sequence[float]) -> list[float]:
    return [sum(column[start:end]) for start, end in pairwise(edges)]


def _binned(edges: Sequence[int], *columns: Sequence[float]) -> list[tuple[float, ...]]:
    """Sums of each column in each bin that holds anything; the first column is the weight."""
    return [row for row in zip(*(_sums(edges, column) for column in columns), strict=True) if row[0] > 0.0]


def _debiased(bins: list[tuple[float, ...]]) -> float | None:
    """Root of the mean squared gap, less the part that is only the noise of each bin's accuracy.

    Rows are sums of weight, weighted hit, weighted confidence and squared weight. A bin's effective size is
    Kish's (sum of w)^2 / (sum of w^2); bins below two have no estimate of their noise and are left out.
    """
    squared_gap, included = 0.0, 0.0
    for weight, hit, confidence, squared in bins:
        size, accuracy = weight * weight / squared, hit / weight
        if size < 2.0 - 1e-9:
            continue
        noise = accuracy * (1.0 - accuracy) / (size - 1.0)
        squared_gap += weight * (((confidence - hit) / weight) ** 2 - noise)
        included += weight
    return math.sqrt(max(squared_gap / included, 0.0)) if included else None


def _label_metrics(cells: Sequence[float]) -> list[float | None]:
    """Precision, recall and f1 of each label, from the weights of (predicted, gold) cells, row by row."""
    size = len(LABELS)
    values: list[float | None] = []
    for index in range(size):
        right = cells[index * size + index]
        predicted = sum(cells[index * size : (index + 1) * size])
        reviewed = sum(cells[index::size])
        values += [_ratio(right, predicted), _ratio(right, reviewed), _ratio(2.0 * right, predicted + reviewed)]
    return values


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0.0 else None
