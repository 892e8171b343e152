"""Sampling one group without vLLM: TRL's `generate` against one prefill and one copy of the prompt for the group.

    OMP_NUM_THREADS=1 python benchmarks/rollout.py [--quick] [--device cuda] [--prompt 800 1600] [--profile]

With random weights hardly a completion ends early, so that both decode C tokens for all G rows: what is saved is the
reading of the prompt, at first and at every token after. The keys and values that are held, G (P + C) tokens against
P + G C, shrink by the column `bound`.
"""

from __future__ import annotations

from typing import Any

from common import arguments, in_turns, make_trainer, points, prompt_text, save, show_profile, sides, table, timed

COLUMNS = {
    "P": "d",
    "C": "d",
    "G": "d",
    "trl s": ".2f",
    "ours s": ".2f",
    "ratio": ".2f",
    "processor": ".2f",
    "bound": ".2f",
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--profile", action="store_true", help="where the time of our path goes, for the last point")
    options = parser.parse_args()
    rows = []
    for prompt, completion, group in points(options):
        measured = sides(options.device, prompt, completion, group)
        trainer = make_trainer(options.device, completion, group)
        ids = trainer.processing_class(text=[prompt_text(prompt, prompt)] * group)["input_ids"]

        def work(trainer: Any = trainer, ids: Any = ids) -> None:
            trainer._generate_single_turn(ids, None, {}, len(ids))

        times = in_turns(trainer, work, options.repeats, measured)
        rows.append(timed(prompt, completion, group, times))
        save(options.out or f"rollout_{options.device}", rows)
    table("rollout of one group", rows, COLUMNS)
    if options.profile:
        save(options.out or f"rollout_{options.device}", rows, show_profile(trainer, work))


if __name__ == "__main__":
    main()
