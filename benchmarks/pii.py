"""How much private data the detectors find and how much of what they find is private, beside plain patterns.

    python -m benchmarks.pii --data DATA
    python -m benchmarks.pii --data DATA --missed --json

English: `DATA/pii/english.jsonl.gz`, texts made from templates with the places of private data. Japanese and hard:
our own lines in `pii_japanese.txt` and `pii_hard.txt`, the latter written to be missed. Unmarked texts (`DATA/nli`)
show how often something is found where hardly anything private stands; `--missed` prints those findings, to be read.
Beside it in the same run: the five patterns of the design document (`seed`). A span counts as found when a finding of
its type overlaps it; a finding is right when it overlaps such a span.
"""

import argparse
import gzip
import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from lyra_mcp.domain.redaction import TYPES, Finding, find

OWN_SETS = {"japanese": "pii_japanese.txt", "hard": "pii_hard.txt"}
PHONES = frozenset({"phone_jp", "phone_intl"})
#: What the English set calls our types. Other types of it (names, addresses, dates) have no pattern.
ENGLISH = {
    "CREDIT_CARD": frozenset({"credit_card"}),
    "EMAIL_ADDRESS": frozenset({"email"}),
    "PHONE_NUMBER": PHONES,
    "US_SSN": frozenset({"ssn"}),
    "IBAN_CODE": frozenset({"iban"}),
    "IP_ADDRESS": frozenset({"ip_address"}),
}
SEED = {
    "email": r"\b[A-Z0-9._%+-]+@[A-Z0-9.-]+\.[A-Z]{2,}\b",
    "phone_jp": r"\d{2,4}-\d{2,4}-\d{4}",
    "phone_intl": r"\+\d{1,3}[-\s]?\d{1,4}[-\s]?\d{1,4}[-\s]?\d{1,4}",
    "credit_card": r"\d{4}[-\s]?\d{4}[-\s]?\d{4}[-\s]?\d{4}",
    "ssn": r"\d{3}-\d{2}-\d{4}",
}
#: Sets of texts about anything, in the data folder's `nli`.
UNMARKED = ("dev", "scifact", "ja_train")
SHORT_CHARS = 100
LONG_CHARS = 200_000
REPEATS = 5

Detect = Callable[[str], Sequence[Finding]]


@dataclass(frozen=True)
class Marked:
    text: str
    #: (type as the set calls it, start, end)
    spans: list[tuple[str, int, int]]


def find_by_seed(text: str) -> list[Finding]:
    return [
        Finding(name, match.start(), match.end(), 1.0)
        for name, pattern in SEED.items()
        for match in re.finditer(pattern, text, re.IGNORECASE)
    ]


DETECTORS: dict[str, Detect] = {"Lyra": find, "seed": find_by_seed}


