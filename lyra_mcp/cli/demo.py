"""The demonstration: corrections and memories through a real client, server and worker, a script as the person."""

import asyncio
import json
import time
from dataclasses import dataclass

from rich.console import Console
from rich.panel import Panel

from lyra_mcp.cli import demo_tables as tables
from lyra_mcp.cli.demo_assistant import assist
from lyra_mcp.cli.demo_evidence import BLOCKED_PATTERN, CLAIMS, TOPIC, UNRELATED_HYPOTHESIS, UNRELATED_PREMISE, Evidence
from lyra_mcp.cli.demo_host import Host, start_server
from lyra_mcp.cli.demo_retraining import TRIGGER_CORRECTIONS, retrain
from lyra_mcp.cli.demo_script import Script
from lyra_mcp.cli.demo_tables import Answer

#: How many of the edges the person looks at.
REVIEWS = 24
REVIEWS_PER_CALL = 8
CORRECTIONS_SHOWN = 6
MEMORIES_SHOWN = 3
WIDTH_MAX = 110
#: Longer than any run on a slow machine should take.
QUICK_TIMEOUT_S = 240.0
TIMEOUT_S = 1800.0

#: (premise, hypothesis) → what the script knows of the pair.
EVIDENCE: dict[tuple[str, str], Evidence] = {
    (evidence.text, topic.claim): evidence for topic in CLAIMS for evidence in topic.evidence
}


