"""The tables of the demonstration, as a person reads them in a terminal."""

from collections.abc import Iterable
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

Answer = dict[str, Any]

COLOURS = {"supports": "green", "refutes": "red", "neutral": "yellow"}
BAR_CHARS = 8
TEXT_CHARS_MAX = 90
#: name in the report, what a person reads, and which direction is better
METRICS = (
    ("accuracy", "right labels", "more is better"),
    ("brier", "Brier score, 0 to 2", "less is better"),
    ("nll", "log-likelihood, nats", "less is better"),
    ("ece", "calibration error (ECE)", "less is better"),
    ("mce", "worst bin (MCE)", "less is better"),
)


def label(name: str, confidence: float | None = None) -> Text:
    words = name if confidence is None else f"{name} {confidence:.2f}"
    return Text(words, style=COLOURS.get(name, ""))


def short(text: str) -> str:
    return text if len(text) <= TEXT_CHARS_MAX else f"{text[: TEXT_CHARS_MAX - 1].rstrip()}…"


def claims(rows: Iterable[tuple[str, Answer, Answer | None]]) -> Table:
    """Scores of claims; with an earlier score beside them where there is one.

    The rows are (claim, score now, score before).
    """
    table = _table("Claim", "support ratio", "±", "s / r / n")
    for claim, now, before in rows:
        table.add_row(
            claim,
            _ratio(now, before),
            f"{now['uncertainty']:.2f}",
            f"{now['supports']} / {now['refutes']} / {now['neutral']}",
        )
    return table


def _ratio(now: Answer, before: Answer | None) -> Text:
    ratio = float(now["support_ratio"])
    filled = round(ratio * BAR_CHARS)
    bar = Text("█" * filled, style="green") + Text("░" * (BAR_CHARS - filled), style="red")
    bar.append(f" {ratio:.2f}")
    if before is not None and round(before["support_ratio"], 2) != round(ratio, 2):
        bar.append(f" was {before['support_ratio']:.2f}", style="dim")
    return bar


def corrections(rows: Iterable[Answer]) -> Table:
    table = _table("Evidence → claim", "Lyra said", "the person", "came up")
    for row in rows:
        pair = Text(short(row["premise"])) + Text(f"\n→ {row['hypothesis']}", style="dim")
        table.add_row(pair, label(row["said"], row["confidence"]), label(row["answer"]), row["selected"])
    return table


def memory(rows: Iterable[Answer]) -> Table:
    table = _table("Asked now", "the model", "Lyra", "because")
    for row in rows:
        pair = Text(short(row["premise"])) + Text(f"\n→ {row['hypothesis']}", style="dim")
        table.add_row(pair, label(row["model"]), label(row["answer"], row["confidence"]), row["because"])
    return table


def recalled(rows: Iterable[Answer]) -> Table:
    table = _table("Asked", "found first", "because")
    for row in rows:
        style = "green" if row["rank"] == 1 else "yellow"
        table.add_row(row["question"], Text(short(row["first"]), style=style), row["why"])
    for column in table.columns[1:]:
        column.no_wrap = False
    return table


def prompts(rows: Iterable[tuple[str, list[Answer], int]]) -> Table:
    """When it was asked for, the examples in it, and its length in tokens."""
    table = _table("Examples in the prompt", "asked for", "tokens")
    for when, examples, tokens in rows:
        shown = "\n".join(f"{example['user']}\n→ {example['assistant']}" for example in examples)
        table.add_row(shown or Text("none", style="dim"), when, str(tokens))
    return table


def preference(key: str, before: Answer, after: Answer) -> Table:
    table = _table("Preference", "before", "now", "confidence", "evidence")
    confidence = "-" if after["confidence"] is None else f"{after['confidence']:.2f}"
    now = Text(f"{after['value']} ({after['source']})", style="green" if after["source"] == "learned" else "yellow")
    table.add_row(key, f"{before['value']} ({before['source']})", now, confidence, str(after["evidence_count"]))
    return table


def metrics(columns: dict[str, Answer | None]) -> Table:
    """One column for each report, the 95 % interval in brackets."""
    known = {name: report for name, report in columns.items() if report is not None}
    table = _table("", *(f"{name} (n = {report['n']})" for name, report in known.items()))
    for metric, words, direction in METRICS:
        cells = [_with_interval(report, metric) for report in known.values()]
        table.add_row(Text(words) + Text(f"\n{direction}", style="dim"), *cells)
    return table


def _with_interval(report: Answer, metric: str) -> Text:
    cell = Text(f"{report[metric]:.3f}")
    if found := report["ci95"].get(metric):
        cell.append(f"\n[{found['low']:.3f}, {found['high']:.3f}]", style="dim")
    return cell


def fit(outcome: Answer, temperature_before: float) -> Table:
    table = _table("Temperature", "log-likelihood on unseen reviews", "gain, with 95 % interval", "kept")
    table.add_row(
        f"{temperature_before:.2f} → {outcome['temperature']:.2f}",
        f"{outcome['nll_before']:.3f} → {outcome['nll_after']:.3f}",
        f"{outcome['gain']:+.3f} [{outcome['gain_low']:+.3f}, {outcome['gain_high']:+.3f}]",
        Text("yes", style="green") if outcome["is_kept"] else Text("no", style="yellow"),
    )
    return table


def jargon(rows: Iterable[tuple[str, str]]) -> Table:
    table = _table("The team's word", "what the team means by it")
    for word, meaning in rows:
        table.add_row(word, meaning)
    return table


def triggers(found: dict[str, Answer]) -> Table:
    table = _table("Trigger", "now", "wanted", "met")
    for name, trigger in found.items():
        value = "never" if trigger["value"] is None else f"{trigger['value']:.3g}"
        table.add_row(name.replace("_", " "), value, f"{trigger['threshold']:g}", _met(trigger["met"]))
    return table


def gate(conditions: Iterable[Answer]) -> Table:
    table = _table("The gate wants", "value", "threshold", "met")
    for condition in conditions:
        name = Text(condition["name"].replace("_", " ")) + Text(f"\n{condition['detail']}", style="dim")
        value = "none" if condition["value"] is None else f"{condition['value']:.3f}"
        table.add_row(name, value, f"{condition['threshold']:.3f}", _met(condition["met"]))
    return table


def exam(rows: Iterable[tuple[str, list[Answer]]], columns: Iterable[str]) -> Table:
    """How many answers were right, one column for each time of asking."""
    table = _table("Right answers", *columns)
    for name, sheets in rows:
        table.add_row(name, *(f"{sheet['right']} of {sheet['n']} = {sheet['accuracy']:.2f}" for sheet in sheets))
    return table


def better(rows: Iterable[Answer]) -> Table:
    table = _table("Never corrected", "the base", "retrained")
    for row in rows:
        pair = Text(short(row["premise"])) + Text(f"\n→ {row['hypothesis']}", style="dim")
        table.add_row(pair, label(row["before"]), label(row["after"]))
    return table


def versions(rows: Iterable[Answer]) -> Table:
    table = _table("Version", "samples", "recipe", "passed the gate", "names")
    for row in rows:
        names = ", ".join(row["aliases"]) or "-"
        table.add_row(str(row["version"]), str(row["samples"]), row["recipe_name"], _met(row["gate"]["passed"]), names)
    return table


def _met(is_met: bool) -> Text:
    return Text("yes", style="green") if is_met else Text("no", style="red")


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", padding=(0, 1))
    table.add_column(first, ratio=1)
    for name in others:
        table.add_column(name, no_wrap=len(others) > 1)
    return table
