"""What the model thread serves: one base model, its adapters, the embedding model. Used from that thread alone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ml_worker.adapters import Adapter, AdapterCache
from ml_worker.base_models import load_base, quiet_libraries
from ml_worker.device import choose_device, use_threads
from ml_worker.errors import AdapterRefused
from ml_worker.nli import EncodedPair, NliModel
from ml_worker.options import Options
from schema.wire import AdapterLoaded, AdapterUnloaded, EmbedReply, Judgement, Pair, ServedBy

if TYPE_CHECKING:
    from ml_worker.embeddings import Embedder

#: Judged before the first request, which then does not pay for first-time allocations.
WARM_UP = Pair(premise="A man is playing a guitar on stage.", hypothesis="A man makes music.")


class Serving:
    """Loads the base at once, the rest when first needed.

    Raises:
        BaseRefused: the base model cannot serve.
    """

    def __init__(self, options: Options) -> None:
        quiet_libraries()
        use_threads(options.threads)
        self._options = options
        self._model = NliModel(load_base(options.nli_model), choose_device())
        self._cache = AdapterCache(self._model.base, options.adapters_root)
        self._embedder: Embedder | None = None
        #: What `adapter="loaded"` means now; replaced whole, between batches.
        self.loaded: Adapter | None = None
        self.fingerprint = self._model.base.fingerprint
        base = self._model.base.model
        #: What costs time in training: every parameter but the word embeddings.
        self.encoder_parameters: int = base.num_parameters() - base.get_input_embeddings().weight.numel()
        self.device = str(self._model.device)
        self._model.judge(self._model.encode([WARM_UP]), None, representation=True)

    def resolve(self, adapter: str, key: bytes | None) -> Adapter | None:
        """The adapter a request names, opened with its key where it is sealed; None is the base alone.

        Raises:
            AdapterRefused: no such adapter, or one that must not serve.
        """
        if adapter == "loaded":
            return self.loaded
        return None if adapter == "base" else self._cache.find(adapter, key)

    def encode(self, pairs: Sequence[Pair]) -> list[EncodedPair]:
        return self._model.encode(pairs)

    def judge(
        self, encoded: Sequence[EncodedPair], adapter: Adapter | None, *, representation: bool
    ) -> list[Judgement]:
        return self._model.judge(encoded, adapter, representation=representation)

    def served_by(self, adapter: Adapter | None) -> ServedBy:
        own = None if adapter is None else adapter.temperature
        return ServedBy(
            base_model=self._model.base.name,
            fingerprint=self.fingerprint,
            adapter=None if adapter is None else adapter.path,
            adapter_sha256=None if adapter is None else adapter.digest,
            temperature=self._model.base.temperature if own is None else own,
            device=self.device,
        )

    def load(self, path: str | None, key: bytes | None = None) -> AdapterLoaded:
        """Serve this adapter from the next request on; a refusal leaves the present one serving."""
        wanted = path if path is not None else self._options.default_adapter
        if wanted is None:
            message = "no default adapter is set; name adapter_path, or set LYRA_DEFAULT_ADAPTER"
            return AdapterLoaded(ok=False, adapter_path=None, message=message)
        try:
            self.loaded = self._cache.find(wanted, key)
        except AdapterRefused as error:
            return AdapterLoaded(ok=False, adapter_path=wanted, message=str(error))
        return AdapterLoaded(ok=True, adapter_path=self.loaded.path, message=f"{self.loaded.path} serves now")

    def unload(self) -> AdapterUnloaded:
        before, self.loaded = self.loaded, None
        message = "no adapter was loaded" if before is None else f"{before.path} is unloaded"
        return AdapterUnloaded(ok=True, message=f"{message}; the base alone serves")

    def embed(self, texts: Sequence[str]) -> EmbedReply:
        """Loads the embedding model with the first texts.

        Raises:
            Failed: it cannot be loaded.
            OutOfMemory: the texts do not fit on the device.
        """
        if self._embedder is None:
            from ml_worker.embeddings import Embedder  # noqa: PLC0415  # two seconds that not every worker needs

            self._embedder = Embedder(self._options.embedding_model, self._model.device)
        return self._embedder.embed(texts)
