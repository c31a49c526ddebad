"""A model pulled from a hub: its folder, the manifest in it, and what the pulling process says, line by line.

The server's command starts `python -m ml_worker.pull`, which prints one `PullLine` as JSON a line. The model then lies
in `LYRA_HOME/models/<folder_name>` with `PULLED` in it; a folder without `PULLED` was not finished.
"""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, TypeAdapter

from schema.jobs import Sha256
from schema.wire import Message

PULLED = "lyra-model.json"
#: `owner/model`, or a model without owner. Letters are named: all of Unicode's take a tenth of a second to compile.
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,95}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,95})?$"


class PulledFile(Message):
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class PulledModel(Message):
    format: Literal[1] = 1
    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    #: The hub's commit: names may move on, this does not.
    revision: str
    pulled_at: AwareDatetime
    #: By name; all lie directly in the folder.
    files: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")], PulledFile]


class PullProgress(Message):
    event: Literal["progress"] = "progress"
    done_bytes: int
    total_bytes: int


class PullDone(Message):
    event: Literal["done"] = "done"
    folder: str
    model: PulledModel
    #: False when the same revision was already there, whole.
    downloaded: bool


class PullFailed(Message):
    """`problem` names the next step."""

    event: Literal["failed"] = "failed"
    problem: str


PullLine = Annotated[PullProgress | PullDone | PullFailed, Field(discriminator="event")]
PULL_LINE: TypeAdapter[PullLine] = TypeAdapter(PullLine)


def folder_name(name: str) -> str:
    return name.replace("/", "--")
