"""What server and worker both call the files of a job's folder."""

from lyra_mcp.storage import job_folders
from ml_worker.job_folders import JobFolder


def test_the_servers_mark_of_a_cancelled_job_is_the_one_the_worker_looks_for(tmp_path):
    (tmp_path / "job_1").mkdir()

    job_folders.mark_cancelled(tmp_path, "job_1")

    assert JobFolder(tmp_path / "job_1").cancel.exists()


def test_a_job_whose_folder_is_gone_needs_no_mark(tmp_path):
    job_folders.mark_cancelled(tmp_path, "job_1")

    assert list(tmp_path.iterdir()) == []
