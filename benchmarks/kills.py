"""`kill -9` of server, worker or training at random moments of the whole loop, and whether every promise held.

    python -m benchmarks.kills --kills 50 --seed 1
    python -m benchmarks.kills --json

One person corrects, trains, activates and judges, again and again, over stdio with both real processes. A thread kills
one of them at seeded random moments. What a host would start again (the server) is started again; everything else must
come back by itself. After each restart and at the end the promises are checked; exit code 1 where one was broken.
"""

import argparse
import hashlib
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.host import CallFailed, Host, ServerDied
from benchmarks.tiny_model import write_tiny_model
from lyra_mcp.storage.database import Database

FRAGMENTS = 24
VICTIMS = ("server", "worker", "training")
RESTART = "restart"
#: Between two kills; from a kill in the middle of a start to one in the middle of a training.
PAUSE_S = (0.2, 7.0)
#: Of the kills that would hit a restart after another kill; the others wait, or a slow machine would see little else.
RESTART_SHARE = 0.1
#: For a worker or a job to come back.
PATIENCE_S = 240.0
ENDED = frozenset({"candidate", "champion", "retired", "failed", "cancelled", "interrupted"})
WORLD_FAILED = ("E_WORKER", "E_WARMING", "E_BUSY", "E_UNAVAILABLE")
SETTINGS = {
    "training_samples_min": 20,
    "trigger_corrections": 20,
    "gate_accuracy_min": 0,
    "gate_agreement_min": 0,
    "threads": 1,
    "worker_linger_s": 3,
    "worker_wait_s": 60,
}


