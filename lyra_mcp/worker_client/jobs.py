"""What the server asks of the worker's job machine."""

from lyra_mcp.worker_client.client import WorkerClient
from schema.jobs import JobStatus, Preflight, PreflightReply, ResumeJob, StartJob
from schema.sealing import as_file_key

#: The worker answers from the job's folder; only a busy disk makes it wait.
JOBS_TIMEOUT_S = 30.0


class JobsClient:
    """The job machine as functions."""

    def __init__(self, worker: WorkerClient) -> None:
        self._worker = worker

    async def preflight(self, order: Preflight) -> PreflightReply:
        """Would such a job be accepted, and how long would it take? Starts a worker, but no job."""
        return await self._worker.serve("/jobs/preflight", PreflightReply, order, timeout_s=JOBS_TIMEOUT_S)

    async def start(self, job_id: str, key: bytes | None = None) -> JobStatus:
        """Order a job whose folder is prepared, with the key of what is sealed; starts a worker if there is none.

        A job that was started and waits for its key goes on with it.

        Raises:
            StorageFailed: the key is missing or does not fit.
        """
        order = StartJob(job_id=job_id, key=as_file_key(key))
        return await self._worker.serve("/jobs", JobStatus, order, timeout_s=JOBS_TIMEOUT_S)

    async def resume(self, job_id: str, key: bytes | None = None) -> JobStatus:
        """Raises like `start`."""
        order = ResumeJob(key=as_file_key(key))
        return await self._worker.serve(f"/jobs/{job_id}/resume", JobStatus, order, timeout_s=JOBS_TIMEOUT_S)

    async def cancel(self, job_id: str) -> JobStatus:
        """Starts a worker if there is none: a training outlives the worker that began it."""
        return await self._worker.serve(f"/jobs/{job_id}/cancel", JobStatus, None, timeout_s=JOBS_TIMEOUT_S)

    async def status(self, job_id: str) -> JobStatus:
        """Raises WorkerGone where no worker runs; starts none."""
        return await self._worker.ask("GET", f"/jobs/{job_id}", JobStatus, timeout_s=JOBS_TIMEOUT_S)
