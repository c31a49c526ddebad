"""The server's side of the socket: asks the worker, and sees to it that there is one."""

from lyra_mcp.worker_client.client import WorkerClient
from lyra_mcp.worker_client.process import WorkerProcess
from lyra_mcp.worker_client.status import WorkerStatus

__all__ = ["WorkerClient", "WorkerProcess", "WorkerStatus"]