@dataclass
class Demo(Script):
    #: Without the retraining.
    is_quick: bool = False

    async def run(self) -> None:
        started = time.monotonic()
        timeout_s = QUICK_TIMEOUT_S if self.is_quick else TIMEOUT_S
        settings = {"LYRA_TRIGGER_CORRECTIONS": TRIGGER_CORRECTIONS, "LYRA_TOOLS": "full"}
        async with asyncio.timeout(timeout_s), start_server(**settings) as host:
            await self.greet(host)
            claim_ids = await self.store(host)
            reviews = await self.review(host)
            await self.show_scores(host, claim_ids, "after_corrections")
            await self.remember(host, reviews)
            await self.block(host, claim_ids)
            await self.measure(host)
            await self.calibrate(host)
            await assist(self, host)
            if not self.is_quick:
                await retrain(self, host)
            self.step = "stop the server and its worker"
        self.summary |= {"ok": True, "seconds": round(time.monotonic() - started, 1)}

    async def greet(self, host: Host) -> None:
        sentence = "A host such as Claude starts the server; the first question starts the worker with the model."
        async with self.begin("start", sentence):
            listed = await host.client.list_tools()
            asked = time.monotonic()
            judged = await host.call_when_warm(
                "judge", pairs=[{"premise": UNRELATED_PREMISE, "hypothesis": UNRELATED_HYPOTHESIS}]
            )
            served_by = judged["served_by"]
            self.summary["server"] = {
                "handshake_s": round(host.handshake_s, 2),
                "protocol": host.client.protocol_version,
                "tools": [tool.name for tool in listed.tools],
                "first_answer_s": round(time.monotonic() - asked, 2),
                "served_by": served_by,
            }
            self.console.print(
                f"Handshake {host.handshake_s:.1f} s, protocol {host.client.protocol_version}, "
                f"{len(listed.tools)} tools; first answer, models loaded, after "
                f"{self.summary['server']['first_answer_s']:.1f} s.\n"
                f"Answers come from the base {served_by['base_model']!r} ({served_by['fingerprint'][:12]}) "
                f"on {served_by['device']}."
            )

    async def store(self, host: Host) -> list[str]:
        sentence = f"The agent stores {len(CLAIMS)} claims with {len(EVIDENCE)} pieces of evidence; Lyra judges each."
        async with self.begin("evidence", sentence):
            asked = time.monotonic()
            stored = [
                await host.call(
                    "add_evidence",
                    claim=topic.claim,
                    fragments=[{"text": each.text, "source_url": each.source_url} for each in topic.evidence],
                )
                for topic in CLAIMS
            ]
            took_s = time.monotonic() - asked
            self.summary["claims"] = [
                {"claim": topic.claim, "at_first": answer["score"]}
                for topic, answer in zip(CLAIMS, stored, strict=True)
            ]
            self.console.print(tables.claims((row["claim"], row["at_first"], None) for row in self.summary["claims"]))
            self.console.print(
                f"\n{len(EVIDENCE)} pairs judged and stored in {took_s:.1f} s. s / r / n: how many pieces support, "
                "refute, or say nothing. The support ratio weighs them by confidence; it is no probability of truth."
            )
            return [answer["claim_id"] for answer in stored]

    async def review(self, host: Host) -> list[Answer]:
        sentence = (
            f"The queue offers what is worth a look; the script answers {REVIEWS} times, also where Lyra is right."
        )
        async with self.begin("review", sentence):
            reviews: list[Answer] = []
            while len(reviews) < REVIEWS:
                limit = min(REVIEWS_PER_CALL, REVIEWS - len(reviews))
                items = (await host.call("review_queue", limit=limit))["items"]
                if not items:
                    break
                reviews += [await _answer(host, item) for item in items]
            corrected = [review for review in reviews if review["is_correction"]]
            self.summary["reviews"] = {"n": len(reviews), "corrections": len(corrected)}
            self.console.print(f"{len(reviews)} answers, {len(corrected)} of them corrections:")
            self.console.print(tables.corrections(corrected[:CORRECTIONS_SHOWN]))
            if len(corrected) > CORRECTIONS_SHOWN:
                self.console.print(f"... and {len(corrected) - CORRECTIONS_SHOWN} more.")
            self.console.print("\nThe claims after that:\n")
            return reviews

    async def show_scores(self, host: Host, claim_ids: list[str], name: str) -> None:
        """Read every claim's score, keep it under a name, and show what it was at the reading before."""
        rows = []
        for claim_id, row in zip(claim_ids, self.summary["claims"], strict=True):
            [opened] = (await host.call("get_claims", claim_id=claim_id))["claims"]
            before = next(reversed([value for value in row.values() if isinstance(value, dict)]))
            row[name] = opened["score"]
            rows.append((row["claim"], opened["score"], before))
        self.console.print(tables.claims(rows))

    async def remember(self, host: Host, reviews: list[Answer]) -> None:
        sentence = (
            "The next question already knows: the same pair gets the person's label, the same thing in other words "
            "is marked as similar."
        )
        async with self.begin("memory", sentence):
            # A model that was right everywhere leaves nothing to correct; then the confirmed pairs are asked again.
            corrected = [review for review in reviews if review["is_correction"]] or reviews
            same = await _judge(host, [(review["premise"], review["hypothesis"]) for review in corrected])
            again = [
                (EVIDENCE[review["premise"], review["hypothesis"]].again, review["hypothesis"]) for review in corrected
            ]
            near = await _judge(host, [*again, (UNRELATED_PREMISE, UNRELATED_HYPOTHESIS)])
            *near, unrelated = near
            flagged = [row for row in near if row["corrected"]]
            self.summary["memory"] = {
                "same_pairs": len(same),
                "answered_with_the_persons_label": sum(
                    row["answer"] == review["answer"] for row, review in zip(same, corrected, strict=True)
                ),
                "reworded_pairs": len(near),
                "flagged_as_similar": len(flagged),
                "unrelated_pair_flagged": unrelated["corrected"] is not None,
            }
            self.console.print(tables.memory([*same[:MEMORIES_SHOWN], *flagged[:MEMORIES_SHOWN], unrelated]))
            counts = self.summary["memory"]
            self.console.print(
                f"\n{counts['answered_with_the_persons_label']} of {len(same)} same pairs are answered with the "
                f"person's label; {len(flagged)} of {len(near)} reworded ones are marked as similar to a correction: "
                "the model's label stays, and the agent is told to look twice."
            )

    async def block(self, host: Host, claim_ids: list[str]) -> None:
        sentence = f"The person has had enough of hearsay and blocks {BLOCKED_PATTERN}: its evidence stops counting."
        async with self.begin("block a domain", sentence):
            blocked = await host.call(
                "feedback", action="domain_block", domain_pattern=BLOCKED_PATTERN, reason="hearsay, no source given"
            )
            self.summary["block"] = {"pattern": blocked["domain_pattern"], "rule_id": blocked["rule_id"]}
            await self.show_scores(host, claim_ids, "after_block")

    async def measure(self, host: Host) -> None:
        sentence = "How far can the confidences be trusted? Measured on the reviews, with 95 % intervals."
        async with self.begin("measure", sentence):
            evaluated = await host.call("calibration_metrics", action="evaluate")
            self.summary["calibration"] = {"before": _column(evaluated)}
            audit = evaluated.get("audit_sample")
            self.console.print(tables.metrics({"all reviews": evaluated["all_reviews"], "random audit": audit}))
            self.console.print(
                "\nAll reviews lean towards the uncertain edges the queue picks; the random audit, weighted, speaks "
                "for all edges. So few reviews give wide intervals, and that is the honest answer; those of the "
                "calibration errors lean upwards, because resampling adds noise."
            )

    async def calibrate(self, host: Host) -> None:
        sentence = "One number, the temperature, can make confidences more honest; it serves only if the gain is real."
        async with self.begin("calibrate", sentence):
            calibration = self.summary["calibration"]
            before = (await host.call("calibration_metrics", action="get_stats"))["serving"]
            fitted = await host.call("calibration_metrics", action="fit")
            outcome = fitted["fit"]
            calibration["fit"] = outcome
            self.console.print(tables.fit(outcome, before["temperature"]))
            self.console.print(f"\n{outcome['reason'][0].upper()}{outcome['reason'][1:]}.")
        if not outcome["is_kept"]:
            return
        sentence = "Measured again with the new temperature; then the server asks the person whether to go back."
        async with self.begin("measure again, and roll back", sentence):
            evaluated = await host.call("calibration_metrics", action="evaluate")
            calibration["after"] = _column(evaluated)
            self.console.print(
                tables.metrics({"before": calibration["before"]["all_reviews"], "after": evaluated["all_reviews"]})
            )
            self.console.print(
                f"\n{evaluated['in_sample']} of these {evaluated['n']} reviews were fitted on, so the truth is the "
                "gain above."
            )
            back = await host.call("calibration_rollback", reason="the demonstration ends")
            calibration["rollback"] = {"asked": host.questions, **_without_next_step(back)}
            self.console.print(
                f'The server asked: "{host.questions[-1]}" The person said yes; version {back["to_version"]} '
                "serves again."
            )


