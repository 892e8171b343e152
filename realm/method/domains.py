"""Domain-aware dynamic sampling: which domain is asked next, by how far each is from the reward it should earn.

After RuleReasoner (arXiv 2506.08672): each batch is drawn with weights that follow the domains' historical rewards, so
that the domains which lag are asked more. The form is ours: smoothed rewards as shares of the highest one, their
distance to a target (none for a domain above it, all of it for one that nobody was asked yet), a softmax with a
temperature, and an even share of the draws as a floor, so that no domain starves.
"""

import math
from collections.abc import Sequence


def domain_weights(rewards: Sequence[float | None], *, target: float, temperature: float, floor: float) -> list[float]:
    """The probability of each domain, in the order of `rewards`; they sum to 1.

        distance_d = max(0, target − reward_d)
        weight_d   = floor / D + (1 − floor) · softmax_d(distance / temperature)

    Args:
        rewards: smoothed reward of each of the D ≥ 1 domains, in [0, 1]; None where none was earned yet.
        target: reward in [0, 1] from which on a domain counts as mastered.
        temperature: above 0; the lower, the more of the draws goes to the domain that is farthest from the target.
        floor: in [0, 1]; 1 asks all domains alike.
    """
    distances = [max(0.0, target - (reward or 0.0)) for reward in rewards]
    farthest = max(distances)  # taken off before exp, which a low temperature would drive over its range
    parts = [math.exp((distance - farthest) / temperature) for distance in distances]
    total = sum(parts)
    return [floor / len(parts) + (1.0 - floor) * part / total for part in parts]
