"""The final answer of a CoT, in the forms that models write it; linear in time; and what is wrong with an answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from realm.bank.cot import PROBLEMS
from realm.tasks.answers import final_answer, problem_of
from realm.tasks.boxes import boxed
from realm.tasks.markup import LONGEST
from realm.tasks.spoken import without_run_on


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        # the form asked for, and its neighbours
        ("We add.\nFinal answer: 42", "42"),
        ("FINAL ANSWER : 42.", "42"),
        ("**Final answer:** 42", "42"),
        ("**Final answer: 42**", "42"),
        ("**Final Answer**: `42`", "42"),
        ("### Final Answer\n\n42\n", "42"),
        ("> Final answer: $42$", "42"),
        ("The final answer is: **x = 3**.", "x = 3"),
        ("So, the final answer is 7.", "7"),
        ("All in all 42. Final answer: 42", "42"),
        ("Final answer：42", "42"),
        ("answer: B", "B"),
        ("**Answer:** B", "B"),
        ("The answer: yes", "yes"),
        ("Final answer: 1\nNo, wrong.\nFinal answer: 2", "2"),
        ("Answer: 3\nAnswer:", "3"),
        ("Final answer:\n\\[\n\\frac{1}{2}\n\\]", "\\frac{1}{2}"),
        ("Final answer:\n```python\n[1, 2]\n```", "[1, 2]"),
        ("Final answer: $\\boxed{42}$.", "42"),
        ("Final answer:\r\n42\r\n", "42"),
        ("\\boxed{1}\nFinal answer: 2", "2"),
        # in the words of others
        ("Final answer - 42", "42"),
        ("**Final answer** – 42", "42"),
        ("Final answer: - 42", "- 42"),
        ("Final answer -> 42", "42"),
        ("| Final answer | 42 |", "42"),
        ("Final Answer\n============\n42", "42"),
        ("Final answer for the second parcel: 42", "42"),
        ("finalAnswer: 42", "42"),
        ('{"steps": ["a"], "final_answer": "42"}', "42"),
        ('{"answer": 42}', "42"),
        ("Answer (C)", "(C)"),
        ("Correct option: C", "C"),
        ("Respuesta: 42", "42"),
        ("答案：42", "42"),
        # behind a short answer its own sentence ends
        ("The final answer is 12. It follows from both rules.", "12"),
        ("The answer is B. Note that A is tempting at first.", "B"),
        ("Final answer: $12$. I hope it is correct.", "12"),
        ("Final answer: St. Louis is the city", "St. Louis is the city"),
        # what only speaks of the answer is none
        ("Final answer: 12\n\nThe final answer is based on rule 3.", "12"),
        ("Final answer: 12\n\nThus the final answer is obtained by adding.", "12"),
        ("Final answer: 12\n\nAnswer: see above.", "12"),
        ("Final answer: 12\nFinal answer check: passed", "12"),
        ("Answer: D\n\nAnswer key: C", "D"),
        ("Final answer: 12\n\nTell me whether my final answer: 12 helps.", "12"),
        # the last statement counts, whatever its form
        ("\\boxed{5} was my draft.\n\n**Answer: D**", "D"),
        ("Answer: A\nI must correct this.\nAnswer: B", "B"),
        ("So she has 13 apples.\n\n**13**", "13"),
        ("We weigh them.\nMy choice is D.", "D"),
        ("We weigh them.\nI'd go with D.", "D"),
        ("Option D is correct.", "D"),
        ("(D)", "(D)"),
        ("The answer is not D.", "not D"),
        # what stands round a box belongs to it
        ("not \\boxed{12}", "not 12"),
        ("Final answer: -\\boxed{12}", "-12"),
        ("so $x = -\\boxed{12}$", "-12"),
        ("that makes \\boxed{12} million", "12 million"),
        ("it is greater than \\boxed{12}", "greater than 12"),
        ("it is \\boxed{12}/5", "12/5"),
        ("a length of \\boxed{12} cm", "12 cm"),
        ("a total of \\boxed{12} apples", "12"),
        ("Final answer - \\boxed{12}", "12"),
        ("First \\boxed{5}, then \\boxed{7}, in all \\boxed{12}.", "12"),
        ("\\boxed{2} and \\boxed{3}", "2 and 3"),
        ("\\boxed{13} or \\boxed{12}", "13 or 12"),
        ("Final answer: 13 or \\boxed{12}", "13 or 12"),
        # two statements in a row that differ are one, which nothing reads
        ("Final answer: 13\nFinal answer: 12", "Final answer: 13\nFinal answer: 12"),
        ("Final answer: 12.\nThe final answer is 12 euros.", "12 euros"),
        ("Final answer: <answer>13</answer><answer>12</answer>", "<answer>13</answer><answer>12</answer>"),
        # the other forms
        ("so <answer> 7 </answer> done", "7"),
        ("<answer>1</answer> \\boxed{3} <ANSWER>2</ANSWER>", "2"),
        ("thus \\boxed{\\frac{a}{b}} done", "\\frac{a}{b}"),
        ("\\boxed{1}. Then \\boxed{\\text{Paris}}", "Paris"),
        ("\\boxed{\\boxed{5}}", "5"),
        ("1 + 1 = 2\n#### 1,234", "1,234"),
        ("foo\nA: 12", "12"),
        ("Hence the answer is 12.5.", "12.5"),
        # what stays as it is
        ("Final answer: U.S.", "U.S."),
        ("Final answer: 3.5.", "3.5"),
        ("Final answer: and so on...", "and so on..."),
        ("Final answer: __init__", "__init__"),
        ("Final answer: 2**3", "2**3"),
        ("Final answer: '-'", "'-'"),
        ("Final answer: []", "[]"),
        ("Final answer: (-1, 1)", "(-1, 1)"),
        ("Final answer: $5 and $6", "$5 and $6"),
        ("Final answer: $5", "$5"),
        # nothing
        ("", ""),
        ("I do not know.", ""),
        ("Final answer:", ""),
        ("Final answer: **", ""),
        ("#### Step 3\nand on", ""),
        ("<answer> 7", ""),
        ("\\boxed{7", ""),
        ("Final answer: " + "x" * (LONGEST + 1), ""),
        ("A: 1\nB: 2", ""),
    ],
)
def test_forms(text: str, answer: str) -> None:
    assert final_answer(text) == answer


DRAFT = "First try.\nFinal answer: 14\nNo."


@pytest.mark.parametrize("behind", ["The answer is 13.", "$\\boxed{13}$", "#### 13", "<answer>13</answer>", "**13**"])
@pytest.mark.parametrize(
    "thinking",
    [
        "<think>{}</think>",
        "<thinking>\n{}\n</thinking>",
        "<thought>{}</thought>",
        "<reasoning>{}</reasoning>",
        "<seed:think>{}</seed:think>",
        "<longcat_think>{}</longcat_think>",
        "<|inner_prefix|>{}<|inner_suffix|>",
        "<think:opensource>{}</think:opensource>",  # Hy3
        "<ifm|think_faster>{}</ifm|think_faster>",  # K2-Horizon
        "<|channel>thought\n{}<channel|>",  # Gemma 4
        "◁think▷{}◁/think▷",
        "[THINK]{}[/THINK]",
        "<|begin_of_thought|>{}<|end_of_thought|>",
        "{}</think>",  # the template opened it
        "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>",
        "analysis{}assistantfinal",  # the same without special tokens
    ],
)
def test_a_draft_in_the_thinking_is_no_answer(thinking: str, behind: str) -> None:
    assert final_answer(f"{thinking.format(DRAFT)}\n\n{behind}") == "13"
    assert final_answer(f"<think>\n{behind}\nHm, no.\n</think>\nFinal answer: 14") == "14"


@pytest.mark.parametrize(
    ("text", "answer", "why"),
    [
        ("<think>\nFinal answer: 14\nNo, wait", "", "a thought that was cut is all draft"),
        ("<think>\nWe add.\nFinal answer: 14", "14", "its last line may be the answer that it came to"),
        ("<think>\nWe add.\nFinal answer: 14\n</think>\n", "14", "nothing stands behind the thinking"),
    ],
)
def test_thinking_that_never_speaks(text: str, answer: str, why: str) -> None:
    assert final_answer(text) == answer, why


@pytest.mark.parametrize(
    "mark",
    [
        "<|im_end|>", "</s>", "<|eot_id|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<eos>", "<|return|>",
        "<|end|>", "<｜end▁of▁sentence｜>", "<|END_OF_TURN_TOKEN|>", "<|im_start|>user", "<start_of_turn>user",
        "[INST]", "<｜User｜>", "<|start_header_id|>user<|end_header_id|>", "<turn|>", "<|turn>user", "<|ifm|im_end|>",
        "<｜hy_eos:opensource｜>",
    ],
)  # fmt: skip
def test_a_leaked_end_mark_ends_the_text(mark: str) -> None:
    assert final_answer(f"Final answer: 12{mark}") == "12"
    assert without_run_on(f"Final answer: 12{mark}") == ("Final answer: 12", False)
    run_on = f"Final answer: 12{mark}\nAnd 3 + 4?\nFinal answer: 7"
    assert final_answer(run_on) == "12"
    assert without_run_on(run_on) == ("Final answer: 12", True)


def test_boxes_are_balanced() -> None:
    assert boxed("\\boxed{a \\} {b} c} {") == "a \\} {b} c"
    assert boxed("} \\boxed{1} }}} {{{ \\boxed{2") == "1"
    assert boxed("no box {1}") == ""


PLAIN = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=20)


@given(
    st.text(max_size=200), PLAIN, st.sampled_from(["Final answer: {}", "**Final answer:** {}", "Final Answer: ${}$."])
)
@example("\\boxed", "0", "Final answer: {}")
def test_the_form_asked_for_is_read_behind_any_text(before: str, answer: str, form: str) -> None:
    assert final_answer(before + "\n" + form.format(answer)) == answer


SCRAPS = st.sampled_from(
    [
        "final answer",
        "Final answer:",
        "answer:",
        "\n",
        "\r",
        " ",
        "*",
        "**",
        "_",
        "`",
        "$",
        "\\boxed{",
        "}",
        "{",
        "<answer>",
        "</answer>",
        "####",
        "A:",
        "answer is",
        "1",
        "x.",
        "\\(",
        "\\)",
        "\\text{",
        "\x00",
        "\u2028",
        "：",
        "```",
        "-",
    ]
)


@settings(max_examples=400)
@given(st.lists(SCRAPS | st.text(max_size=5), max_size=30).map("".join))
def test_any_text_has_an_answer_of_its_own_characters_or_none(text: str) -> None:
    found = final_answer(text)
    assert set(found) <= set(text) | {" "} and found == found.strip() and len(found) <= LONGEST
    assert problem_of(text, found) in (*PROBLEMS, "")
    assert final_answer(f"{text}\nWe add.\nFinal answer: 42") == "42"


@pytest.mark.parametrize("prefix", ["", "Final answer: ", "x\n"])
@pytest.mark.parametrize(
    "scrap",
    [
        "Final answer:",
        "Final answer\n",
        "answer ",
        "Answer:\n",
        "answer is ",
        "\\boxed{",
        "{",
        "}",
        "<answer>",
        "<answer",
        "</answer>",
        "*",
        "_",
        "`",
        "$",
        " ",
        "\n",
        "\r",
        "-\n",
        "final answer\n*\n",
        "#### ",
        "A: ",
        "\\text{",
        "x" * 50,
    ],
)
def test_long_hostile_text_is_read_in_linear_time(prefix: str, scrap: str) -> None:
    # Anything quadratic in here takes minutes, so that the run as a whole tells.
    text = prefix + scrap * (400_000 // len(scrap))
    assert len(final_answer(text)) <= LONGEST


def test_hostile_markup_around_an_answer_is_taken_off_in_time() -> None:
    for mark in "*_`$.":
        final_answer(f"Final answer: {mark * (LONGEST // 2 - 1)}x{mark * (LONGEST // 2 - 1)}")


@pytest.mark.parametrize(
    ("text", "finish", "refused", "problem"),
    [
        ("Final answer: 4", "stop", None, ""),
        ("Final answer: 4", None, None, ""),
        ("Final answer: 4", "length", None, "cut"),
        ("Final answer: 4", "content_filter", None, "refused"),
        ("", "stop", "I cannot.", "refused"),
        ("", "length", None, "cut"),
        (" \n", "stop", None, "empty"),
        ("no idea", "stop", None, "no_answer"),
        ("\x00 Final answer: 4", "stop", None, "malformed"),
        ("\ud800 Final answer: 4", "stop", None, "malformed"),
    ],
)
def test_problems(text: str, finish: str | None, refused: str | None, problem: str) -> None:
    assert problem_of(text, final_answer(text), finish, refused) == problem


@pytest.mark.data
def test_every_answer_of_real_cots_is_found(data_dir: Path) -> None:
    total = 0
    with (data_dir / "gsm8k_openai_cots.jsonl").open(encoding="utf-8") as file:
        for line in file:
            for cot in json.loads(line)["cots"]:
                total += 1
                assert _same(final_answer(cot["text"]), cot["answer"] or ""), cot["text"]
    assert total == 5276


def _same(found: str, given: str) -> bool:
    """The file's numbers are without thousands separators and rounded to six digits."""
    try:
        return abs(float(found.replace(",", "").strip("$")) - float(given)) < 1e-6
    except ValueError:
        return found.replace(",", "").rstrip(".") == given.replace(",", "").rstrip(".")