def read_english(data: Path) -> list[Marked]:
    with gzip.open(data / "pii" / "english.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [Marked(row["text"], [tuple(span) for span in row["spans"]]) for row in rows]


def read_own(name: str) -> list[Marked]:
    lines = (Path(__file__).parent / OWN_SETS[name]).read_text(encoding="utf-8").splitlines()
    return [_unmark(line) for line in lines if line]


def types_of(marked: Sequence[Marked]) -> dict[str, frozenset[str]]:
    return {name: frozenset({name}) for name in TYPES if any(name == span[0] for one in marked for span in one.spans)}


def read_unmarked(data: Path, name: str) -> list[str]:
    with gzip.open(data / "nli" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return sorted({row[part] for row in rows for part in ("premise", "hypothesis")})


def find_in_unmarked(texts: Sequence[str], detect: Detect) -> dict[str, Any]:
    found = [text[max(0, one.start - 20) : one.end + 10] for text in texts for one in detect(text)]
    return {"texts": len(texts), "findings": len(found), "found": found}


def _unmark(line: str) -> Marked:
    """`電話は<phone_jp>03-...</phone_jp>` as the text without marks, and where they stood."""
    text, spans, done = "", [], 0
    for mark in re.finditer(r"<(?P<type>[a-z_]+)>(?P<private>.*?)</(?P=type)>", line):
        text += line[done : mark.start()]
        spans.append((mark["type"], len(text), len(text) + len(mark["private"])))
        text += mark["private"]
        done = mark.end()
    return Marked(text + line[done:], spans)


def score(marked: Sequence[Marked], names: dict[str, frozenset[str]], detect: Detect) -> dict[str, Any]:
    found = [(one, detect(one.text)) for one in marked]
    return {name: _score_type(found, name, ours) for name, ours in names.items()}


def _score_type(found: Iterable[tuple[Marked, Sequence[Finding]]], name: str, ours: frozenset[str]) -> dict[str, Any]:
    spans = hits = exact = findings = right = 0
    missed, wrong = [], []
    for one, all_findings in found:
        gold = [(start, end) for type_, start, end in one.spans if type_ == name]
        mine = [(finding.start, finding.end) for finding in all_findings if finding.type in ours]
        spans, findings = spans + len(gold), findings + len(mine)
        for start, end in gold:
            hit = any(s < end and e > start for s, e in mine)
            hits += hit
            exact += (start, end) in mine
            missed += [] if hit else [one.text[start:end]]
        for start, end in mine:
            is_right = any(s < end and e > start for s, e in gold)
            right += is_right
            wrong += [] if is_right else [one.text[start:end]]
    return {
        "spans": spans,
        "recall": hits / spans if spans else None,
        "exact": exact / spans if spans else None,
        "precision": right / findings if findings else None,
        "missed": missed,
        "wrong": wrong,
    }


def speed(english: Sequence[Marked], detect: Detect) -> dict[str, float]:
    """Processor milliseconds: a text of at most 100 characters, and 200,000 characters in one."""
    short = [one.text for one in english if len(one.text) <= SHORT_CHARS]
    long = "\n".join(one.text for one in english)
    long = (long * (LONG_CHARS // len(long) + 1))[:LONG_CHARS]
    return {
        "short_ms": _cpu_ms(lambda: [detect(text) for text in short]) / len(short),
        "long_ms": _cpu_ms(lambda: detect(long)),
    }


def _cpu_ms(act: Callable[[], object]) -> float:
    took = []
    for _ in range(REPEATS):
        begun = time.process_time()
        act()
        took.append(time.process_time() - begun)
    return 1000 * median(took)


def measure(data: Path) -> dict[str, Any]:
    english = read_english(data)
    own = {name: read_own(name) for name in OWN_SETS}
    unmarked = {name: read_unmarked(data, name) for name in UNMARKED}
    return {
        name: {
            "english": score(english, ENGLISH, detect),
            **{set_: score(marked, types_of(marked), detect) for set_, marked in own.items()},
            "unmarked": {set_: find_in_unmarked(texts, detect) for set_, texts in unmarked.items()},
            **speed(english, detect),
        }
        for name, detect in DETECTORS.items()
    }


def show(outcome: dict[str, Any], *, missed: bool) -> None:
    console = Console(width=120)
    for language in ("english", *OWN_SETS):
        columns = [f"{name} {figure}" for name in outcome for figure in ("recall", "exact", "precision")]
        table = Table(language, "n", *columns)
        for type_, first in outcome["Lyra"][language].items():
            rows = [outcome[name][language][type_] for name in outcome]
            shares = [_share(row[figure]) for row in rows for figure in ("recall", "exact", "precision")]
            table.add_row(type_, str(first["spans"]), *shares)
        console.print(table)
    table = Table("unmarked", "texts", *[f"{name} findings" for name in outcome])
    for set_, first in outcome["Lyra"]["unmarked"].items():
        findings = [str(outcome[name]["unmarked"][set_]["findings"]) for name in outcome]
        table.add_row(set_, str(first["texts"]), *findings)
    console.print(table)
    table = Table("processor time", "100 characters at most, ms", "200,000 characters, ms")
    for name, figures in outcome.items():
        table.add_row(name, f"{figures['short_ms']:.4f}", f"{figures['long_ms']:.0f}")
    console.print(table)
    if missed:
        for set_, row in outcome["Lyra"]["unmarked"].items():
            console.print(set_, row["found"], markup=False)
        for language in ("english", *OWN_SETS):
            for type_, row in outcome["Lyra"][language].items():
                if row["missed"] or row["wrong"]:
                    console.print(language, type_, "missed", row["missed"], "wrong", row["wrong"], markup=False)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with pii/english.jsonl.gz")
    parser.add_argument("--missed", action="store_true", help="show what was missed and what was wrong")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    outcome = measure(options.data)
    if options.json:
        print(json.dumps(outcome, indent=1, ensure_ascii=False))
    else:
        show(outcome, missed=options.missed)


if __name__ == "__main__":
    main()
