"""Names and places through the optional extra, against a package that looks like the part of Presidio we call."""

import sys

import pytest

from lyra_mcp.domain.detectors import names
from lyra_mcp.domain.screening import Screen
from lyra_mcp.errors import NotScanned

#: What the real package's classes take and give, version 2.2.366; the model finds the words Taro and Kyoto.
PACKAGE = {
    "presidio_analyzer/__init__.py": """
from dataclasses import dataclass

@dataclass
class RecognizerResult:
    entity_type: str
    start: int
    end: int
    score: float

class RecognizerRegistry:
    def __init__(self, recognizers=None, global_regex_flags=None, supported_languages=None):
        self.recognizers = list(recognizers or [])
    def add_recognizer(self, recognizer):
        self.recognizers.append(recognizer)

class AnalyzerEngine:
    def __init__(self, registry=None, nlp_engine=None, supported_languages=None):
        assert nlp_engine.loaded and len(registry.recognizers) == 1
        self.languages, self.entities = supported_languages, registry.recognizers[0].entities
    def analyze(self, text, language, entities=None):
        assert language in self.languages and set(entities) <= set(self.entities)
        words = {"Taro": "PERSON", "Kyoto": "LOCATION"}
        return [RecognizerResult(words[word], text.index(word), text.index(word) + len(word), 0.85)
                for word in words if word in text]
""",
    "presidio_analyzer/nlp_engine.py": """
class NlpEngineProvider:
    def __init__(self, nlp_engines=None, conf_file=None, nlp_configuration=None):
        self.configuration = nlp_configuration
    def create_engine(self):
        [model] = self.configuration["models"]
        assert self.configuration["nlp_engine_name"] == "spacy" and model["lang_code"] == "en"
        class Engine:
            loaded = __import__(model["model_name"])
        return Engine()
""",
    "presidio_analyzer/predefined_recognizers.py": """
class SpacyRecognizer:
    def __init__(self, supported_language="en", supported_entities=None):
        self.entities = supported_entities
""",
    "en_tiny_model.py": '"""A model that is installed."""',
}


@pytest.fixture
def presidio(tmp_path, monkeypatch):
    for name, content in PACKAGE.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    names._engine.cache_clear()
    for name in [name for name in sys.modules if name.startswith(("presidio_analyzer", "en_tiny_model"))]:
        del sys.modules[name]


def test_names_and_places_are_found_beside_what_patterns_find(presidio):
    screen = Screen.build("redact", (), names_model="en_tiny_model")

    assert screen.screen("Taro (taro@example.com) moved to Kyoto").text == (
        "[REDACTED_PERSON] ([REDACTED_EMAIL]) moved to [REDACTED_LOCATION]"
    )


def test_without_the_extra_the_error_names_the_command_that_installs_it():
    with pytest.raises(NotScanned, match=r"pip install 'lyra-mcp\[presidio\]'"):
        Screen.build("redact", (), names_model="en_tiny_model")


def test_without_the_model_the_error_names_the_command_and_nothing_is_downloaded(presidio):
    with pytest.raises(NotScanned, match="python -m spacy download en_core_web_sm"):
        Screen.build("redact", (), names_model="en_core_web_sm")


def test_without_the_setting_nothing_is_imported():
    assert Screen.build("redact", (), names_model=None).detectors == ()
    assert "presidio_analyzer" not in sys.modules
