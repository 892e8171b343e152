"""Which comments a sample is shown: with probability ρ those that match, by tag, all, or by retrieval."""

from __future__ import annotations

import random
from typing import Any

import pytest

from realm.method.seeds import rng
from realm.sections import GuidanceConfig
from realm.tasks.base import Comment, Question
from realm.teacher.guidance import Guidance

COMMENTS = (
    Comment("bin", ("goods",), "Fragile goods go to bin seven."),
    Comment("half", ("money",), "A refund of opened goods is half the price."),
    Comment("late", ("money", "rare"), "A refund later than thirty days is refused."),
    Comment("odd", (), "!!"),
)


def guidance(comments: tuple[Comment, ...] = COMMENTS, **parts: Any) -> Guidance:
    return Guidance(comments, GuidanceConfig.model_validate({"probability": 1.0, **parts}))


def question(text: str = "", *tags: str) -> Question:
    return Question(text, text, "", tags=tags)


def ids(found: tuple[Comment, ...]) -> list[str]:
    return [comment.id for comment in found]


def test_by_tag() -> None:
    matching = guidance().matching
    assert ids(matching(question("", "money"))) == ["half", "late"]
    assert ids(matching(question("", "rare", "goods"))) == ["bin", "late"]
    assert ids(matching(question("refund"))) == []


def test_always() -> None:
    assert guidance(match="always").matching(question()) == COMMENTS


def test_retrieval_shows_the_best_that_share_a_word() -> None:
    def found(text: str, **parts: Any) -> list[str]:
        return ids(guidance(match="retrieval", **parts).matching(question(text)))

    assert found("Where do FRAGILE goods go?") == ["bin"]
    assert found("Where do FRAGILE goods go?", floor=0.1) == ["bin", "half"]
    assert found("Where do fragile goods go?", floor=0, top=1) == ["bin"]
    assert found("What refund is there after forty days?", floor=0) == ["late", "half"]
    assert found("rare") == ["late"]  # by its tag
    for nothing in ("", "the of a", "xylophone", "!!", "\ud800", "?" * 1000):
        assert found(nothing) == []


def test_retrieval_of_nothing() -> None:
    for comments in ((), (Comment("odd", (), "!!"),)):
        assert guidance(comments, match="retrieval").matching(question("some words here")) == ()


def test_equal_scores_keep_the_order_of_the_file() -> None:
    same = tuple(Comment(str(number), (), "refund rule" if number < 20 else "bins") for number in range(40))
    assert ids(guidance(same, match="retrieval", top=5).matching(question("refund"))) == ["0", "1", "2", "3", "4"]


def test_the_index_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from realm.teacher import guidance as module

    built = []
    original = module._Index
    monkeypatch.setattr(module, "_Index", lambda comments: built.append(1) or original(comments))
    made = guidance(match="retrieval")
    for text in ("refund", "goods", "refund", "refund"):
        made.matching(question(text))
    assert built == [1]


ENGLISH = [
    "Refunds are paid within thirty days.",
    "A box with a broken seal is returned to the sender.",
    "Fragile goods are packed twice.",
    "Parcels above ten kilograms cost more.",
    "The price of an opened item is halved.",
]
GERMAN = [
    "Erstattungen werden innerhalb von dreißig Tagen bezahlt.",
    "Eine Kiste mit gebrochenem Siegel wird an den Absender zurückgeschickt.",
    "Zerbrechliche Waren werden doppelt verpackt.",
    "Für schwere Pakete wird mehr bezahlt.",
]
RUSSIAN = ["Возврат денег занимает тридцать дней.", "Хрупкие товары упаковывают дважды.", "Тяжёлые посылки дороже."]
CHINESE = [
    "退款在三十天内支付。",
    "封条破损的箱子退回给寄件人。",
    "易碎商品需要双层包装。",
    "超过十公斤的包裹加收费用。",
]
JAPANESE = [
    "返金は三十日以内に支払われる。",
    "封が壊れた箱は送り主に戻す。",
    "割れやすい商品は二重に包装する。",
    "ノートパソコンの保証は一年である。",
]
KOREAN = ["환불은 삼십 일 안에 지급한다.", "봉인이 깨진 상자는 돌려보낸다.", "깨지기 쉬운 상품은 두 번 포장한다."]
THAI = [
    "การคืนเงินจะจ่ายภายในสามสิบวัน",
    "กล่องที่ซีลแตกต้องส่งกลับผู้ส่ง",
    "สินค้าเปราะบางต้องห่อสองชั้น",
    "พัสดุที่หนักเกินสิบกิโลกรัมต้องจ่ายเพิ่ม",
]
HINDI = ["धनवापसी तीस दिनों में होती है।", "नाज़ुक सामान दो बार पैक होता है।", "भारी पार्सल महंगे हैं।"]
#: Comments, a question, and the number of the one that is found (None: none is).
FOUND = [
    (ENGLISH, "When was the customer refunded?", 0),
    (ENGLISH, "Which boxes does she return?", 1),
    (ENGLISH, "How is a fragile vase PACKED?", 2),
    (ENGLISH, "One item was priced at 40 euro. What now?", 4),
    (ENGLISH, "How many are there in the one with what is above?", None),
    (ENGLISH, "Whom should I ask about xylophones?", None),
    (GERMAN, "Wann wird die Erstattung gezahlt?", 0),
    (GERMAN, "Was geschieht mit Kisten ohne Siegel?", 1),
    (GERMAN, "Was ist mit dem Paket?", 3),
    (GERMAN, "Wo und wie wird das mit der und den?", None),
    (RUSSIAN, "Когда будет возвращён возврат?", 0),
    (RUSSIAN, "Сколько стоит тяжёлая посылка?", 2),
    (CHINESE, "客户什么时候收到退款？", 0),
    (CHINESE, "这个破损的箱子怎么办？", 1),
    (CHINESE, "十二公斤的包裹多少钱？", 3),
    (CHINESE, "为什么他们什么都没有？", None),
    (JAPANESE, "返金はいつですか。", 0),
    (JAPANESE, "封の壊れている箱はどうしますか。", 1),
    (JAPANESE, "このパソコンはどうですか。", None),  # another word than ノートパソコン
    (JAPANESE, "それはいつからですか。", None),
    (KOREAN, "상자를 어떻게 합니까?", 1),
    (KOREAN, "환불이 언제 됩니까?", 0),
    (THAI, "ลูกค้าจะได้คืนเงินเมื่อไร", 0),
    (THAI, "สินค้าเปราะบางต้องทำอย่างไร", 2),
    (HINDI, "धनवापसी कब होगी?", 0),
    (HINDI, "यह पार्सल कितने का?", 2),
]


