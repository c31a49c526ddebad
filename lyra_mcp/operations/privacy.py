"""What is known of a person, what they agreed to, and how it is kept: one page of it."""

from dataclasses import dataclass

from lyra_mcp.domain.audit import Verdict
from lyra_mcp.domain.consents import ConsentEvent
from lyra_mcp.operations import auditing, keys
from lyra_mcp.operations.keys import KeyStatus
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import consents, model_versions, privacy_patterns, retention_rules, tables
from schema.vocabulary import MemoryKind


@dataclass(frozen=True, slots=True)
class Report:
    user: str
    #: Rows by table.
    stored: dict[str, int]
    consents: list[ConsentEvent]
    #: Days by kind of memory; a kind that is not named is kept for ever.
    retention: dict[MemoryKind, int]
    patterns: list[str]
    redaction: str
    #: Versions of models that learned from this person's data.
    models: list[int]
    key: KeyStatus
    audit: Verdict
    exports: list[str]
    not_encrypted: list[str]


async def report(services: Services) -> Report:
    verdict, _ = await auditing.check(services)
    settings = services.settings
    async with services.database.transaction() as tx:
        return Report(
            user=settings.user,
            stored=await tables.count_rows(tx),
            consents=await consents.list_standing(tx),
            retention=await retention_rules.list_rules(tx),
            patterns=[pattern.name for pattern in await privacy_patterns.list_patterns(tx)],
            redaction=settings.redaction_mode,
            models=[one.version for one in await model_versions.list_versions(tx, "nli_lora")],
            key=await keys.read_status(services),
            audit=verdict,
            exports=sorted(path.name for path in settings.exports_root.glob("*") if path.is_file()),
            not_encrypted=_not_encrypted(is_sealing=settings.encrypt_files),
        )


def _not_encrypted(*, is_sealing: bool) -> list[str]:
    logs = "logs: ids and counts"
    if is_sealing:
        return [
            "jobs and adapters: what describes a training, such as its recipe and its curve, without any text",
            logs,
        ]
    return [
        "jobs: the texts a training learns from, after redaction, until they are erased",
        "adapters, and their copies in jobs: weights that learned from the corrections",
        "exports, unless --encrypt or LYRA_ENCRYPT_FILES is given",
        logs,
    ]
