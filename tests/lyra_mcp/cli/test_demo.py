"""The demonstration runs as a newcomer runs it, and leaves nothing behind."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lyra_mcp.cli.demo_corrections import JARGON, everyday_pairs, exam_pairs, teaching_pairs
from lyra_mcp.cli.demo_evidence import BLOCKED_PATTERN, CLAIMS
from lyra_mcp.cli.demo_memories import ANSWERED, RECOLLECTIONS
from lyra_mcp.domain.domain_rules import Pattern, domain_of, parse_pattern
from lyra_mcp.settings import Settings
from schema.vocabulary import LABELS

EVIDENCE = [evidence for topic in CLAIMS for evidence in topic.evidence]


def _run(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lyra_mcp", "demo", "--json", *options],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def test_the_quick_demonstration_shows_what_a_correction_does_and_leaves_no_trace():
    # Not pytest's folder: its name is too long to hold a socket.
    with tempfile.TemporaryDirectory() as folder:
        done = _run("--quick", TMPDIR=folder)
        assert list(Path(folder).glob("lyra-demo-*")) == []
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert [step["name"] for step in summary["steps"]][:6] == [
        "start",
        "evidence",
        "review",
        "memory",
        "block a domain",
        "measure",
    ]
    assert summary["reviews"]["n"] == summary["calibration"]["before"]["n"] == 24
    memory = summary["memory"]
    assert memory["answered_with_the_persons_label"] == memory["same_pairs"]
    assert memory["unrelated_pair_flagged"] is False
    _check_assistant(summary["assistant"])
    assert "retraining" not in summary


def _check_assistant(assistant):
    """Found in other words, a rating that changes the prompt, a wish learned."""
    recalled, rating, preference = assistant["recall"], assistant["rating"], assistant["preference"]
    assert recalled["found_first"] == recalled["questions"] == 2
    assert rating["examples_before"] == []
    assert rating["examples_after"] == [rating["conversation_id"]]
    assert ANSWERED in rating["prompt"]
    assert (preference["before"]["source"], preference["after"]["source"]) == ("default", "learned")
    assert preference["after"]["value"] == preference["wished"] == "brief"
    assert "short" in preference["prefix"]


def test_the_questions_share_no_word_of_content_with_what_they_should_find():
    def words(text):
        return set(re.findall(r"[a-z]{4,}", text.lower()))

    asked = [one for one in RECOLLECTIONS if one.question is not None]
    assert len(asked) == 2
    assert [words(one.question) & words(one.description) for one in asked] == [set(), set()]


def test_the_whole_demonstration_trains_activates_and_goes_back(tiny_model):
    """With a model that knows nothing, so that the gate has something to refuse."""
    done = _run(LYRA_NLI_MODEL=str(tiny_model))
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    names = ["teach", "plan", "train", "gate", "activate", "roll back"]
    assert [step["name"] for step in summary["steps"]][-6:] == names
    retraining = summary["retraining"]
    assert retraining["reviews"]["n"] == len(teaching_pairs())
    assert retraining["job"]["samples"] >= 100
    assert retraining["job"]["progress"]["step"] > 0
    assert {condition["name"]: condition["met"] for condition in retraining["job"]["gate"]["conditions"]}.keys() == {
        "holdout_accuracy",
        "accuracy_gain_over_champion",
        "brier_gain_over_champion",
        "agreement_with_base",
    }
    assert retraining["activation"]["asked"].startswith("Let version 1 serve")
    assert retraining["activation"]["forced"] is not retraining["job"]["gate"]["passed"]
    assert retraining["exams"]["rolled back"] == retraining["exams"]["base"]
    assert retraining["rollback"]["same_as_base"] == retraining["rollback"]["asked_again"]
    assert [event["action"] for event in retraining["events"]] == ["activate", "rollback"]
    assert [version["aliases"] for version in retraining["versions"]] == [[]]


def test_a_demonstration_that_cannot_start_its_model_says_which_step_failed_and_why():
    done = _run(LYRA_NLI_MODEL="/nowhere/at/all")
    assert done.returncode == 1
    assert "The step 'start' failed: E_WORKER" in done.stderr
    assert json.loads(done.stdout)["failed_step"] == "start"


def test_all_sources_stand_on_domains_reserved_for_examples():
    hosts = {urlsplit(evidence.source_url).hostname for evidence in EVIDENCE}
    assert all(host.endswith((".example.com", ".example.net", ".example.org")) for host in hosts)


def test_the_blocked_pattern_matches_some_sources_and_not_others():
    assert parse_pattern(BLOCKED_PATTERN) == Pattern("example.com", is_wildcard=True)
    blocked = [parse_pattern(BLOCKED_PATTERN).matches(domain_of(evidence.source_url)) for evidence in EVIDENCE]
    assert 0 < sum(blocked) < len(EVIDENCE)


def test_every_claim_has_evidence_of_every_label():
    assert [{evidence.label for evidence in topic.evidence} for topic in CLAIMS] == [set(LABELS)] * len(CLAIMS)


def test_no_sentence_stands_twice():
    sentences = [text for evidence in EVIDENCE for text in (evidence.text, evidence.again)]
    assert len(set(sentences)) == len(sentences)


@pytest.mark.parametrize(
    "pairs", [teaching_pairs(), exam_pairs(), everyday_pairs()], ids=["lessons", "exam", "everyday"]
)
def test_the_three_labels_are_balanced_and_no_pair_stands_twice(pairs):
    counts = Counter(pair.label for pair in pairs)
    assert counts == dict.fromkeys(LABELS, len(pairs) // 3)
    assert len({(pair.claim, pair.evidence) for pair in pairs}) == len(pairs)


def test_the_lessons_are_enough_to_train_on():
    assert len(teaching_pairs()) >= Settings.model_fields["training_samples_min"].default


def test_the_exam_repeats_no_sentence_and_no_ticket_of_the_lessons():
    taught, examined = (
        {text for pair in pairs for text in (pair.claim, pair.evidence)} for pairs in (teaching_pairs(), exam_pairs())
    )
    assert taught & examined == set()
    taught_tickets, exam_tickets = (
        {ticket for text in texts for ticket in re.findall(r"\d+", text)} for texts in (taught, examined)
    )
    assert taught_tickets & exam_tickets == set()


@pytest.mark.parametrize("pairs", [teaching_pairs(), exam_pairs()], ids=["lessons", "exam"])
def test_the_evidence_alone_does_not_give_the_label_away(pairs):
    labels: dict[str, list[str]] = defaultdict(list)
    for pair in pairs:
        labels[pair.evidence].append(pair.label)
    assert {tuple(sorted(found)) for found in labels.values()} == {tuple(sorted(LABELS))}


def test_no_everyday_sentence_speaks_the_jargon():
    words = {word.word for word in JARGON}
    assert not any(word in f"{pair.claim} {pair.evidence}" for pair in everyday_pairs() for word in words)
