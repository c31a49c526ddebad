"""The `/jobs` routes: one line each around the job machine.

curl --no-buffer --unix-socket WORKER.SOCK http://worker/jobs/JOB_ID/events
"""

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from ml_worker.job_folders import JobRefused
from ml_worker.jobs import JobMachine
from schema.jobs import JobList, JobProblem, JobProblemCode, JobStatus, Preflight, PreflightReply, ResumeJob, StartJob
from schema.sealing import as_bytes

#: Every other refusal is a 400.
STATUS: dict[JobProblemCode, int] = {
    "not_found": 404,
    "conflict": 409,
    "sealed": 403,
    "insufficient_disk": 507,
    "insufficient_gpu_memory": 503,
}


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, JobRefused)
    return JSONResponse(error.problem.model_dump(), STATUS.get(error.problem.code, 400))


def job_routes(machine: JobMachine) -> APIRouter:
    failure = {"model": JobProblem}
    router = APIRouter(prefix="/jobs", responses=dict.fromkeys((400, 403, 404, 409, 503, 507), failure))

    @router.post("")
    async def start(body: StartJob) -> JobStatus:
        return machine.start(body.job_id, as_bytes(body.key))

    @router.get("")
    async def find_all() -> JobList:
        return JobList(jobs=machine.all())

    @router.post("/preflight")
    def preflight(body: Preflight) -> PreflightReply:
        return machine.preflight(body)

    @router.get("/{job_id}")
    async def read(job_id: str) -> JobStatus:
        return machine.status(job_id)

    @router.get("/{job_id}/events", response_class=StreamingResponse)
    async def events(job_id: str) -> StreamingResponse:
        machine.status(job_id)  # an unknown job is a 404, not an empty stream
        return StreamingResponse(
            machine.events(job_id), media_type="text/event-stream", headers={"cache-control": "no-store"}
        )

    @router.post("/{job_id}/cancel")
    async def cancel(job_id: str) -> JobStatus:
        return machine.cancel(job_id)

    @router.post("/{job_id}/resume")
    async def resume(job_id: str, body: ResumeJob | None = None) -> JobStatus:
        return machine.resume(job_id, as_bytes(body.key) if body else None)

    return router


def mount_jobs(app: FastAPI, machine: JobMachine) -> None:
    """All an app needs: the routes, and how their refusals read."""
    app.include_router(job_routes(machine))
    app.add_exception_handler(JobRefused, _refused)