@pytest.mark.parametrize(
    ("text", "answer", "why"),
    [
        (
            "$\\boxed{12}$.\n\nWith 6 geese, the answer would be 13.",
            "12",
            "a sentence counts only where no line is marked",
        ),
        ("**Final answer: 12**\n\nThe answer is reasonable.", "12", "a remark"),
        ("Answer: B\n\nNote: Many people think the answer is A.", "B", "a remark"),
        ("I don't think the answer is 12.", "", "denied"),
        ("The wrong answer is 12.", "", "denied"),
        ("If we add twice, the answer is 12.", "", "supposed"),
        ("Answer: 12. No, it should be 13.", "12. No, it should be 13", "taken back, so that both belong to it"),
        ("**Final Answer:**\n- 12", "12", "a list of one, not a minus"),
        ("So the answer is > ) } ]", "> ) } ]", "a sign of the answer, not of a quotation"),
        ("Answer: $x = 12$\n$y = 13$", "x = 12, y = 13", "the answer goes on below"),
        ("Answer:\n- x = 12\n- y = 13\n* z = 14\n- We add.", "x = 12, y = 13, z = 14", "a list of all of it"),
        ("Answer:\n1. 12\n2. 13", "12, 13", "a list is no answer of its first entry"),
        ("Answer:\n- 12\n13", "12", "what is below a list is none of it"),
        ("a = $\\boxed{4}$ $\\text{cm}^2$.", "4 cm^2", "its unit in a formula of its own"),
        ("$\\boxed{\\frac{1}{3}}$ ≈ 0.333", "\\frac{1}{3}", "what it is about, behind it"),
        ("$\\boxed{\\sqrt{2}} \\approx 1.41$.", "\\sqrt{2}", "what it is about, behind it"),
        ("$\\boxed{12}$\n\n**$\\boxed{12}$**", "12", "a box twice"),
        ("$\\boxed{12}$, $\\boxed{12}$", "12, 12", "a list of two"),
        ("a = $\\boxed{4}$ m/s$^2$", "4 m/s^2", "the power of its unit in a formula of its own"),
        ("-\\$\\boxed{12}", "-12", "a sign before the currency"),
        ("so we take \\boxed{12} \\pi", "12 \\pi", "a factor behind the box"),
        ("\\boxed{12}.5", "12.5", "the number goes on"),
        ("\\boxed{12} is wrong", "12 is wrong", "taken back"),
        ("it does not give \\boxed{12}", "not give 12", "denied"),
        ("The minimum value is $\\boxed{12}$", "12", "what is minimal is before the predicate"),
        ("\\boxed{12}, 13", "12, 13", "another candidate"),
        ("\\textcolor{blue}{\\boxed{12}}", "12", "a brace is no factor"),
        ("thus \\boxed 12", "12", "a box without braces"),
        ("<think>We add.</think>\n\n12", "12", "what is said behind the thinking is the answer"),
        ("<answer>The answer is 12</answer>", "12", "the sentence in the tag"),
        ("A: There are 15 trees. Then 3 fall in the storm. The answer is 12.", "12", "the sentence in the line"),
        ("所以答案是12。", "12", "Chinese"),
        ("故选B。", "B", "Chinese"),
        ("정답은 B입니다.", "B", "Korean"),
        ("<|begin_of_box|>12<|end_of_box|>", "12", "a box in tokens"),
        ("The answer to the question is 12.", "12", "words between"),
        ("<b>Answer:</b> 12", "12", "a mark in markup"),
        ("**Final answer: 12**\n\n#### 2. Verification", "12", "a heading"),
        ("Therefore, B.", "B", "a conclusion"),
        ("(B) Paris", "(B) Paris", "a choice with its text"),
        ("Final answer: 12\n<think>ok</think>", "12", "a thought behind the answer"),
        ("So the answer is shmuel then tort.", "shmuel then tort", "an adverb in the answer"),
        ("A naive answer is 12. The real one is 13.", "", "what others would say"),
        ("Using a common denominator, the answer is 12.", "12", "what is common is not the answer"),
        ("答案是 $\\boxed{北京}$。", "北京", "a box in a Chinese sentence"),
        ('{"answer": [12, 13]}', "[12, 13]", "all of a list in JSON"),
        ('{"answer": ["12", "13"]}', '["12", "13"]', "all of a list in JSON"),
        ('{"answer": [[1, "]"], []]}', '[[1, "]"], []]', "all of a list in JSON"),
        ("{'answer': ['a', 'b']}", "['a', 'b']", "all of a list of Python"),
        ('{"answer": ["\\frac{1}{2}", "\\sqrt{2}"]}', '["\\frac{1}{2}", "\\sqrt{2}"]', "a list of LaTeX"),
        ('{"answer": ["12"]}', "12", "a list of one text is that text"),
        ("**Answer: 12**\n\nWait, I made an error. It should be 13.", "", "taken back, and no other is stated"),
        ("**Answer: 12**\n\nI miscounted: there are 13.", "", "taken back, and no other is stated"),
        ("**Answer: 12**\n\nWait, that's not right. The answer should be 13.", "13", "taken back for another"),
        ("\\boxed{12}\n\nActually, I forgot Ann.\n\nSo the answer is 13.", "13", "taken back for another"),
        ("\\boxed{12}\n\nHmm, let me check: 5 + 7 = 12. Yes.", "12", "looked at again"),
        ("\\boxed{12}\n\nA common mistake is 13, which is wrong.", "12", "a remark on others' errors"),
        ("(a) $\\boxed{12}$\n\n(b) $\\boxed{13}$", "12\n\n(b) 13", "the parts of an answer"),
        ("**Part a:** $\\boxed{12}$\n\n**Part b:** $\\boxed{13}$", "12\n\n**Part b:** 13", "the parts of an answer"),
        ("**Answer: Paris** ✅", "Paris", "a tick behind it"),
        ("So it comes to **12**.", "12", "a last sentence that ends in bold"),
        ("- **12**", "12", "a list of one, not a minus"),
        ("We look again.\nIt is not **12**.", "not 12", "denied"),
        ("We look again.\nIt is at least **12**.", "least 12", "changed"),
        ("We look again.\nIt is -**12**.", "-12", "its sign"),
        ("The route says:\nFinal answer: 14\nThat is wrong, since 5 + 8 = 13.", "", "quoted and denied"),
        ("B\n\nAnswer: B\n\nA) 12. This is incorrect.", "B", "another choice is denied"),
        ("I get final answer: 12. No, final answer: 13.", "", "no sentence begins there"),
        ("Final answer: 12. Hm. Final answer: 13.", "13", "the last of a line"),
        ("The first says: Final answer: 14. The second says: Final answer: 13.", "13", "the last of a line"),
        ("Answer: 12 ✔️", "12", "a tick behind it"),
        ("$\\boxed{12}$ hours and $\\boxed{30}$ minutes", "12 hours and 30 minutes", "two units"),
        ("Answer: 12 because 5 + 7 = 12", "12", "its reason"),
    ],
)
def test_statements_and_remarks(text: str, answer: str, why: str) -> None:
    assert final_answer(text) == answer, why


