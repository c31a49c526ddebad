"""Which adapter answers: what somebody loaded by hand, else the champion, else the default of the settings."""

from dataclasses import dataclass

from lyra_mcp.operations.services import Services
from lyra_mcp.storage import model_versions
from lyra_mcp.storage.database import Transaction

BASE = "base"


@dataclass(frozen=True, slots=True)
class Serving:
    #: A path inside the adapters root, or `base`.
    adapter: str
    #: Of the champion; None where no version serves.
    version: int | None
    #: Of the weights that were registered; None where any will do.
    sha256: str | None = None


async def find_serving(services: Services, tx: Transaction) -> Serving:
    if services.by_hand.adapter is not None:
        return Serving(services.by_hand.adapter, None)
    champion = (await model_versions.find_aliases(tx, "nli_lora")).get("champion")
    if champion is not None:
        version = await model_versions.find_version(tx, "nli_lora", champion)
        assert version is not None, "an alias points to a version"
        return Serving(version.adapter_path, champion, version.adapter_sha256)
    return Serving(services.settings.default_adapter or BASE, None)
