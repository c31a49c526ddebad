"""Every failure a request can meet, and the one table that maps it to the wire.

WorkerError
├── Invalid         400  the request makes no sense
├── AdapterRefused  404  no such adapter, or one that must not serve
├── Warming         503  the models are loading
├── Busy            503  the queue is full
├── Failed          500  the model could not answer
└── OutOfMemory     500  even one pair does not fit
BaseRefused              a base model that cannot serve; the worker's state becomes `failed`
"""

from typing import ClassVar

from schema.wire import Problem, ProblemCode


class WorkerError(Exception):
    code: ClassVar[ProblemCode] = "failed"
    status: ClassVar[int] = 500

    def problem(self) -> Problem:
        return Problem(code=self.code, message=str(self))


class Invalid(WorkerError):
    code = "invalid"
    status = 400


class AdapterRefused(WorkerError):
    code = "unknown_adapter"
    status = 404


class Warming(WorkerError):
    code = "warming"
    status = 503


class Busy(WorkerError):
    code = "busy"
    status = 503


class Failed(WorkerError):
    pass


class OutOfMemory(WorkerError):
    code = "out_of_memory"


class BaseRefused(Exception):
    pass