async def _answer(host: Host, item: Answer) -> Answer:
    """Play the person for one item of the queue."""
    answer = EVIDENCE[item["premise"], item["hypothesis"]].label
    reviewed = await host.call("feedback", action="edge_correct", edge_id=item["edge_id"], correct_label=answer)
    return {
        "premise": item["premise"],
        "hypothesis": item["hypothesis"],
        "said": item["label"],
        "confidence": item["confidence"],
        "answer": answer,
        "selected": "at random" if item["selection_probability"] else "uncertain",
        "is_correction": reviewed["is_correction"],
    }


async def _judge(host: Host, pairs: list[tuple[str, str]]) -> list[Answer]:
    judged = await host.call("judge", pairs=[{"premise": first, "hypothesis": second} for first, second in pairs])
    return [
        {
            "premise": premise,
            "hypothesis": hypothesis,
            "model": result["predicted_label"],
            "answer": result["label"],
            "confidence": result["confidence"],
            "corrected": result["corrected"],
            "because": _because(result["corrected"]),
        }
        for (premise, hypothesis), result in zip(pairs, judged["results"], strict=True)
    ]


def _because(corrected: Answer | None) -> str:
    if corrected is None:
        return "nothing similar"
    if corrected["exact"]:
        return "a person said so"
    return f"{corrected['similarity']:.2f} like one\nlabelled {corrected['label']}"


def _column(evaluated: Answer) -> Answer:
    return {name: evaluated.get(name) for name in ("n", "in_sample", "all_reviews", "audit_sample")}


def _without_next_step(answer: Answer) -> Answer:
    return {name: value for name, value in answer.items() if name != "next_step"}


def run_demo(*, as_json: bool, is_quick: bool) -> int:
    """Run it all; returns the exit code, 1 after a failure, which is explained."""
    console = Console(quiet=as_json, highlight=False, width=min(Console().width, WIDTH_MAX))
    demo = Demo(console, is_quick=is_quick)
    demo.summary |= {"simulation": True, "topic": TOPIC}
    console.print(
        Panel(
            f"[bold]{TOPIC}[/]\n\nThis is a simulation. A script plays the agent and the person who corrects it; the "
            "sentences, the sources and the answers are ours and invented. The server, the worker, the model and "
            "every number below are real.",
            title="lyra-mcp demo",
        )
    )
    try:
        asyncio.run(demo.run())
    except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - a person waits for the answer, whatever went wrong
        demo.summary |= {"ok": False, "failed_step": demo.step, "problem": _problem(error)}
        Console(stderr=True, highlight=False).print(f"The step '{demo.step}' failed: {_problem(error)}", markup=False)
    else:
        console.print(f"\nDone in {demo.summary['seconds']:.0f} s. The temporary home and the worker are gone.")
    if as_json:
        print(json.dumps(demo.summary, indent=1))
    return 0 if demo.summary["ok"] else 1


def _problem(error: BaseException) -> str:
    """In words, out of the groups that task groups wrap errors in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, SystemExit):  # what rich raises when its reader has gone
        return "nobody reads the output any more"
    if isinstance(error, TimeoutError):
        return "it took far longer than it should; run it again when the machine is less busy"
    return str(error) or type(error).__name__
