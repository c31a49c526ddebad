"""The benchmark of the whole loop on public data, run on a folder of made-up data so that it cannot rot."""

import gzip
import json
import sys

import pytest

from benchmarks import adaptation
from benchmarks.tiny_model import write_tiny_model
from schema.vocabulary import LABELS


def row(number: int, **more) -> dict[str, str]:
    label = LABELS[number % 3]
    return {"premise": f"case {number} is {label}.", "hypothesis": "a claim.", "label": label, **more}


@pytest.fixture(name="data")
def _data(tmp_path):
    """The two files in the form of the public ones."""
    folder = tmp_path / "data" / "nli"
    folder.mkdir(parents=True)
    domain = [row(n, split="train" if n < 60 else "dev") for n in range(90)]
    elsewhere = [row(n, source=adaptation.ELSEWHERE[n % 2]) for n in range(30)]
    for name, rows in (("scifact", domain), ("dev", elsewhere)):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(one) + "\n" for one in rows)
    return folder.parent


def test_it_trains_on_the_domain_and_measures_both(data, tmp_path, monkeypatch, capsys):
    model = write_tiny_model(tmp_path / "model", sureness=30)
    change = json.dumps({"epochs": 1, "rehearsal_batch": 2, "rehearsal_pairs": 10})
    options = ["--corrections", "40", "--seeds", "1", "--noise", "0.1", "--change", change, "--strengths", "0.5", "1"]
    monkeypatch.setattr(sys, "argv", ["adaptation", "--data", str(data), "--base", str(model), *options])

    adaptation.main()

    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines] == [["default", "40", "1", "0.50"], ["default", "40", "1", "1.00"]]
    for line in lines:
        here, gained, there, lost, agrees, *_ = map(float, line.split()[4:])
        assert all(0 <= share <= 100 for share in (here, there, agrees))
        assert abs(gained) <= 100 >= abs(lost)


def test_the_noise_is_seeded_and_changes_that_share_of_the_labels():
    rows = [row(n) for n in range(1000)]

    noisy = adaptation.as_samples(rows, noise=0.2, seed=3)

    assert noisy == adaptation.as_samples(rows, noise=0.2, seed=3)
    wrong = sum(sample.label != given["label"] for sample, given in zip(noisy, rows, strict=True))
    assert 150 < wrong < 250
    assert [sample.label for sample in adaptation.as_samples(rows)] == [given["label"] for given in rows]
