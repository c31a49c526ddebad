"""Intent examples, what the encoder makes of them, and the classifiers that were trained on them."""

from collections.abc import Sequence

from lyra_mcp.domain.intents import Example, IntentModel, NewExample
from lyra_mcp.storage.database import Row, Transaction, first_value
from schema.wire import IntentFacts

_COLUMNS = "seq, example_id, text, text_digest, intent, response, rating, created_at"


def _example(row: Row) -> Example:
    return Example(*row)


# Examples


async def insert_example(
    tx: Transaction, example: NewExample, *, example_id: str, text_digest: str, created_at: str
) -> None:
    await tx.execute(
        "INSERT INTO intent_examples (example_id, text, text_digest, intent, response, rating, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (example_id, example.text, text_digest, example.intent, example.response, example.rating, created_at),
    )


async def update_rating(tx: Transaction, example_id: str, rating: int) -> None:
    await tx.execute("UPDATE intent_examples SET rating = ? WHERE example_id = ?", (rating, example_id))


async def find_newest_of_text(tx: Transaction, text_digest: str) -> Example | None:
    cursor = await tx.execute(
        f"SELECT {_COLUMNS} FROM intent_examples WHERE text_digest = ? ORDER BY seq DESC LIMIT 1",  # noqa: S608 - own columns
        (text_digest,),
    )
    row = await cursor.fetchone()
    return _example(row) if row else None


async def count_by_intent(tx: Transaction) -> dict[str, int]:
    """How many texts mean each intent, by the newest example of each text."""
    cursor = await tx.execute(
        "SELECT intent, count(*) FROM intent_examples"
        " WHERE seq IN (SELECT max(seq) FROM intent_examples GROUP BY text_digest) GROUP BY intent ORDER BY intent"
    )
    return {row[0]: row[1] for row in await cursor.fetchall()}


async def count_responses(tx: Transaction) -> int:
    return int(await first_value(await tx.execute("SELECT count(response) FROM intent_examples")))


async def count_newer(tx: Transaction, seq: int) -> int:
    return int(await first_value(await tx.execute("SELECT count(*) FROM intent_examples WHERE seq > ?", (seq,))))


# Vectors


async def list_without_vector(tx: Transaction, fingerprint: str, *, limit: int) -> list[Example]:
    """Examples that this encoder has not read, oldest first."""
    cursor = await tx.execute(
        f"SELECT {_COLUMNS} FROM intent_examples e WHERE NOT EXISTS"  # noqa: S608 - own columns
        " (SELECT 1 FROM intent_vectors v WHERE v.example_id = e.example_id AND v.fingerprint = ?)"
        " ORDER BY seq LIMIT ?",
        (fingerprint, limit),
    )
    return [_example(row) for row in await cursor.fetchall()]


async def count_without_vector(tx: Transaction, fingerprint: str) -> int:
    cursor = await tx.execute(
        "SELECT count(*) FROM intent_examples e WHERE NOT EXISTS"
        " (SELECT 1 FROM intent_vectors v WHERE v.example_id = e.example_id AND v.fingerprint = ?)",
        (fingerprint,),
    )
    return int(await first_value(cursor))


async def replace_vectors(tx: Transaction, fingerprint: str, vectors: Sequence[tuple[str, bytes]]) -> None:
    """By example id; what an earlier encoder made of the same examples goes."""
    await tx.executemany(
        "INSERT OR REPLACE INTO intent_vectors (example_id, fingerprint, vector) VALUES (?, ?, ?)",
        [(example_id, fingerprint, vector) for example_id, vector in vectors],
    )


async def list_current_vectors(tx: Transaction, fingerprint: str) -> list[tuple[int, str, bytes]]:
    """(seq, intent, vector) of the newest example of each text, in the order they came."""
    cursor = await tx.execute(
        "SELECT e.seq, e.intent, v.vector FROM intent_examples e JOIN intent_vectors v USING (example_id)"
        " WHERE v.fingerprint = ? AND e.seq IN (SELECT max(seq) FROM intent_examples GROUP BY text_digest)"
        " ORDER BY e.seq",
        (fingerprint,),
    )
    return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]


async def list_responses(tx: Transaction, intent: str, fingerprint: str, *, limit: int) -> list[tuple[Example, bytes]]:
    """Examples of an intent that have a response, with their vectors, newest first; not those of texts that were
    given another intent since."""
    columns = ", ".join(f"e.{name}" for name in _COLUMNS.split(", "))
    cursor = await tx.execute(
        f"SELECT {columns}, v.vector FROM intent_examples e JOIN intent_vectors v USING (example_id)"  # noqa: S608 - own columns
        " WHERE e.intent = ? AND e.response IS NOT NULL AND v.fingerprint = ?"
        " AND e.intent = (SELECT n.intent FROM intent_examples n WHERE n.text_digest = e.text_digest"
        " ORDER BY n.seq DESC LIMIT 1) ORDER BY e.seq DESC LIMIT ?",
        (intent, fingerprint, limit),
    )
    return [(Example(*tuple(row)[:-1]), row[-1]) for row in await cursor.fetchall()]


# Classifiers


async def insert_model(tx: Transaction, model: IntentModel) -> int:
    """Returns its version; `model.version` is not looked at."""
    cursor = await tx.execute(
        "INSERT INTO intent_models (encoder, fingerprint, example_seq_max, facts, weights, examples, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            model.encoder,
            model.fingerprint,
            model.example_seq_max,
            model.facts.model_dump_json(),
            model.weights,
            model.examples,
            model.created_at,
        ),
    )
    assert cursor.lastrowid is not None
    return int(cursor.lastrowid)


async def find_newest_model(tx: Transaction) -> IntentModel | None:
    cursor = await tx.execute("SELECT * FROM intent_models ORDER BY version DESC LIMIT 1")
    row = await cursor.fetchone()
    if row is None:
        return None
    return IntentModel(
        version=row["version"],
        encoder=row["encoder"],
        fingerprint=row["fingerprint"],
        example_seq_max=row["example_seq_max"],
        facts=IntentFacts.model_validate_json(row["facts"]),
        weights=row["weights"],
        examples=row["examples"],
        created_at=row["created_at"],
    )
