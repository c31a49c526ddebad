"""What is left of a text: by the person's mode, and nothing where a detector fails."""

import pytest

from lyra_mcp.domain.redaction import UserPattern
from lyra_mcp.domain.screening import Screen, Screened, leaving
from lyra_mcp.errors import Conflict, NotScanned

PRIVATE = "write to taro@example.com"


def broken(text):
    raise RuntimeError(text)


@pytest.mark.parametrize(
    ("mode", "outcome", "text"),
    [
        ("redact", "redacted", "write to [REDACTED_EMAIL]"),
        ("exclude", "excluded", None),
        ("quarantine", "quarantined", None),
    ],
)
def test_each_mode_leaves_what_it_says(mode, outcome, text):
    screened = Screen(mode).screen(PRIVATE)

    assert (screened.outcome, screened.text) == (outcome, text)
    assert [finding.type for finding in screened.findings] == ["email"]


@pytest.mark.parametrize("mode", ["redact", "exclude", "quarantine"])
def test_a_clean_text_passes_in_every_mode(mode):
    assert Screen(mode).screen("nothing here") == Screened("clean", "nothing here")


@pytest.mark.parametrize("mode", ["redact", "exclude", "quarantine"])
def test_where_a_detector_fails_the_text_is_left_out_and_it_is_said(mode):
    screen = Screen(mode, detectors=(broken,))

    assert screen.screen("nothing here") == Screened("not_scanned", None)
    assert not screen.is_safe("nothing here")
    with pytest.raises(NotScanned, match="RuntimeError in a detector"):
        screen.findings("nothing here")


def test_the_error_of_a_detector_does_not_repeat_the_text():
    with pytest.raises(NotScanned) as error:
        Screen("redact", detectors=(broken,)).findings("the secret text")
    assert "secret" not in str(error.value)


def test_a_pattern_that_cannot_run_leaves_the_text_out():
    assert Screen("redact", [UserPattern("own", "(")]).screen("text").outcome == "not_scanned"


def test_private_data_in_the_metadata_alone_makes_an_exchange_unsafe():
    exchange = {"messages": [{"role": "user", "content": "hi"}], "response": "hello", "feedback": {"rating": 5}}

    assert Screen("redact").is_safe(exchange)
    assert not Screen("redact").is_safe(exchange | {"metadata": {"client": "taro@example.com"}})


def said(*texts):
    return [{"role": "user", "content": text} for text in texts]


def test_what_leaves_has_tags_in_the_place_of_private_data():
    assert leaving(said(PRIVATE, "clean"), Screen("redact")) == said("write to [REDACTED_EMAIL]", "clean")


@pytest.mark.parametrize("mode", ["exclude", "quarantine"])
def test_private_messages_stay_behind_and_a_private_question_is_refused(mode):
    assert leaving(said(PRIVATE, "clean"), Screen(mode)) == said("clean")
    with pytest.raises(Conflict, match=rf"private data \(email\), which LYRA_REDACTION_MODE={mode} keeps"):
        leaving(said("clean", PRIVATE), Screen(mode))


@pytest.mark.parametrize("screen", [None, Screen("redact", detectors=(broken,))], ids=["no search", "a broken one"])
def test_what_nobody_could_search_does_not_leave(screen):
    with pytest.raises(NotScanned):
        leaving(said("clean"), screen)
