"""The real training child: from a prepared folder to its end, also when it is killed on the way."""

import hashlib
import json
import random
import signal
from datetime import UTC, datetime

import pytest

from lyra_mcp.domain.versions import Job
from lyra_mcp.operations.gating import judge_report
from lyra_mcp.settings import Settings
from ml_worker.job_folders import JobRefused, reconciled
from ml_worker.training import checkpoints, run
from ml_worker.training.preconditions import Probes
from ml_worker.training.progress import Progress, StopFlag
from schema.jobs import NLI_LORA_RECIPES, JobStatus, Limits
from schema.reports import NliReport

WAIT_S = 120.0


def begin(folder):
    folder.write_status(
        JobStatus(job_id=folder.path.name, kind="nli_lora", state="waiting", created_at=datetime.now(UTC))
    )


def train(folder, **probes):
    """In this process, without signals."""
    if folder.read_status() is None:
        begin(folder)
    progress = Progress(folder, folder.read_status())
    return run.run_to_an_end(run.Run(folder, folder.path.parent, progress, StopFlag(), Probes(**probes)), progress)


def outcome(folder):
    return {
        name: (folder.adapter / name).read_bytes()
        for name in ("adapter_model.safetensors", "adapter_config.json", "lyra_adapter.json")
    }


def report(folder):
    return NliReport.model_validate_json(folder.report.read_bytes())


def judge(folder):
    """What the gate says, with the thresholds that hold where nobody sets others."""
    found = report(folder)
    job = Job(
        job_id=found.job_id,
        kind=found.kind,
        state="gated",
        base_model=found.base_model,
        fingerprint=found.fingerprint,
        recipe_name=found.recipe_name,
        samples_sha256=found.data.samples_sha256,
        samples=len(found.assigned),
        champion_version=None,
        problem=None,
        created_at=str(found.created_at),
        updated_at=str(found.created_at),
    )
    version = judge_report(
        found,
        job=job,
        number=1,
        adapter_path=found.job_id,
        accuracy_min=Settings.model_fields["gate_accuracy_min"].default,
        agreement_min=Settings.model_fields["gate_agreement_min"].default,
        created_at=job.created_at,
    )
    return version.gate


def test_a_job_ends_with_an_adapter_and_a_report_that_says_everything(make_job, make_samples, base):
    folder = make_job(samples=make_samples(120, unreviewed=20))
    assert train(folder) == 0

    status, found = folder.read_status(), report(folder)
    assert (status.state, status.step, status.problem, status.pid) == ("evaluated", found.training.steps, None, None)
    assert found.candidate.accuracy > found.base.accuracy
    assert [p.sample_id for p in found.predictions] == [a.sample_id for a in found.assigned if a.part == "holdout"]
    assert len(found.assigned) == 120
    assert found.champion is None
    assert found.agreement.unreviewed <= found.agreement.n
    assert found.training.peak_memory_bytes > 10_000_000
    low_rank = 2 * 4 * (4 * (32 + 32) + 2 * (32 + 64))  # layers * r * (attention + feed-forward), each d + k
    learned = low_rank + 32 * 3 + 3  # and the head
    everything = sum(parameter.numel() for parameter in base.model.parameters()) + learned
    assert (found.training.lora_parameters, found.training.trainable_parameters) == (low_rank, learned)
    assert found.training.trainable_share == learned / everything
    assert found.adapter_bytes == sum(map(len, outcome(folder).values())) < 5_000_000
    assert "example.org" in status.warnings[0]
    lines = [json.loads(line) for line in folder.loss.read_text().splitlines()]
    assert lines == [line.model_dump() for line in found.training.curve]