@dataclass
class World:
    """One home, and what is known of it from outside."""

    home: Path
    runtime: Path
    model: Path
    #: What the person is doing; the killer notes it.
    moment: str = "start"
    kills: list[tuple[str, str]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LYRA_")}
        settings = {"home": self.home, "runtime_dir": self.runtime, "nli_model": self.model, **SETTINGS}
        quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        return clean | quiet | {f"LYRA_{name.upper()}": str(value) for name, value in settings.items()}

    def processes(self, victim: str) -> list[psutil.Process]:
        """Workers and trainings of this home; they stay known when their server dies."""
        words = {"worker": f"--socket={self.runtime}/", "training": f"{self.home}/jobs/"}
        return [
            process
            for process in psutil.process_iter(["cmdline", "status"])
            if process.info["status"] != psutil.STATUS_ZOMBIE
            and any(word.startswith(words[victim]) for word in process.info["cmdline"] or ())
        ]

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            self.violations.append(f"{self.moment}: {what}")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Read the database beside the server, with the program's own key."""

        async def read() -> list[tuple[Any, ...]]:
            database = Database(self.home / "users" / "local")
            try:
                async with database.transaction() as tx:
                    return [tuple(row) for row in await tx.execute_fetchall(query)]
            finally:
                await database.close()

        return anyio.run(read)


class Killer(threading.Thread):
    """Kills one of the three, at random moments, until it has done so often enough."""

    def __init__(self, world: World, server: Callable[[], int], *, kills: int, seed: int, until: float) -> None:
        super().__init__(daemon=True)
        self._world, self._server = world, server
        self._kills, self._random, self._until = kills, random.Random(seed), until

    def run(self) -> None:
        while len(self._world.kills) < self._kills and time.monotonic() < self._until:
            time.sleep(self._random.uniform(*PAUSE_S))
            if self._world.moment == RESTART and self._random.random() > RESTART_SHARE:
                continue
            order = self._random.sample(VICTIMS, k=len(VICTIMS))  # the first that lives
            moment = self._world.moment
            victim = next((one for one in order if self._kill(one)), None)
            if victim:
                self._world.kills.append((victim, moment))

    def _kill(self, victim: str) -> bool:
        try:
            found = [psutil.Process(self._server())] if victim == "server" else self._world.processes(victim)
            for process in found:
                process.kill()
        except psutil.NoSuchProcess:
            return False
        return bool(found)


class Person:
    """Goes round the loop, whoever dies meanwhile."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.host = self._start()
        self.acknowledged: set[str] = set()
        #: Paths of which one must serve: two while an activation is not acknowledged. None: the base.
        self.champions: set[str | None] = {None}
        self.restarts = 0

    def _start(self) -> Host:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            self.host = Host(self.world.environment(), self.world.home.parent / "server.log")
            try:
                self.host.initialize()
            except ServerDied:
                if time.monotonic() > deadline:
                    raise
                continue
            return self.host

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Ask until there is an answer, as an agent with patience does. Raises CallFailed for a refusal."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self.host.call(tool, arguments)
            except ServerDied:
                self._restart()
            except CallFailed as error:
                if not any(code in str(error) for code in WORLD_FAILED) or time.monotonic() > deadline:
                    raise
                if "crashed" in str(error):  # a host's person restarts it rather than wait a minute
                    self.host.close()
                    self._restart()
                time.sleep(0.2)

    def _restart(self) -> None:
        self.restarts += 1
        self._start()
        moment, self.world.moment = self.world.moment, RESTART
        self.check_serving()
        check_adapters(self.world)
        self.world.moment = moment

    def check_serving(self) -> None:
        killed = -1
        while killed < len(self.world.kills):  # ask again where one fell into this very question
            killed = len(self.world.kills)
            judged = self.call("judge", pairs=[{"premise": "zz.", "hypothesis": "a claim."}])
        adapter = judged["served_by"]["adapter"]
        self.world.expect(adapter in self.champions, f"{adapter} serves, and not one of {self.champions}")
        self.world.expect(not judged["degraded"], f"degraded: {judged['degraded_reason']}")

    def round(self, number: int) -> None:
        self.world.moment = "add_evidence"
        fragments = [{"text": f"case {number * FRAGMENTS + n} is zz and q{n % 7}."} for n in range(FRAGMENTS)]
        edges = self.call("add_evidence", claim="a claim.", fragments=fragments)["edges"]
        self.world.moment = "feedback"
        for n, edge in enumerate(edges):
            label = ("supports", "refutes")[n % 2]
            key = f"{number}-{n}"
            given = {"edge_id": edge["edge_id"], "correct_label": label, "idempotency_key": key}
            self.acknowledged.add(self.call("feedback", action="edge_correct", **given)["review_id"])
        self.world.moment = "start"
        job_id = self.start()
        self.world.moment = "training"
        job = self.finish(job_id)
        if job["version"] is not None:
            self.world.moment = "activate"
            self.activate(job)
        self.world.moment = "judge"
        self.check_serving()

    def start(self) -> str:
        """A start whose answer was lost has a job under way, which is the one."""
        known = {job["job_id"] for job in self.call("finetune_status")["jobs"]}
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                job_id: str = self.call("finetune", action="start", recipe="seed", confirm=True, force=True)["job_id"]
            except CallFailed as error:
                new = [job for job in self.call("finetune_status")["jobs"] if job["job_id"] not in known]
                if new:
                    return str(new[0]["job_id"])
                if time.monotonic() > deadline:
                    raise CallFailed(f"no start: {error}") from error
                time.sleep(0.5)
            else:
                return job_id

    def finish(self, job_id: str) -> dict[str, Any]:
        """Resume as often as it takes."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            [job] = self.call("finetune_status", job_id=job_id, wait_s=2)["jobs"]
            if job["state"] not in ("interrupted", "failed") and job["state"] in ENDED:
                return dict(job)
            if time.monotonic() > deadline:
                self.world.expect(False, f"{job_id} stays {job['state']}: {job['problem']}")
                return dict(job)
            if job["state"] in ("interrupted", "failed"):
                try:
                    self.call("finetune", action="resume", job_id=job_id)
                except CallFailed as error:  # it went on meanwhile
                    self.world.expect("E_CONFLICT" in str(error), f"resume of {job_id}: {error}")

    def activate(self, job: dict[str, Any]) -> None:
        self.champions.add(job["job_id"])
        try:
            self.call("adapters", action="activate", version=job["version"], force=True, confirm=True)
        except CallFailed as error:  # the activation whose answer was lost had been done
            self.world.expect("E_CONFLICT" in str(error), f"activate: {error}")
        self.champions = {job["job_id"]}


def check_adapters(world: World) -> None:
    """Every folder that is shown is whole: the weights are those of the job's report."""
    for folder in (world.home / "adapters").glob("[!.]*"):
        report = json.loads((world.home / "jobs" / folder.name / "report.json").read_bytes())
        weights = folder / "adapter_model.safetensors"
        found = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else "nothing"
        world.expect(found == report["adapter_sha256"], f"half an adapter: {folder.name} has {found}")


def check_end(person: Person) -> tuple[Counter[str], int]:
    """The promises when all is quiet; returns the jobs by state, and how many acknowledged reviews were found."""
    world = person.world
    world.moment = "end"
    for job_id, state in world.rows("SELECT job_id, state FROM jobs"):
        if state in ("interrupted", "failed"):
            person.finish(job_id)
    check_adapters(world)
    versions = dict(world.rows("SELECT adapter_path, adapter_sha256 FROM model_versions"))
    shown = {folder.name for folder in (world.home / "adapters").glob("[!.]*")}
    world.expect(shown == set(versions), f"adapters {sorted(shown)}, versions {sorted(versions)}")
    for path, registered in versions.items():
        found = hashlib.sha256((world.home / "adapters" / path / "adapter_model.safetensors").read_bytes()).hexdigest()
        world.expect(found == registered, f"{path} is not what was registered: {found}")
        person.call("adapters", action="load", adapter_path=path)
    person.host.close()
    states = Counter(state for (state,) in world.rows("SELECT state FROM jobs"))
    world.expect(set(states) <= ENDED, f"jobs in {dict(states)}")
    reviews = [review_id for (review_id,) in world.rows("SELECT review_id FROM active_reviews")]
    world.expect(person.acknowledged <= set(reviews), f"{len(person.acknowledged - set(reviews))} corrections lost")
    world.expect(set(reviews) <= person.acknowledged, f"{len(set(reviews) - person.acknowledged)} corrections doubled")
    check_orphans(world)
    return states, len(person.acknowledged & set(reviews))


def check_orphans(world: World) -> None:
    deadline = time.monotonic() + 30
    while (left := [*world.processes("worker"), *world.processes("training")]) and time.monotonic() < deadline:
        time.sleep(0.1)  # the fact lies in another process, which sends no event
    world.expect(not left, f"left behind: {[process.cmdline() for process in left]}")  # they are killed with the rest


def measure(folder: Path, *, kills: int, seed: int, minutes_max: float) -> dict[str, Any]:
    began = time.monotonic()
    world = World(folder / "home", folder / "run", write_tiny_model(folder / "tiny"))
    world.home.mkdir()
    person = Person(world)
    killer = Killer(world, lambda: person.host.process.pid, kills=kills, seed=seed, until=began + minutes_max * 60)
    killer.start()
    rounds = 0
    try:
        while killer.is_alive():
            person.round(rounds)
            rounds += 1
        states, found = check_end(person)
    finally:
        if person.host.process.poll() is None:
            person.host.process.kill()
        for process in [*world.processes("worker"), *world.processes("training")]:
            process.kill()
    return {
        "kills": len(world.kills),
        "victims": Counter(victim for victim, _ in world.kills),
        "moments": Counter(f"{victim} at {moment}" for victim, moment in world.kills),
        "rounds": rounds,
        "server_restarts": person.restarts,
        "jobs": states,
        "acknowledged": len(person.acknowledged),
        "found": found,
        "violations": world.violations,
        "seconds": round(time.monotonic() - began),
    }


def show(result: dict[str, Any]) -> None:
    table = Table("figure", "value")
    for name, value in result.items():
        pairs = value.items() if isinstance(value, Counter) else ()
        said = "\n".join(value) or "none" if isinstance(value, list) else str(value)
        table.add_row(name, ", ".join(f"{key} {n}" for key, n in sorted(pairs)) or said)
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10, help="no more kills after this time")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lyra", ignore_cleanup_errors=True) as folder:
        result = measure(Path(folder), kills=options.kills, seed=options.seed, minutes_max=options.minutes)
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        show(result)
    sys.exit(1 if result["violations"] else 0)


if __name__ == "__main__":
    main()
