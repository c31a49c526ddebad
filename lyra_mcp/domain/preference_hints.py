"""Wishes about the form of an answer, read from a person's words, in English and Japanese.

A hint must be a wish: "be brief" and 簡潔に答えて are, "the shortest path" and "a brief history" are not. Each pattern
is anchored at word boundaries, or in Japanese, which has no spaces, at the forms that make a wish of a word.
"""

import re
import unicodedata
from collections.abc import Iterable

from lyra_mcp.domain.preferences import EXPERTISE, LANGUAGE

#: Longer messages carry pasted text, whose words are not the person's; only both ends are read.
CHARS_READ = 2_000

_BE = r"(?:be|keep (?:it|this|that|(?:your|the) (?:answers?|repl(?:y|ies)|responses?))|make (?:it|this|that))"
_MORE = r"(?:(?:very|more|as|a bit|a little|much) )*"
_SAY = r"(?:explain|answer|describe|reply|respond|summari[sz]e|tell me|write)"
_TONE = r"(?:tone|style|manner|way|voice)"
_ASKED = (
    r"(?:答え|こたえ|教え|おしえ|説明|解説|紹介|返事|返答|回答|返し|話し|述べ|示し|伝え|言っ|書い|書き|まとめ|要約|して|"
    r"お願い|おねがい|頼|よろしく|ください|下さい)"
)

#: (key, value): what wishes for it. Read in lower case, after NFKC.
_WISHES: dict[tuple[str, str], tuple[str, ...]] = {
    ("detail_level", "brief"): (
        rf"\b{_BE} {_MORE}(?:brief|short(?:er)?|concise|succinct|terse)\b(?! (?:on|of)\b)",
        rf"\b{_SAY}\b[^.?!\n]{{0,40}}\b(?:briefly|concisely|in (?:a|one|two|a few|1|2) (?:words?|sentences?|lines?))\b",
        rf"\b(?:briefly|concisely)\b,? {_SAY}\b",
        r"\b(?:shorter|briefer|more concise) (?:answers?|repl(?:y|ies)|responses?|versions?)\b",
        r"\b(?:short|brief|concise) (?:answers?|repl(?:y|ies)|responses?) (?:please|only)\b",
        r"\btl;?dr,? (?:please|only)\b",
        r"(?:簡潔|手短|端的|簡単)に(?=、?[^。、\n]{0,6}" + _ASKED + r"|[。!]*$)",
        r"短く(?=、?[^。、\n]{0,4}" + _ASKED + r"|[。!]*$)",
        r"(?:一言|ひとこと|一文|一行)で" + _ASKED,
        r"要点(?:だけ|のみ)",
    ),
    ("detail_level", "detailed"): (
        rf"\b{_BE} {_MORE}(?:detailed|thorough|comprehensive)\b",
        r"\b(?:in|with) (?:more|full|great|greater|much more|some) detail\b",
        rf"\b{_SAY}\b[^.?!\n]{{0,40}}\b(?:in detail|at length|thoroughly|step by step)\b",
        r"\b(?:more details?|(?:more )?(?:detailed|thorough|longer) (?:answer|explanation|reply|response)s?)\b",
        r"\b(?:please|can you|could you) elaborate\b|\belaborate (?:more|further|on (?:this|that|it))\b",
        r"(?:詳しく|くわしく|詳細に|丁寧に|じっくり)(?=、?[^。、\n]{0,6}(?:" + _ASKED + r"|知りたい)|[。!]*$)",
    ),
    ("response_format", "bullet_points"): (
        r"\b(?:use|in|as|with|give me|into) (?:a )?(?:bullet(?:ed)?[ -]?(?:points?|lists?)|bullets)\b",
        r"箇条書き(?:で|に|を使)",
    ),
    ("response_format", "structured"): (
        r"\b(?:use|with|under|add) (?:clear )?(?:headings|sections)\b",
        r"\b(?:well[- ])?structured (?:answers?|repl(?:y|ies)|responses?|format)\b",
        r"見出し(?:を?(?:付け|つけ)|付きで|つきで)",
    ),
    ("response_format", "conversational"): (
        r"\b(?:no|without|skip the|stop using) (?:bullet(?:ed)?[ -]?(?:points?|lists?)|bullets|headings)\b",
        r"\bin (?:plain )?prose\b",
        r"箇条書き(?:は|を)?(?:やめ|なし|使わ|しない|せず)",
    ),
    ("tone", "formal"): (
        rf"\b{_BE} {_MORE}formal\b",
        rf"\b(?:in|use) (?:a )?(?:more )?formal {_TONE}\b",
        r"(?:敬語|丁寧語)で",
    ),
    ("tone", "friendly"): (
        rf"\b{_BE} {_MORE}friendl(?:y|ier)\b",
        rf"\b(?:in|use) (?:a )?(?:more )?friendl(?:y|ier) {_TONE}\b",
        r"(?:フレンドリー|親しみやすく|やさしい口調)(?:に|で|" + _ASKED + ")",
    ),
    ("tone", "humorous"): (
        rf"\b{_BE} {_MORE}(?:funny|funnier|humorous|witty)\b",
        r"\bwith (?:some |a bit of |more )?humou?r\b",
        r"(?:ユーモア|冗談)(?:を|も)?(?:交え|まじえ|入れ|たっぷり)",
    ),
    ("tone", "neutral"): (rf"\b(?:in|use|with) a (?:more )?neutral {_TONE}\b", r"中立的(?:に|な口調で)"),
    ("communication_style", "casual"): (
        rf"\b{_BE} {_MORE}casual\b",
        rf"\b(?:in|use) (?:a )?(?:more )?casual {_TONE}\b",
        r"(?:タメ口|ため口|くだけた(?:口調|感じ)|カジュアル)(?:に|で)",
    ),
    ("communication_style", "professional"): (
        rf"\b{_BE} {_MORE}professional\b",
        rf"\b(?:in|use) (?:a )?(?:more )?professional {_TONE}\b",
        r"ビジネス(?:文書|文体|敬語|ライク)?(?:風|らしく|に|で)" + _ASKED,
    ),
    ("communication_style", "technical"): (
        rf"\b{_BE} {_MORE}technical\b",
        rf"\b(?:in|use) (?:more )?technical (?:terms|language|{_TONE})\b",
        r"(?:技術|専門)(?:的に|用語で)" + _ASKED,
    ),
    ("time_format", "24h"): (r"\b(?:use|in|with) (?:the |a )?24[- ]?h(?:ours?)?\b", r"24時間(?:表記|制)で"),
    ("time_format", "12h"): (r"\b(?:use|in|with) (?:the |a )?12[- ]?h(?:ours?)?\b", r"12時間(?:表記|制)で"),
    (LANGUAGE, "en"): (rf"\b{_SAY}\b(?: to)?(?: me)? in english\b", r"英語で" + _ASKED),
    (LANGUAGE, "ja"): (rf"\b{_SAY}\b(?: to)?(?: me)? in japanese\b", r"日本語で" + _ASKED),
    (LANGUAGE, "de"): (rf"\b{_SAY}\b(?: to)?(?: me)? in german\b", r"ドイツ語で" + _ASKED),
    (LANGUAGE, "fr"): (rf"\b{_SAY}\b(?: to)?(?: me)? in french\b", r"フランス語で" + _ASKED),
    (LANGUAGE, "es"): (rf"\b{_SAY}\b(?: to)?(?: me)? in spanish\b", r"スペイン語で" + _ASKED),
    (LANGUAGE, "zh"): (rf"\b{_SAY}\b(?: to)?(?: me)? in chinese\b", r"中国語で" + _ASKED),
    (LANGUAGE, "ko"): (rf"\b{_SAY}\b(?: to)?(?: me)? in korean\b", r"韓国語で" + _ASKED),
}
#: How a question shows what its author knows of the topic. A question with both is one of the middle.
_LEVELS: dict[str, tuple[str, ...]] = {
    "beginner": (
        r"\b(?:i am|i'm|i’m) (?:completely |totally )?new to\b|\bfor (?:absolute )?beginners?\b|\bas a beginner\b",
        r"\bhow (?:do|can) i (?:start|get started|begin|install)\b|\bwhat (?:is|are) (?:a |an |the )?\S+\?",
        r"\b(?:eli5|tutorial|from scratch|the basics)\b",
        r"初心者|入門|はじめて|初めて|基礎から|(?:とは|って)(?:何|なに)",
    ),
    "advanced": (
        r"\b(?:optimi[sz](?:e|ing|ation)|architecture|best practices?|trade-?offs?|internals|benchmark(?:s|ing)?)\b",
        r"\b(?:profil(?:e|ing)|bottlenecks?|race conditions?|edge cases?|under the hood|thread[- ]safe(?:ty)?)\b",
        r"最適化|設計方針|アーキテクチャ|ベストプラクティス|トレードオフ|内部実装|ボトルネック|競合状態",
    ),
    "expert": (
        r"\b(?:i am|i'm|i’m) (?:a |an )?(?:expert|maintainer|core developer|specialist)\b|\bas an expert\b",
        r"(?:私|僕|自分)は[^。、\n]{0,12}(?:専門家|メンテナ|コア開発者)",
    ),
}
#: Before a wish, or after a Japanese one, this turns it around; nothing is then learned.
_NEGATED_BEFORE = re.compile(r"(?:\b(?:not|never|no need to|without)|n['’]t)(?: \w+){0,2}[ ,]*$")
_NEGATED_AFTER = re.compile(r"^[^。、\n]{0,8}?(?:ないで|なくて|しすぎ|せず|ではな|じゃな|(?:さ|ら|か)れ(?:た|て))")


