"""`synthesizer`: candidate CoTs in, one better answer out (CoT-based Synthesizer, arXiv 2501.01668).

The paper: a model is fine-tuned to read several sampled responses, some or all of them wrong, to reason about what they
hold, and to write one right answer; the responses are needed at inference. Here they are the routes of the bank, always
k of them. Our choice: the target is a right CoT of the question (guided where it has such), which does not speak of the
responses. They are not judged: no scores are asked for, taught or paid (`prompt.judge: false`).
"""

from realm.recipes.stage import Look, Recipe, in_turn

RECIPE = Recipe(
    "synthesizer",
    in_turn("sft", routes=True, again=False),
    {
        "prompt.judge": False,
        "training.sft.traces": ["bank", "right", "fits", "guided_first"],
        "training.sft.empty_share": 0.0,
    },
    look=Look("blue", "right"),
)