@pytest.mark.parametrize(
    "text",
    [
        "Answer: Key " + "x" * 200 + " a b c d e f g h i",
        "The answer is that \\frac{a+b}{c}\\cdot\\left(\\frac{a}{b}\\right) holds for all real a and b and c and d",
        "<answer>x" + "<br>" * 2400 + "</answer>",
        "<answer>" + "<b>" * 1400 + "x</answer>",
        "Answer: x" + ". " * 4900,
        "<think>" * 100_000,
        "</think>" * 100_000,
        "\\boxed{1} and " * 20_000,
    ],
)
def test_hostile_lines_are_read_in_time(text: str) -> None:
    assert len(final_answer(text * 3)) <= LONGEST


@pytest.mark.parametrize("said", ["7", "7 apples", "Yes.", "B"])
def test_what_is_said_after_a_thought_that_is_kept_apart_is_the_answer(said: str) -> None:
    assert final_answer(said, thought=True) == said.removesuffix(".")
    assert final_answer(f"<think>Hm.</think>{said}") == said.removesuffix(".")


@pytest.mark.parametrize(
    ("text", "answer"),
    [("Therefore, 7.", "7"), ("So x.\n7 apples", ""), ("Because.\nYes", "Yes"), ("I do not know.", "")],
)
def test_conclusions(text: str, answer: str) -> None:
    assert final_answer(text) == answer


def test_a_choice_that_is_an_article_is_an_answer() -> None:
    assert final_answer("Answer: C\nI misread the table.\nAnswer: A") == "A"
    assert final_answer("The total comes to **58**.") == "58"
