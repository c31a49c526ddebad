"""What a person may set, read once in `__main__`: from the environment (`LYRA_...`), below it from a file at home."""

import os
import tempfile
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from platformdirs import user_data_path
from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from schema.vocabulary import Sampling

#: In `home`; its keys are the names below. `lyra-mcp models use` writes there.
SETTINGS_FILE = "settings.toml"
#: A user's name is the name of a folder.
USER_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


def _default_runtime_dir() -> Path:
    """A short private place for sockets: their path may hold only about 100 bytes."""
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "lyra"
    return Path(tempfile.gettempdir()) / f"lyra-{os.getuid()}"


def _expanded(folder: Path) -> Path:
    """Hosts start us without a shell, so nobody else reads the `~` of their configuration."""
    try:
        return folder.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{folder} names no user's folder; write the whole path") from error


Folder = Annotated[Path, AfterValidator(_expanded)]


#: Where the master key lies. `auto`: from the passphrase if there is one, else the system's keyring, else a file.
KeySource = Literal["auto", "keyring", "file", "passphrase"]


class SettingsFileInvalid(ValueError):
    """The file of settings cannot be used; the message says why."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="LYRA_", frozen=True, extra="forbid")

    #: Where everything lives: databases, adapters, logs.
    home: Folder = Field(default_factory=lambda: user_data_path("lyra"))
    #: Who the local user is; one folder and one database each.
    user: Annotated[str, Field(pattern=USER_PATTERN)] = "local"
    #: Which tools are listed.
    tools: Literal["core", "full"] = "core"

    #: Where the key lies that wraps every user's keys.
    key_source: KeySource = "auto"
    #: Opens the master key; only from the environment.
    passphrase: SecretStr | None = None
    #: Write exports only encrypted, with the passphrase, and seal what trainings read, learn and write.
    encrypt_files: bool = False

    #: `builtin`, a Hugging Face id, or a local folder.
    nli_model: str = "builtin"
    embedding_model: str = "builtin"
    #: Loaded by `/nli/adapter/load` without a path; a path inside the adapters root.
    default_adapter: str | None = None
    #: Threads the worker and a training compute with; null: one for each core, and one for a training.
    threads: Annotated[int | None, Field(ge=1, le=256)] = None

    runtime_dir: Folder = Field(default_factory=_default_runtime_dir)
    #: How long a tool waits for a worker that is loading before it says `E_WARMING`.
    worker_wait_s: Annotated[float, Field(ge=0, le=120)] = 25.0
    #: A worker nobody asks leaves after this time.
    worker_idle_s: Annotated[float, Field(gt=0)] = 900.0
    #: A worker whose last server has gone leaves after this time.
    worker_linger_s: Annotated[float, Field(ge=0)] = 30.0

    #: Share of stored edges that the random audit covers at least.
    audit_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    #: Similarity in [-1, 1] from which another correction is shown as similar.
    near_similarity_min: Annotated[float, Field(ge=-1, le=1)] = 0.95

    #: When a retraining is worth proposing.
    trigger_corrections: Annotated[int, Field(ge=1)] = 100
    trigger_correction_rate: Annotated[float, Field(ge=0, le=1)] = 0.05
    trigger_days: Annotated[float, Field(ge=0)] = 7.0
    #: Reviewed pairs by people below which nothing is trained.
    training_samples_min: Annotated[int, Field(ge=10)] = 100
    #: Which reviews a training learns from: all, or those that no version has learned from or was tested on.
    training_reviews: Literal["all", "new"] = "all"
    #: In place of the recipe's: each sample once an epoch, or every label, or every domain, equally often.
    training_sampling: Sampling | None = None
    #: In place of the recipe's.
    training_batch: Annotated[int | None, Field(ge=1, le=256)] = None
    #: `auto`: the GPU where there is one; one without room is refused.
    training_device: Literal["auto", "cpu", "cuda"] = "auto"
    #: A training ends cleanly after this time, or after so many steps, and what it learned is evaluated.
    training_time_s: Annotated[float | None, Field(gt=0)] = None
    training_steps_max: Annotated[int | None, Field(ge=1)] = None
    #: What a trained adapter must reach before it may serve without force.
    gate_accuracy_min: Annotated[float, Field(ge=0, le=1)] = 0.85
    gate_agreement_min: Annotated[float, Field(ge=0, le=1)] = 0.95
    #: Let an adapter that passes the gate serve without asking.
    auto_activate: bool = False

    #: Learn preferences from ratings and from wishes in a person's words.
    auto_learn: bool = True
    #: Rated exchanges shown as examples in a prompt, at most; 0: none.
    few_shot_max: Annotated[int, Field(ge=0, le=20)] = 20
    #: Rating from which an exchange may be an example.
    few_shot_min_rating: Annotated[int, Field(ge=1, le=5)] = 4

    #: What becomes of a text with private data before it is trained on or leaves the machine: tags stand in its place,
    #: it is left out, or it is left out and shown to the person.
    redaction_mode: Literal["redact", "exclude", "quarantine"] = "redact"
    #: An installed spaCy model that also finds names and places, through the extra `presidio`; null: none.
    redaction_names_model: Annotated[str | None, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")] = None

    #: Over HTTP, whose access tokens count: an OAuth 2.1 authorization server.
    oauth_issuer: str | None = None
    #: For whom its tokens must have been issued: this server's public address, such as https://lyra.example.org/mcp.
    oauth_audience: str | None = None
    #: Where its public keys are.
    oauth_jwks_url: str | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings hands over all of them
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - likewise
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The file lies at home, so only the other two say where that is.

        Raises:
            SettingsFileInvalid: the file is not TOML, or wants to move the home.
        """
        home = Path(({**env_settings(), **init_settings()}).get("home") or user_data_path("lyra"))
        try:
            file = _expanded(home) / SETTINGS_FILE
        except ValueError:  # the field's own check says it better
            return init_settings, env_settings
        try:
            of_file = TomlConfigSettingsSource(settings_cls, toml_file=file)
        except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
            raise SettingsFileInvalid(f"{file}: {error}; mend or remove it") from error
        if "home" in of_file.toml_data:
            raise SettingsFileInvalid(f"{file}: home cannot be set here; set LYRA_HOME and remove the line")
        if "passphrase" in of_file.toml_data:
            raise SettingsFileInvalid(
                f"{file}: a passphrase is not kept in a file; set LYRA_PASSPHRASE, remove the line"
            )
        return init_settings, env_settings, of_file

    @property
    def models_root(self) -> Path:
        return self.home / "models"

    @property
    def user_dir(self) -> Path:
        return self.home / "users" / self.user

    @property
    def adapters_root(self) -> Path:
        return self.home / "adapters"

    @property
    def jobs_root(self) -> Path:
        return self.home / "jobs"

    @property
    def exports_root(self) -> Path:
        """One folder for each user, so that none can take the place of another's."""
        return self.home / "exports" / self.user

    @property
    def log_dir(self) -> Path:
        return self.home / "logs"
