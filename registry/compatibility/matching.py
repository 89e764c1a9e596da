"""Maximum matching in a bipartite graph, by augmenting paths (Kuhn)."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

L = TypeVar("L")
R = TypeVar("R")


def maximum_matching(edges: Mapping[L, Sequence[R]]) -> dict[R, L]:
    """Return as many pairs as possible, each side used once, as right -> left."""
    matched: dict[R, L] = {}

    def augment(left: L, tried: set[R]) -> bool:
        for right in edges[left]:
            if right not in tried:
                tried.add(right)
                if right not in matched or augment(matched[right], tried):
                    matched[right] = left
                    return True
        return False

    for left in edges:
        augment(left, set())
    return matched
