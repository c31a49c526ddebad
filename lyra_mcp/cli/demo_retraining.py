"""The second half of the demonstration: a hundred corrections and more become a model that serves, and back again."""

from dataclasses import dataclass, field
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from lyra_mcp.cli import demo_tables as tables
from lyra_mcp.cli.demo_corrections import JARGON, Pair, everyday_pairs, exam_pairs, teaching_pairs
from lyra_mcp.cli.demo_host import CallFailed, Host
from lyra_mcp.cli.demo_script import Script
from lyra_mcp.cli.demo_tables import Answer
from lyra_mcp.settings import Settings
from schema.wire import PAIRS_MAX

#: A base that is already right on a third of the pairs leaves too few corrections for the usual threshold.
TRIGGER_CORRECTIONS = 50
#: For so few pairs about something so new.
RECIPE = "small"
#: Between two looks at the job.
WAIT_S = 2.0
CORRECTIONS_SHOWN = 4
BETTER_SHOWN = 6
RUNNING = frozenset({"preparing", "training", "evaluating", "gated"})

TRIGGER_NOTE = (
    f"This server asks for {TRIGGER_CORRECTIONS} corrections instead of the usual "
    f"{Settings.model_fields['trigger_corrections'].default} (LYRA_TRIGGER_CORRECTIONS): the script corrects only "
    "where the model is wrong, and confirms the rest."
)
FORCE_REASON = "a demonstration: it goes on although the gate said no"


@dataclass
class Sheet:
    """The answers to one list of pairs, in its order."""

    pairs: list[Pair]
    labels: list[str]

    @property
    def score(self) -> Answer:
        right = sum(label == pair.label for label, pair in zip(self.labels, self.pairs, strict=True))
        return {"right": right, "n": len(self.pairs), "accuracy": round(right / len(self.pairs), 4)}


#: What is asked each time.
EXAMS: dict[str, list[Pair]] = {"the team's jargon": exam_pairs(), "everyday sentences": everyday_pairs()}
#: When it is asked.
BEFORE, AFTER, ROLLED_BACK = "base", "retrained", "rolled back"


