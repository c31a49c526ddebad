"""Every error a caller can meet. The code is stable; the message names the next step.

LyraError
├── Refused              the caller can fix it
│   ├── Invalid          E_INVALID            an argument makes no sense
│   ├── NotFound         E_NOT_FOUND          no such id
│   ├── Conflict         E_CONFLICT           the state does not allow it
│   ├── NeedsConfirmation E_CONFIRM           a person must agree first
│   ├── Forbidden        E_FORBIDDEN          the token's role does not allow it
│   ├── ConsentMissing   E_CONSENT            the person did not agree to this use of their data
│   └── TooFewReviews    E_TOO_FEW_REVIEWS    not enough data for an honest number
└── Unavailable          the world failed; the same call may work later
    ├── WorkerWarming    E_WARMING            the models are loading
    ├── WorkerBusy       E_BUSY               the worker's queue is full
    ├── WorkerGone       E_WORKER             the worker could not start, died or failed
    ├── ProviderUnavailable E_PROVIDER        somebody else's server cannot be reached, or refuses
    ├── DiskFull         E_DISK_FULL          nothing was written
    ├── StorageFailed    E_STORAGE            the database or a file cannot be opened, read or written
    └── NotScanned       E_NOT_SCANNED        a text could not be searched for private data, so it was not used
"""

from typing import ClassVar


class LyraError(Exception):
    code: ClassVar[str] = "E_INTERNAL"

    @property
    def message(self) -> str:
        """Without the code: for a place that tells only what is wrong, such as a job's `problem`."""
        return super().__str__()

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class Refused(LyraError):
    code = "E_REFUSED"


class Invalid(Refused):
    code = "E_INVALID"


class NotFound(Refused):
    code = "E_NOT_FOUND"


class Conflict(Refused):
    code = "E_CONFLICT"


class NeedsConfirmation(Refused):
    code = "E_CONFIRM"


class Forbidden(Refused):
    code = "E_FORBIDDEN"


class ConsentMissing(Refused):
    code = "E_CONSENT"


class TooFewReviews(Refused):
    code = "E_TOO_FEW_REVIEWS"


class Unavailable(LyraError):
    code = "E_UNAVAILABLE"


class WorkerWarming(Unavailable):
    code = "E_WARMING"


class WorkerBusy(Unavailable):
    code = "E_BUSY"


class WorkerGone(Unavailable):
    code = "E_WORKER"


class ProviderUnavailable(Unavailable):
    code = "E_PROVIDER"


class DiskFull(Unavailable):
    code = "E_DISK_FULL"


class StorageFailed(Unavailable):
    code = "E_STORAGE"


class NotScanned(Unavailable):
    code = "E_NOT_SCANNED"
