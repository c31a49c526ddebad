"""Which reviewed samples train, which stop the training in time, and which are held out.

Stratified by label, seeded, and grouped: samples of one page, or with the same premise, are never
on two sides. A group that an earlier version trained on is never held out.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schema.jobs import Sample, premise_key

HOLDOUT_SHARE = 0.2


@dataclass(frozen=True)
class Split:
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    holdout: tuple[Sample, ...]


def groups(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Join samples that share a page or a premise, also through a third one."""
    parent = list(range(len(samples)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[tuple[str, str], int] = {}
    for i, sample in enumerate(samples):
        keys = [("premise", premise_key(sample.premise))]
        if sample.page_id is not None:
            keys.append(("page", sample.page_id))
        for key in keys:
            parent[root(i)] = root(first.setdefault(key, i))
    members: dict[int, list[Sample]] = defaultdict(list)
    for i, sample in enumerate(samples):
        members[root(i)].append(sample)
    return list(members.values())


def _rank(group: Sequence[Sample], seed: int) -> str:
    """A random order that stays the same for a group when other samples come in."""
    name = min(sample.sample_id for sample in group)
    return hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest()


def _miss(taken: Counter[str], group: Counter[str], wanted: Mapping[str, float]) -> float:
    """How much taking the group would change the squared distance from the wanted counts."""
    return sum(
        (taken[label] + n - wanted[label]) ** 2 - (taken[label] - wanted[label]) ** 2 for label, n in group.items()
    )


def take(samples: Sequence[Sample], share: float, seed: int) -> set[str]:
    """Ids of whole groups that together come as near to `share` of every label as groups allow."""
    wanted = {label: n * share for label, n in Counter(str(s.label) for s in samples).items()}
    taken: Counter[str] = Counter()
    chosen: set[str] = set()
    together = groups(samples)
    # Pinned groups first, then large ones, while there is still room to even them out.
    for group in sorted(together, key=lambda g: (not _is_pinned(g), -len(g), _rank(g, seed))):
        counts = Counter(str(sample.label) for sample in group)
        earlier = {sample.earlier for sample in group}
        if "train" in earlier or ("holdout" not in earlier and _miss(taken, counts, wanted) >= 0):
            continue
        taken += counts
        chosen.update(sample.sample_id for sample in group)
    return chosen


def _is_pinned(group: Sequence[Sample]) -> bool:
    return any(sample.earlier is not None for sample in group)


def split(samples: Sequence[Sample], *, seed: int, validation_share: float) -> Split:
    """Divide the reviewed samples; the order within a part is that of `samples`.

    A label with one sample goes to training: a score on one would mean nothing.
    """
    reviewed = [sample for sample in samples if sample.label is not None]
    held_out = take(reviewed, HOLDOUT_SHARE, seed)
    rest = [sample for sample in reviewed if sample.sample_id not in held_out]
    # Validation samples were not trained on either, but they did choose the epoch: "train" for the next version.
    free = [sample.model_copy(update={"earlier": None}) for sample in rest]
    watched = take(free, validation_share, seed + 1)
    return Split(
        train=tuple(sample for sample in rest if sample.sample_id not in watched),
        validation=tuple(sample for sample in rest if sample.sample_id in watched),
        holdout=tuple(sample for sample in reviewed if sample.sample_id in held_out),
    )
