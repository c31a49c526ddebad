"""What of a text is a word to the search: Latin words as they are, CJK as character bigrams; and a query made safe."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator

#: Distinct words of a query that are looked up; the rest of a pasted page adds cost and no precision.
QUERY_WORDS_MAX = 64
#: Of a query that is read at all.
QUERY_CHARS_MAX = 8_192

#: Han, kana with the long-vowel and iteration marks, Bopomofo, Hangul: written without spaces, or with long words.
_CJK = (
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u303b\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f"
    "\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"(?P<cjk>[{_CJK}]+)|[^\W_{_CJK}]+")

#: English words that say how a question is asked, not what about.
_QUESTION_FORM = """
    a about am an and any are as at be been being but by can could did do does doing for from had has have having he
    her hers him his how i if in into is it its just me my of on or our she should so some than that the their them
    then there these they this those to us was we were what when where which who whom whose why will with would you
    your s t d ll m re ve
"""
STOP_WORDS = frozenset(_QUESTION_FORM.split())


def _folded(text: str) -> str:
    """Half and full width, ligatures and letter case made one."""
    return unicodedata.normalize("NFKC", text).casefold()


def _found(text: str) -> Iterator[tuple[str, bool]]:
    """Each run of letters and digits, and whether it is CJK."""
    for match in _WORD.finditer(_folded(text)):
        yield match[0], match["cjk"] is not None


def index_words(text: str) -> str:
    """The words of a text, separated by spaces.

    A CJK run becomes its bigrams and its last character, so that every character begins one of them and can be found
    alone by its beginning.
    """
    words: list[str] = []
    for run, is_cjk in _found(text):
        if is_cjk:
            words.extend(run[at : at + 2] for at in range(len(run)))
        else:
            words.append(run)
    return " ".join(words)


def query_words(query: str) -> list[str]:
    """The distinct words to look up, in their order; a word that ends in `*` is the beginning of one.

    Words of a question's form are left out where others remain.
    """
    words: dict[str, None] = {}
    for run, is_cjk in _found(query[:QUERY_CHARS_MAX]):
        if not is_cjk:
            words[run] = None
        elif len(run) == 1:
            words[f"{run}*"] = None
        else:
            words.update(dict.fromkeys(run[at : at + 2] for at in range(len(run) - 1)))
    telling = [word for word in words if word not in STOP_WORDS]
    return (telling or list(words))[:QUERY_WORDS_MAX]


def match_expressions(query: str) -> list[str]:
    """An FTS5 expression for each of the query's words; none when it has no word.

    Only letters and digits reach them, in quotes, so no operator of FTS5 can.
    """
    return [f'"{word[:-1]}"*' if word.endswith("*") else f'"{word}"' for word in query_words(query)]


def without(query: str, words: Collection[str]) -> str:
    """The query without these words, for the encoder; as it was where nothing else is left."""
    kept = [part for part in query.split() if not {run for run, _ in _found(part)} & set(words)]
    return " ".join(kept) or query


def matching(text: str, words: Iterable[str]) -> list[str]:
    """Those of the words of a query that stand in a text in this very form."""
    there = set(index_words(text).split())
    return [word.rstrip("*") for word in words if word.rstrip("*") in there]


def cjk_share(text: str) -> float:
    """Share of CJK characters among the letters and digits, in [0, 1]; 0 where there are none."""
    total = cjk = 0
    for run, is_cjk in _found(text):
        total += len(run)
        cjk += len(run) if is_cjk else 0
    return cjk / total if total else 0.0
