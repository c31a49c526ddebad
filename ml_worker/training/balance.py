"""How evenly the reviewed samples cover labels and sources, and what to warn a person about."""

from collections import Counter
from collections.abc import Iterable, Sequence

from schema.jobs import Sample, dominant_domain
from schema.reports import Counted
from schema.vocabulary import LABELS

LABEL_SAMPLES_MIN = 10
DOMAINS_SHOWN = 20


def counted(names: Iterable[str], most: int | None = None) -> list[Counted]:
    """Largest first; equal counts in the order of the names."""
    counts = Counter(names).items()
    return [Counted(name=name, n=n) for name, n in sorted(counts, key=lambda item: (-item[1], item[0]))[:most]]


def label_counts(samples: Sequence[Sample]) -> list[Counted]:
    """Every label, also one without a sample."""
    counts = Counter(sample.label for sample in samples)
    return [Counted(name=label, n=counts[label]) for label in LABELS]


def domain_counts(samples: Sequence[Sample]) -> list[Counted]:
    return counted((sample.domain or "(no source)" for sample in samples if sample.label is not None), DOMAINS_SHOWN)


def chars_mean(samples: Sequence[Sample]) -> float:
    reviewed = [sample for sample in samples if sample.label is not None]
    return sum(len(sample.premise) + len(sample.hypothesis) for sample in reviewed) / len(reviewed)


def balance_warnings(samples: Sequence[Sample], *, names_domain: bool = True) -> list[str]:
    """Sentences for a person; none when the samples are even enough.

    `names_domain`: not where the sentences lie in plain and the samples do not.
    """
    warnings = []
    if dominant := dominant_domain(samples):
        domain, share = dominant
        warnings.append(
            f"{share:.0%} of the samples with a source come from "
            f"{domain if names_domain else 'one site'}: it may learn the site"
        )
    warnings += [
        f"only {count.n} samples say {count.name}: its scores mean little"
        for count in label_counts(samples)
        if count.n < LABEL_SAMPLES_MIN
    ]
    return warnings