@pytest.mark.parametrize(("texts", "asked", "number"), FOUND)
def test_retrieval_in_many_languages(texts: list[str], asked: str, number: int | None) -> None:
    comments = tuple(Comment(str(n), (), text) for n, text in enumerate(texts))
    made = guidance(comments, match="retrieval")
    best = ids(made.matching(question(asked)))
    assert best[:1] == ([] if number is None else [str(number)])
    assert bool(made.why_none(question(asked))) == (number is None)


#: A question, and why it finds nothing among the comments of the parcels below.
WHY = [
    ("Which xylophones are there?", "none of its words is in a comment: xylophones"),
    ("It is what it is!", "it has no word to look for"),
    ("", "it has no word to look for"),
    ("Where is my parcel?", "it shares with them only words that most of them have: parcel"),
    ("Heavy parcels?", ""),
    (
        "one two three four five six seven eight nine ten",
        "none of its words is in a comment: one, two, three, four, five, six, seven, eight and 2 more",
    ),
]
PARCELS = tuple(
    Comment(str(n), (), f"A {text} parcel costs more.") for n, text in enumerate(["heavy", "large", "late", "wet"])
)


@pytest.mark.parametrize(("asked", "why"), WHY)
def test_retrieval_says_why_nothing_matched(asked: str, why: str) -> None:
    assert guidance(PARCELS, match="retrieval").why_none(question(asked)) == why


HERBARIUM = (
    "Mosses and liverworts are kept in paper packets, not pressed on sheets.",
    "A specimen with live insects is frozen for one week before it enters the collection.",
    "Duplicates are sent to partner herbaria once the first sheet is mounted.",
    "Labels written in pencil are copied in ink but stay on the sheet.",
)


def test_a_comment_that_shares_one_word_by_chance_is_not_shown() -> None:
    comments = tuple(Comment(str(number), (), text) for number, text in enumerate(HERBARIUM))
    made = guidance(comments, match="retrieval")
    assert ids(made.matching(question("Should moss from the quarry be pressed on a sheet?")))[0] == "0"
    chance = question("A printer jams at its first start. Is its paper changed?")
    assert ids(made.matching(chance)) == []
    assert made.why_none(chance) == (
        "it has at most 16.7% of a comment's words, and guidance.floor is 0.17: first, paper"
    )
    assert ids(guidance(comments, match="retrieval", floor=0).matching(chance)) == ["0", "2"]


#: Questions, and the warning.
WARNED = [
    (["Heavy parcels?", "late"], []),
    (
        ["Heavy parcels?", "Xylophones?"],
        [
            "no expert comment matches 1 of 2 questions, which are asked without; e.g. Xylophones?: none of its words "
            "is in a comment: xylophones"
        ],
    ),
    (
        ["Xylophones?"],
        [
            "guidance.probability is 1, but no expert comment matches any question; no sample will be guided (see "
            "guidance.comments and guidance.match); e.g. Xylophones?: none of its words is in a comment: xylophones"
        ],
    ),
]


@pytest.mark.parametrize(("asked", "warnings"), WARNED)
def test_retrieval_warns_of_questions_without_comments(asked: list[str], warnings: list[str]) -> None:
    made = guidance(PARCELS, match="retrieval")
    assert list(made.warnings([question(text) for text in asked])) == warnings


def test_probability_is_per_sample_and_the_draw_comes_first() -> None:
    asked = question("", "money")
    for probability in (0.0, 0.3, 1.0):
        made = guidance(probability=probability)
        sources = [rng(0, "teacher", "t", "q", number) for number in range(600)]
        shown = [bool(made.shown(asked, source)) for source in sources]
        assert sum(shown) / 600 == pytest.approx(probability, abs=0.06)
        # One draw, whatever ρ is: the rest of the sample's stream is the same.
        for number, source in enumerate(sources[:20]):
            same = rng(0, "teacher", "t", "q", number)
            assert shown[number] == (same.random() < probability)
            assert source.random() == same.random()


def test_a_question_without_matching_comments_draws_too() -> None:
    source, other = random.Random(0), random.Random(0)
    assert guidance().shown(question(), source) == ()
    other.random()
    assert source.random() == other.random()
