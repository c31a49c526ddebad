"""Wishes are heard, and words that only look like wishes are not."""

import pytest

from lyra_mcp.domain.preference_hints import CHARS_READ, find_hints

BRIEF, DETAILED = {"detail_level": "brief"}, {"detail_level": "detailed"}


@pytest.mark.parametrize(
    ("message", "hints"),
    [
        ("Be brief.", BRIEF),
        ("What is a monad? Keep it short, please", BRIEF),
        ("please keep your answers concise", BRIEF),
        ("Explain monads in one sentence", BRIEF),
        ("Briefly explain monads", BRIEF),
        ("Could you give a shorter answer?", BRIEF),
        ("簡潔に", BRIEF),
        ("モナドについて簡潔に説明してください。", BRIEF),
        ("簡潔に、要点を教えて", BRIEF),
        ("手短にお願いします", BRIEF),
        ("短く答えて", BRIEF),
        ("一言で説明して", BRIEF),
        ("Explain monads in detail", DETAILED),
        ("Please elaborate", DETAILED),
        ("be more thorough", DETAILED),
        ("もっと詳しく", DETAILED),
        ("モナドを詳しく教えてください", DETAILED),
        ("モナドについて詳しく知りたい", DETAILED),
        ("use bullet points", {"response_format": "bullet_points"}),
        ("箇条書きでお願いします", {"response_format": "bullet_points"}),
        ("No bullet points, please", {"response_format": "conversational"}),
        ("箇条書きはやめて", {"response_format": "conversational"}),
        ("Use headings", {"response_format": "structured"}),
        ("Be more formal", {"tone": "formal"}),
        ("敬語でお願いします", {"tone": "formal"}),
        ("be funny", {"tone": "humorous"}),
        ("in a casual tone", {"communication_style": "casual"}),
        ("be more technical", {"communication_style": "technical"}),
        ("use 24-hour time", {"time_format": "24h"}),
        ("２４時間表記で書いて", {"time_format": "24h"}),
        ("Answer in English", {"language": "en"}),
        ("日本語で答えて", {"language": "ja"}),
        ("Be brief and use bullet points", {**BRIEF, "response_format": "bullet_points"}),
    ],
)
def test_a_wish_is_a_hint(message, hints):
    assert find_hints(message) == hints


@pytest.mark.parametrize(
    "message",
    [
        "what is the shortest path algorithm?",
        "A brief history of Rome",
        "Write a summary of the short story",
        "Quick sort or merge sort?",
        "why is there a short circuit?",
        "I was briefly in Paris",
        "Don't be too brief",
        "do not keep it short",
        "the details of the contract",
        "What does elaborate mean?",
        "最短経路のアルゴリズムを教えて",
        "簡潔にまとめられた本を探しています",
        "簡潔に答えないで",
        "短くない文章",
        "詳しくは以下を参照",
        "私は詳しくない",
        "日本語で書かれた本",
        "Translate this into Japanese",
        "professional football",
        "formal languages and automata",
        "The 24 hour race of Le Mans",
        "Be brief. No: explain in detail.",
        "",
        "🙂🙂",
    ],
)
def test_what_only_looks_like_a_wish_is_none(message):
    assert find_hints(message) == {}


@pytest.mark.parametrize(
    ("message", "level"),
    [
        ("I'm new to Python, how do I start?", "beginner"),
        ("Pythonとは何ですか", "beginner"),
        ("How do I profile the bottleneck of this loop?", "advanced"),
        ("非同期処理の最適化", "advanced"),
        ("I am a maintainer of CPython; why is this slow?", "expert"),
        ("Which tutorial explains the trade-offs?", "intermediate"),
        ("Sort this list", None),
    ],
)
def test_a_question_shows_what_its_author_knows_of_the_topic(message, level):
    assert find_hints(message, "python").get("expertise_level.python") == level
    assert "expertise_level.python" not in find_hints(message)


def test_only_the_ends_of_a_long_message_are_read():
    pasted = "x" * 3 * CHARS_READ

    assert find_hints(f"{pasted} be brief {pasted}") == {}
    assert find_hints(f"{pasted} be brief") == find_hints(f"be brief {pasted}") == BRIEF
