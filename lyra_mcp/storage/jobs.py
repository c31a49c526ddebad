"""Training jobs, and which reviews a finished one learned from."""

from collections.abc import Collection, Sequence

from lyra_mcp.domain.versions import RESUMABLE, UNDER_WAY, Job
from lyra_mcp.storage.database import Row, Transaction, first_value
from schema.vocabulary import JobKind, JobState, SplitPart

_COLUMNS = (
    "job_id, kind, state, base_model, fingerprint, recipe_name, samples_sha256, samples, champion_version, problem,"
    " created_at, updated_at"
)


def _job(row: Row) -> Job:
    return Job(*row)


async def insert_job(tx: Transaction, job: Job) -> None:
    await tx.execute(
        f"INSERT INTO jobs ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - own columns
        (
            job.job_id,
            job.kind,
            job.state,
            job.base_model,
            job.fingerprint,
            job.recipe_name,
            job.samples_sha256,
            job.samples,
            job.champion_version,
            job.problem,
            job.created_at,
            job.updated_at,
        ),
    )


async def find_job(tx: Transaction, job_id: str) -> Job | None:
    cursor = await tx.execute(f"SELECT {_COLUMNS} FROM jobs WHERE job_id = ?", (job_id,))  # noqa: S608 - own columns
    row = await cursor.fetchone()
    return _job(row) if row else None


async def list_jobs(tx: Transaction, *, limit: int) -> list[Job]:
    """Newest first."""
    cursor = await tx.execute(f"SELECT {_COLUMNS} FROM jobs ORDER BY seq DESC LIMIT ?", (limit,))  # noqa: S608 - own columns
    return [_job(row) for row in await cursor.fetchall()]


async def list_jobs_in(tx: Transaction, states: Collection[JobState]) -> list[Job]:
    """However old; newest first."""
    marks = ", ".join("?" * len(states))
    cursor = await tx.execute(
        f"SELECT {_COLUMNS} FROM jobs WHERE state IN ({marks}) ORDER BY seq DESC",  # noqa: S608 - own columns
        sorted(states),
    )
    return [_job(row) for row in await cursor.fetchall()]


async def find_job_under_way(tx: Transaction, kind: JobKind) -> Job | None:
    marks = ", ".join("?" * len(UNDER_WAY))
    cursor = await tx.execute(
        f"SELECT {_COLUMNS} FROM jobs WHERE kind = ? AND state IN ({marks})",  # noqa: S608 - own columns
        (kind, *sorted(UNDER_WAY)),
    )
    row = await cursor.fetchone()
    return _job(row) if row else None


async def find_compared_with(tx: Transaction, kind: JobKind) -> set[int]:
    """Versions that a job which is not over yet, or may be resumed, will be compared with."""
    states = UNDER_WAY | RESUMABLE
    marks = ", ".join("?" * len(states))
    cursor = await tx.execute(
        f"SELECT champion_version FROM jobs WHERE kind = ? AND champion_version > 0 AND state IN ({marks})",  # noqa: S608 - own words
        (kind, *sorted(states)),
    )
    return {row["champion_version"] for row in await cursor.fetchall()}


async def update_state(
    tx: Transaction, job_id: str, state: JobState, *, problem: str | None = None, updated_at: str
) -> None:
    await tx.execute(
        "UPDATE jobs SET state = ?, problem = ?, updated_at = ? WHERE job_id = ?",
        (state, problem, updated_at, job_id),
    )


async def insert_samples(tx: Transaction, job_id: str, parts: Sequence[tuple[str, SplitPart]]) -> None:
    """Record in which part of the data each review was: (review id, part)."""
    await tx.executemany(
        "INSERT INTO job_samples (job_id, review_id, part) VALUES (?, ?, ?)",
        [(job_id, review_id, part) for review_id, part in parts],
    )


async def find_held_out(tx: Transaction) -> frozenset[str]:
    """Digests of the pairs that some version held out."""
    cursor = await tx.execute(
        "SELECT DISTINCT pair_digest FROM job_samples JOIN nli_corrections USING (review_id) WHERE part = 'holdout'"
    )
    return frozenset([row["pair_digest"] for row in await cursor.fetchall()])


async def list_trained_neighbours(tx: Transaction) -> list[tuple[str | None, str]]:
    """Page and premise of every pair that a version learned from, also where the review was taken back since."""
    cursor = await tx.execute(
        "SELECT DISTINCT page_id, premise FROM job_samples JOIN nli_corrections USING (review_id)"
        " WHERE part <> 'holdout'"
    )
    return [(row["page_id"], row["premise"]) for row in await cursor.fetchall()]


async def find_used_reviews(tx: Transaction) -> frozenset[str]:
    """Ids of the reviews that some version has learned from or was tested on."""
    cursor = await tx.execute("SELECT DISTINCT review_id FROM job_samples")
    return frozenset([row["review_id"] for row in await cursor.fetchall()])


async def find_trained_pairs(tx: Transaction, adapter_path: str) -> frozenset[str]:
    """Digests of the pairs an adapter learned from; its hold-out is not among them."""
    cursor = await tx.execute(
        "SELECT pair_digest FROM job_samples JOIN model_versions USING (job_id) JOIN nli_corrections USING (review_id)"
        " WHERE adapter_path = ? AND part <> 'holdout'",
        (adapter_path,),
    )
    return frozenset([row["pair_digest"] for row in await cursor.fetchall()])


async def find_holdout_pairs(tx: Transaction, job_id: str) -> frozenset[str]:
    """Digests of the pairs on which a finished job's models were measured."""
    cursor = await tx.execute(
        "SELECT pair_digest FROM job_samples JOIN nli_corrections USING (review_id)"
        " WHERE job_id = ? AND part = 'holdout'",
        (job_id,),
    )
    return frozenset([row["pair_digest"] for row in await cursor.fetchall()])


async def find_last_trained_at(tx: Transaction, kind: JobKind) -> str | None:
    """When the newest version of a kind was made."""
    cursor = await tx.execute("SELECT max(created_at) FROM model_versions WHERE kind = ?", (kind,))
    value = await first_value(cursor)
    return None if value is None else str(value)