def test_the_seeds_recipe_leaves_its_manifest_and_a_record_of_three_epochs(make_job, make_samples, base):
    recipe = NLI_LORA_RECIPES["seed"].model_copy(update={"patience": 3})
    folder = make_job(samples=make_samples(100), recipe=recipe, seed=5)
    assert train(folder) == 0

    found, request = report(folder), folder.read_request()
    files = outcome(folder)
    manifest = json.loads(files["lyra_adapter.json"])
    assert manifest == {
        "base_fingerprint": base.fingerprint,
        "base_model": request.base_model,
        "environment": found.environment,
        "job_id": "job-1",
        "kind": "nli_lora",
        "recipe": recipe.model_dump(),
        "recipe_name": "test",
        "samples_sha256": hashlib.sha256(folder.samples.read_bytes()).hexdigest(),
        "seed": 5,
        "temperature": found.candidate.temperature,
        "trained_on": sum(sample.part == "train" for sample in found.assigned),
        "weights_sha256": hashlib.sha256(files["adapter_model.safetensors"]).hexdigest(),
    }
    config = json.loads(files["adapter_config.json"])
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (8, 32, 0.1)
    assert (config["task_type"], config["target_modules"]) == ("SEQ_CLS", ["query", "value"])
    lines = [json.loads(line) for line in folder.loss.read_text().splitlines()]
    assert [line["epoch"] for line in lines if "validation_loss" in line] == [0, 1, 2, 3]
    assert found.training.learning_rate_max >= 0.95 * 2e-4


def test_the_champion_answers_the_same_samples(make_job, make_samples):
    first, second = make_job("first"), make_job("second", champion="first/adapter")
    train(first)
    train(second)

    found = report(second)
    assert found.champion == found.candidate
    assert found.candidate.accuracy > found.base.accuracy
    assert (found.changes, found.changes_total) == ([], 0), "nothing, for whom the champion serves already"
    assert all(prediction.champion == prediction.candidate for prediction in found.predictions)


def test_base_and_champion_are_measured_at_the_temperatures_in_force(make_job):
    first, second = make_job("first"), make_job("second", champion="first/adapter")
    in_force = make_job("third", champion="first/adapter", base_temperature=2.5, champion_temperature=3.5)
    for folder in (first, second, in_force):
        train(folder)

    shipped, served = report(second), report(in_force)
    assert (served.base.temperature, served.champion.temperature) == (2.5, 3.5)
    assert served.champion.brier != shipped.champion.brier
    assert (served.champion.accuracy, served.candidate) == (shipped.champion.accuracy, shipped.candidate)


def test_the_page_opens_offline_and_escapes_what_people_wrote(make_job, make_samples):
    samples = make_samples(120)
    samples = [s.model_copy(update={"premise": s.premise + " <script>alert(1)</script>"}) for s in samples]
    folder = make_job(samples=samples)
    train(folder)

    page = folder.page.read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<svg") == 2
    assert "prefers-color-scheme: dark" in page


def test_labels_without_a_rule_do_not_beat_the_gate(make_job, make_samples, recipe):
    """Where the same recipe, with labels of a rule, meets every condition that can be measured."""
    recipe, gates = recipe.model_copy(update={"epochs": 8, "alpha": 8}), {}
    for name, is_shuffled in (("ruled", False), ("shuffled", True)):
        folder = make_job(name, samples=make_samples(300, shuffled=is_shuffled), recipe=recipe)
        train(folder)
        gates[name] = judge(folder)
    failed = {name: {c.name for c in gate.conditions if not c.met} for name, gate in gates.items()}

    # A random base is sure of nothing, so there is nothing to agree with.
    assert failed["ruled"] == {"agreement_with_base"}
    assert "holdout_accuracy" in failed["shuffled"]
    assert not gates["shuffled"].passed


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"fingerprint": "0" * 64}, "fingerprint_mismatch"),
        ({"samples_sha256": "0" * 64}, "invalid_samples"),
        ({"champion": "nobody"}, "unknown_adapter"),
        ({"base_model": "/nowhere"}, "unusable_base"),
        ({"limits": Limits(samples_min=121)}, "too_few_samples"),
        ({"limits": Limits(device="cuda")}, "no_gpu"),
    ],
)
def test_an_order_that_cannot_be_done_fails_and_says_why(make_job, changes, code):
    folder = make_job(**changes)
    assert train(folder, gpu_free_bytes=lambda: None) == 1

    status = folder.read_status()
    assert (status.state, status.problem.code) == ("failed", code)
    assert not folder.report.exists()


def test_the_number_of_missing_samples_is_told(make_job, make_samples):
    folder = make_job(samples=make_samples(99))
    train(folder)

    message = folder.read_status().problem.message
    assert "99" in message
    assert "100" in message
    assert not folder.adapter.exists()


