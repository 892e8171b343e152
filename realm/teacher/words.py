"""The words by which texts are compared for retrieval, in any script, inflected ones as one.

Where a script puts spaces between words, a word is what stands between them, without its ending: by the Snowball
stemmer of its script's language, Latin letters being read as that of the texts' function words (which are left out).
Elsewhere nobody says where a word ends: runs of Chinese characters and Hangul are cut into pairs of neighbours, those
of Thai, Lao, Khmer and Burmese into threes; a run of Katakana is a word; Hiragana, which mostly spells endings and
particles, is left out.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import snowballstemmer
from bm25s import stopwords

#: Languages in Latin letters, which are told apart by their function words; the first where nothing speaks for any.
_LATIN = (
    "english", "danish", "dutch", "french", "german", "italian", "norwegian", "portuguese", "spanish", "swedish",
    "turkish",
)  # fmt: skip
#: The language whose endings the words of another script have.
_SCRIPTS = {
    "ARABIC": "arabic", "ARMENIAN": "armenian", "CYRILLIC": "russian", "DEVANAGARI": "hindi", "GREEK": "greek",
    "TAMIL": "tamil",
}  # fmt: skip
_FUNCTION = {name: frozenset(getattr(stopwords, f"STOPWORDS_{name.upper()}", ())) for name in (*_LATIN, "russian")}
# With those that its list lacks: "how many", "you may".
_FUNCTION["english"] = frozenset(stopwords.STOPWORDS_EN_PLUS) | {
    "also", "could", "many", "may", "might", "much", "must", "shall", "would",
}  # fmt: skip
#: Characters of a word; a longer one is compared as it is.
_LONGEST = 100
_CHINESE = frozenset(stopwords.STOPWORDS_CHINESE)
# A letter's marks belong to its word: vowels of Indic scripts and of Thai are such.
_MARKS = "".join(re.escape(chr(code)) for code in range(0x300, 0x10000) if unicodedata.category(chr(code))[0] == "M")
_KATAKANA, _HIRAGANA = "\u30a1-\u30fa\u30fc", "\u3041-\u309f"
_PAIRS = "\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff\uac00-\ud7a3"
_THREES = "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff"
_RUN = re.compile(
    rf"(?P<pairs>[{_PAIRS}]+)|(?P<threes>[{_THREES}]+)|(?P<katakana>[{_KATAKANA}]+)|[{_HIRAGANA}]+"
    rf"|(?P<word>(?:(?![{_PAIRS}{_THREES}{_KATAKANA}{_HIRAGANA}])[\w{_MARKS}])+)"
)


#: A pair of neighbours. About half of a text's pairs lie across two words and are found in no other text.
PAIR = re.compile(rf"[{_PAIRS}]{{2}}")


class Words:
    """Cuts texts into words; Latin letters are read as the language that most function words of `sample` are of."""

    def __init__(self, sample: Iterable[str]) -> None:
        found = Counter(word for text in sample for kind, word in _runs(text) if kind == "word")
        counts = {name: sum(found[word] for word in _FUNCTION[name] if len(word) > 1) for name in _LATIN}
        self.language = max(counts, key=lambda name: counts[name])
        languages = {"LATIN": self.language, **_SCRIPTS}
        self._stemmers = {script: snowballstemmer.stemmer(name) for script, name in languages.items()}
        self._function = _FUNCTION[self.language] | _FUNCTION["russian"]
        self._stems: dict[str, str] = {}

    def __call__(self, text: str) -> dict[str, list[str]]:
        """The words in their order, each in the form that is compared, with the forms it has in the text.

        Time is linear in the text.
        """
        found: dict[str, list[str]] = {}
        for kind, run in _runs(text):
            for word in self._cut(kind, run):
                found.setdefault(word if kind != "word" else self._stem(word), []).append(word)
        return found

    def _cut(self, kind: str | None, run: str) -> Sequence[str]:
        if kind == "word":
            return [] if len(run) < 2 or run in self._function else [run]
        if kind == "katakana":
            return [run]
        size = {"pairs": 2, "threes": 3}.get(kind or "", 0)
        parts = [run[at : at + size] for at in range(max(1, len(run) - size + 1))] if size else []
        return [part for part in parts if part not in _CHINESE]

    def _stem(self, word: str) -> str:
        if word not in self._stems:
            stemmer = self._stemmers.get(unicodedata.name(word[0], "").partition(" ")[0])
            self._stems[word] = stemmer.stemWord(word) if stemmer and len(word) <= _LONGEST else word
        return self._stems[word]


def _runs(text: str) -> Iterable[tuple[str | None, str]]:
    for match in _RUN.finditer(unicodedata.normalize("NFKC", text).casefold()):
        yield match.lastgroup, match[0]
