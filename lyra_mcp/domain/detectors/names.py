"""Names of people and places, by a language model that not everybody has: the optional extra `presidio`."""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

from lyra_mcp.domain.detectors.findings import Finding
from lyra_mcp.errors import NotScanned

#: What Presidio calls them, and what we do.
NAME_TYPES = {"PERSON": "person", "LOCATION": "location"}
#: The first part of a spaCy model's name.
_LANGUAGE_CHARS = 2


def build_name_detector(model: str) -> Callable[[str], list[Finding]]:
    """A detector over an installed spaCy model such as `en_core_web_sm`; it is loaded at the first text.

    Raises:
        NotScanned: Presidio or the model is not installed. Nothing is downloaded.
    """
    if find_spec("presidio_analyzer") is None:
        raise NotScanned(
            "names and places are to be found (LYRA_REDACTION_NAMES_MODEL), and Presidio is not installed; run"
            " pip install 'lyra-mcp[presidio]', or take the setting away"
        )
    if find_spec(model) is None:
        raise NotScanned(
            f"the spaCy model {model!r} of LYRA_REDACTION_NAMES_MODEL is not installed; run"
            f" python -m spacy download {model}, or take the setting away"
        )

    def find_names(text: str) -> list[Finding]:
        results = _engine(model).analyze(text=text, language=model[:_LANGUAGE_CHARS], entities=list(NAME_TYPES))
        return [
            Finding(NAME_TYPES[result.entity_type], result.start, result.end, float(result.score))
            for result in results
            if result.start < result.end
        ]

    return find_names


@cache
def _engine(model: str) -> Any:
    """Only the recognizer that reads the model's own words: others would ask the network for lists of domains."""
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry  # noqa: PLC0415 - an optional extra
    from presidio_analyzer.nlp_engine import NlpEngineProvider  # noqa: PLC0415 - likewise
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer  # noqa: PLC0415 - likewise

    language = model[:_LANGUAGE_CHARS]
    engine = NlpEngineProvider(
        nlp_configuration={"nlp_engine_name": "spacy", "models": [{"lang_code": language, "model_name": model}]}
    ).create_engine()
    registry = RecognizerRegistry(supported_languages=[language])
    registry.add_recognizer(SpacyRecognizer(supported_language=language, supported_entities=list(NAME_TYPES)))
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language])