def _either(ways: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{way})" for way in ways), re.MULTILINE)


_PATTERNS = {wish: _either(ways) for wish, ways in _WISHES.items()}
_LEVEL_PATTERNS = {level: _either(ways) for level, ways in _LEVELS.items()}


def find_hints(message: str, topic: str | None = None) -> dict[str, str]:
    """Key and value of each wish in a message; a key with two different wishes has none.

    With a topic, also how much the question seems to know of it.
    """
    text = _readable(message)
    found: dict[str, set[str]] = {}
    for (key, value), pattern in _PATTERNS.items():
        if _wishes(pattern.finditer(text), text):
            found.setdefault(key, set()).add(value)
    hints = {key: values.pop() for key, values in found.items() if len(values) == 1}
    if topic is not None and (level := _level(text)):
        hints[f"{EXPERTISE}.{topic}"] = level
    return hints


def _wishes(matches: Iterable[re.Match[str]], text: str) -> bool:
    return any(
        not _NEGATED_BEFORE.search(text[max(0, match.start() - 40) : match.start()])
        and not _NEGATED_AFTER.match(text[match.end() : match.end() + 20])
        for match in matches
    )


def _level(text: str) -> str | None:
    shown = {level for level, pattern in _LEVEL_PATTERNS.items() if pattern.search(text)}
    if "expert" in shown:
        return "expert"
    if shown == {"beginner", "advanced"}:
        return "intermediate"
    return shown.pop() if shown else None


def _readable(message: str) -> str:
    if len(message) > 2 * CHARS_READ:
        message = f"{message[:CHARS_READ]}\n{message[-CHARS_READ:]}"
    return unicodedata.normalize("NFKC", message).casefold()
