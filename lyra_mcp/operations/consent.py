"""Consent: recorded for each purpose, asked for where something is about to be done, revoked at any time."""

from lyra_mcp.domain.audit import Event
from lyra_mcp.domain.consents import ConsentEvent, Standing, may, standing
from lyra_mcp.errors import ConsentMissing, Invalid
from lyra_mcp.operations.services import Services
from lyra_mcp.storage import audit_log, consents
from lyra_mcp.storage.database import Transaction
from schema.vocabulary import Purpose


async def record(
    services: Services, purpose: Purpose, *, provider: str | None, granted: bool, reason: str | None
) -> list[ConsentEvent]:
    """Keep what the person said; returns everything that holds now.

    Raises:
        Invalid: `send` without a provider, or another purpose with one.
    """
    if (purpose == "send") != bool(provider):
        raise Invalid("name a provider with purpose 'send', and with no other")
    async with services.database.transaction() as tx:
        await record_in(services, tx, purpose, provider=provider or "", granted=granted, reason=reason)
        return await consents.list_standing(tx)


async def record_in(
    services: Services, tx: Transaction, purpose: Purpose, *, provider: str = "", granted: bool, reason: str | None
) -> None:
    """Likewise, inside the transaction that needs it."""
    now = services.now()
    await consents.insert_event(tx, ConsentEvent(purpose, provider, granted, reason, now))
    detail = {"purpose": purpose, "provider": provider}
    event: Event = "consent_granted" if granted else "consent_revoked"
    await audit_log.append(tx, event, services.actor, detail, created_at=now)


async def read(services: Services) -> list[ConsentEvent]:
    async with services.database.transaction() as tx:
        return await consents.list_standing(tx)


async def find(tx: Transaction, purpose: Purpose, provider: str = "") -> Standing:
    return standing(await consents.find_standing(tx, purpose, provider))


async def require(tx: Transaction, purpose: Purpose, provider: str = "") -> None:
    """Raises ConsentMissing unless the person lets this be done."""
    state = await find(tx, purpose, provider)
    if not may(purpose, state):
        raise ConsentMissing(explain(purpose, state, provider))


def explain(purpose: Purpose, state: Standing, provider: str = "") -> str:
    """Why it may not be done, and what would change that."""
    to = f", provider={provider!r}" if provider else ""
    said = "withdrew their consent to" if state == "revoked" else "was never asked about"
    return (
        f"the person {said} {_WORDS[purpose]}{f' to {provider}' if provider else ''}; ask them, then"
        f" privacy(action='consent', purpose={purpose!r}{to}, granted=true)"
    )


async def may_learn(tx: Transaction) -> bool:
    """Whether anything may be learned from what people said of labels: only an explicit no forbids it."""
    return await find(tx, "learn_locally") != "revoked"


async def may_learn_from_conversations(tx: Transaction) -> bool:
    """Conversations are in no training set unless the person said yes."""
    return await find(tx, "learn_locally") == "granted"


async def agree_to_learning(services: Services, tx: Transaction) -> None:
    """The person's yes to a training is their consent where they were never asked; a no stands.

    Raises:
        ConsentMissing: they withdrew it.
    """
    state = await find(tx, "learn_locally")
    if state == "revoked":
        await require(tx, "learn_locally")
    elif state == "never_asked":
        await record_in(services, tx, "learn_locally", granted=True, reason="agreed when a training was started")


_WORDS: dict[Purpose, str] = {
    "store": "storing anything more",
    "learn_locally": "learning from their data on this machine",
    "send": "sending anything",
    "federate": "taking part in federated learning",
}