@dataclass
class Retraining:
    script: Script
    host: Host
    #: time of asking → name of the exam → answers
    sheets: dict[str, dict[str, Sheet]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)

    async def sit_exam(self, when: str) -> None:
        self.sheets[when] = {name: await _ask(self.host, pairs) for name, pairs in EXAMS.items()}
        self.summary.setdefault("exams", {})[when] = {name: sheet.score for name, sheet in self.sheets[when].items()}

    def print_scores(self) -> None:
        scores = self.summary["exams"]
        rows = [(name, [scores[when][name] for when in scores]) for name in EXAMS]
        self.script.console.print(tables.exam(rows, scores))

    async def teach(self) -> None:
        console, pairs = self.script.console, teaching_pairs()
        sentence = f"A team has words of its own. Over some weeks the person reviews {len(pairs)} pairs with them."
        async with self.script.begin("teach", sentence):
            await self.sit_exam(BEFORE)
            console.print(tables.jargon((word.word, word.meaning) for word in JARGON))
            reviews = await _correct(self.host, pairs)
            corrected = [review for review in reviews if review["is_correction"]]
            self.summary["reviews"] = {"n": len(reviews), "corrections": len(corrected)}
            console.print(
                f"\n{len(reviews)} answers, {len(corrected)} of them corrections, the others confirm. Some of them:"
            )
            console.print(tables.corrections(corrected[:CORRECTIONS_SHOWN]))
            console.print(
                "\nAn exam of pairs that nobody corrects, the same words in other sentences about other tickets, and "
                "everyday sentences without them (a third would be chance):\n"
            )
            self.print_scores()

    async def plan(self) -> None:
        sentence = "Is a training worth it, on what, and how long? Planning starts nothing."
        async with self.script.begin("plan", sentence):
            planned = await self.host.call("finetune", action="plan", recipe=RECIPE)
            if not planned["eligible"]:
                raise CallFailed(planned["obstacle"])
            self.summary["plan"] = _without(planned, "next_step")
            estimate = planned["estimate_s"]
            about = "unknown" if estimate is None else f"{estimate:.0f} s"
            self.script.console.print(tables.triggers(planned["triggers"]))
            self.script.console.print(
                f"\n{TRIGGER_NOTE}\nSamples: {_counts(planned['data'])}. Recipe {RECIPE!r} on the {planned['device']}, "
                f"estimated training time {about}, cost {planned['cost']:g}."
            )

    async def train(self) -> None:
        sentence = "A process of its own trains the adapter; the server goes on answering meanwhile."
        async with self.script.begin("train", sentence):
            ready = all(trigger["met"] for trigger in self.summary["plan"]["triggers"].values())
            started = await self.host.call("finetune", action="start", recipe=RECIPE, force=not ready)
            self.script.console.print(f'The server asked: "{self.host.questions[-1]}" The person said yes.')
            if not ready:
                self.script.console.print("Not all triggers are met; the demonstration starts it with force=true.")
            job = await self._follow(started["job_id"])
            self.summary["job"] = {"forced": not ready, **job}
            if job["state"] != "candidate":
                raise CallFailed(f"the training ended as {job['state']}: {job['problem']}")

    async def _follow(self, job_id: str) -> Answer:
        """Show the progress until the job needs somebody."""
        console = self.script.console
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
        with Progress(*columns, TimeElapsedColumn(), console=console, disable=console.quiet) as bar:
            task = bar.add_task("preparing", total=None, said="")
            while True:
                [job] = (await self.host.call("finetune_status", job_id=job_id, wait_s=WAIT_S))["jobs"]
                done = job["progress"] or {"step": 0, "steps": None, "loss": None}
                loss = "" if done["loss"] is None else f", loss {done['loss']:.2f}"
                said = f"step {done['step']} of {done['steps']}{loss}" if done["steps"] else ""
                bar.update(task, description=job["state"], total=done["steps"], completed=done["step"], said=said)
                if job["state"] not in RUNNING:
                    return dict(job)

    async def judge(self) -> None:
        sentence = "The new adapter is a candidate. It may serve only if it beats the base on pairs it has not seen."
        async with self.script.begin("gate", sentence):
            job = self.summary["job"]
            base, candidate = job["metrics"]["base"], job["metrics"]["candidate"]
            self.script.console.print(tables.gate(job["gate"]["conditions"]))
            verdict = "[green]The gate says yes.[/]" if job["gate"]["passed"] else "[red]The gate says no.[/]"
            self.script.console.print(
                f"\n{verdict} Held out: {candidate['n']} of the reviewed pairs; accuracy {base['accuracy']:.3f} → "
                f"{candidate['accuracy']:.3f}, Brier score {base['brier']:.3f} → {candidate['brier']:.3f}."
            )

    async def activate(self) -> None:
        sentence = "Even so nothing changes until the person says yes; then the exam is taken again."
        async with self.script.begin("activate", sentence):
            passed, version = self.summary["job"]["gate"]["passed"], self.summary["job"]["version"]
            console = self.script.console
            if passed:
                how: dict[str, str | bool] = {"reason": "passed the gate"}
            else:
                console.print(
                    "It did not pass, so it would not serve. Because this is a demonstration, the person lets it serve "
                    "all the same, with force=true and a reason; both are kept on record.\n"
                )
                how = {"reason": FORCE_REASON, "force": True}
            activated = await self.host.call("adapters", action="activate", version=version, **how)
            self.summary["activation"] = {"asked": self.host.questions[-1], "forced": not passed, **activated}
            console.print(f'The server asked: "{self.host.questions[-1]}" The person said yes.\n')
            await self.sit_exam(AFTER)
            self.print_scores()
            self._print_changes()

    def _print_changes(self) -> None:
        better, worse = self._changes()
        self.summary["changes"] = {"better": len(better), "worse": len(worse), "examples": better[:BETTER_SHOWN]}
        self.script.console.print(
            f"\nOf the jargon's pairs, {len(better)} are right now that were wrong, and {len(worse)} the other way "
            f"round.{' Some of the better ones:' if better else ''}\n"
        )
        if better:
            # From all over the exam, not its first words only.
            self.script.console.print(tables.better(better[:: -(-len(better) // BETTER_SHOWN)]))

    def _changes(self) -> tuple[list[Answer], list[Answer]]:
        """The exam's pairs that became right, and those that became wrong."""
        name = next(iter(EXAMS))
        before, after = self.sheets[BEFORE][name], self.sheets[AFTER][name]
        rows = [
            {"premise": pair.evidence, "hypothesis": pair.claim, "label": pair.label, "before": was, "after": now}
            for pair, was, now in zip(before.pairs, before.labels, after.labels, strict=True)
            if was != now
        ]
        return (
            [row for row in rows if row["after"] == row["label"]],
            [row for row in rows if row["before"] == row["label"]],
        )

    async def roll_back(self) -> None:
        sentence = "And back in one call: the base answers again, the version stays for another day."
        async with self.script.begin("roll back", sentence):
            back = await self.host.call("adapters", action="rollback", reason="the demonstration ends")
            self.script.console.print(f'The server asked: "{self.host.questions[-1]}" The person said yes.\n')
            await self.sit_exam(ROLLED_BACK)
            self.print_scores()
            n = sum(len(pairs) for pairs in EXAMS.values())
            same = sum(
                was == now
                for name in EXAMS
                for was, now in zip(
                    self.sheets[BEFORE][name].labels, self.sheets[ROLLED_BACK][name].labels, strict=True
                )
            )
            listed = await self.host.call("adapters", action="list")
            self.summary["rollback"] = {**_without(back, "next_step"), "same_as_base": same, "asked_again": n}
            self.summary |= {"versions": listed["versions"], "events": listed["events"]}
            self.script.console.print(f"\n{same} of {n} answers are the base's again.\n")
            self.script.console.print(tables.versions(listed["versions"]))


async def retrain(script: Script, host: Host) -> None:
    retraining = Retraining(script, host)
    script.summary["retraining"] = retraining.summary
    await retraining.teach()
    await retraining.plan()
    await retraining.train()
    await retraining.judge()
    await retraining.activate()
    await retraining.roll_back()


async def _ask(host: Host, pairs: list[Pair]) -> Sheet:
    labels = []
    for start in range(0, len(pairs), PAIRS_MAX):
        asked = [{"premise": pair.evidence, "hypothesis": pair.claim} for pair in pairs[start : start + PAIRS_MAX]]
        labels += [result["label"] for result in (await host.call("judge", pairs=asked))["results"]]
    return Sheet(pairs, labels)


async def _correct(host: Host, pairs: list[Pair]) -> list[Answer]:
    """Store every pair and give the person's label for it."""
    of_claim: dict[str, list[Pair]] = {}
    for pair in pairs:
        of_claim.setdefault(pair.claim, []).append(pair)
    reviews = []
    for claim, lessons in of_claim.items():
        fragments = [{"text": pair.evidence, "source_url": pair.source_url} for pair in lessons]
        stored = await host.call("add_evidence", claim=claim, fragments=fragments)
        for pair, edge in zip(lessons, stored["edges"], strict=True):
            reviewed = await host.call(
                "feedback", action="edge_correct", edge_id=edge["edge_id"], correct_label=pair.label
            )
            reviews.append(
                {
                    "premise": pair.evidence,
                    "hypothesis": pair.claim,
                    "said": edge["label"],
                    "confidence": edge["confidence"],
                    "answer": pair.label,
                    "selected": "by the person",
                    "is_correction": reviewed["is_correction"],
                }
            )
    return reviews


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in counts.items())


def _without(answer: Answer, *names: str) -> Answer:
    return {name: value for name, value in answer.items() if name not in names}