def test_a_disk_with_less_than_a_gigabyte_is_refused_before_anything_is_written(make_job):
    folder = make_job()
    train(folder, disk_free_bytes=lambda _: 900_000_000)

    assert folder.read_status().problem.code == "insufficient_disk"
    assert not folder.checkpoints.exists()
    assert train(folder, disk_free_bytes=lambda _: 1_000_000_000) == 0


def test_a_gpu_without_room_is_refused_with_the_reason(make_job):
    folder = make_job()
    train(folder, gpu_free_bytes=lambda: 3_900_000_000)

    problem = folder.read_status().problem
    assert problem.code == "insufficient_gpu_memory"
    assert "3.9 GB" in problem.message
    assert "LYRA_TRAINING_DEVICE=cpu" in problem.message


def test_where_the_person_says_so_the_cpu_trains_beside_a_gpu_without_room_and_warns(make_job):
    folder = make_job(limits=Limits(device="cpu"))
    train(folder, gpu_free_bytes=lambda: 3_900_000_000)

    status = folder.read_status()
    assert (status.state, status.device) == ("evaluated", "cpu")
    assert any("trains on the CPU: about" in warning for warning in status.warnings)


def test_a_time_limit_is_told_in_the_report(make_job):
    folder = make_job(limits=Limits(time_s=0.001))
    train(folder)

    assert folder.read_status().state == "evaluated"
    assert report(folder).training.stopped_by == "time_limit"


def test_a_full_disk_in_the_middle_is_a_failed_job_that_can_be_resumed(make_job, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    folder = make_job()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_write_manifest", full)
        train(folder)
    status = folder.read_status()
    assert (status.state, status.problem.code) == ("failed", "insufficient_disk")
    assert list(folder.checkpoints.iterdir()) == []

    assert train(folder) == 0


def test_killed_at_random_moments_it_ends_like_an_undisturbed_job(make_job, child, recipe, wait_until):
    recipe = recipe.model_copy(update={"epochs": 6, "patience": 6})
    limits = Limits(checkpoint_s=0.2)
    undisturbed = make_job("undisturbed", recipe=recipe, limits=limits)
    train(undisturbed)
    folder = make_job("killed", recipe=recipe, limits=limits)
    chance, killed = random.Random(), 0
    for _attempt in range(2):
        process = child(folder)
        wait_until(process, lambda: folder.read_status().state == "training")
        moment = folder.read_status().step + chance.randrange(30)
        wait_until(
            process,
            lambda moment=moment: (
                folder.read_status().state == "evaluating"
                or max((int(p.name[5:]) for p in folder.checkpoints.glob("step-*")), default=0) >= moment
            ),
        )
        killed += process.poll() is None
        process.kill()
        process.wait(WAIT_S)
        assert not folder.adapter.exists() or folder.read_status().state in ("evaluating", "evaluated")
        assert reconciled(folder, folder.read_status()).state in ("interrupted", "evaluated")
    process = child(folder)
    assert process.wait(WAIT_S) == 0

    assert killed
    ours, theirs = outcome(folder), outcome(undisturbed)
    assert ours.pop("lyra_adapter.json") == theirs.pop("lyra_adapter.json").replace(b"undisturbed", b"killed")
    assert ours == theirs
    assert report(folder).predictions == report(undisturbed).predictions


def test_sigterm_saves_and_leaves_a_resumable_job(make_job, child, recipe, wait_until):
    folder = make_job(recipe=recipe.model_copy(update={"epochs": 50, "patience": 50}))
    process = child(folder)
    wait_until(process, lambda: folder.read_status().state == "training")
    process.send_signal(signal.SIGTERM)

    assert process.wait(WAIT_S) == 1
    assert folder.read_status().state == "interrupted"
    assert checkpoints.newest(folder.checkpoints) is not None
    assert not folder.adapter.exists()


def test_two_children_cannot_train_one_job(make_job):
    folder = make_job()
    with folder.held():
        assert folder.is_running()
        with pytest.raises(JobRefused, match="already being trained"), folder.held():
            pass
    assert not folder.is_running()
