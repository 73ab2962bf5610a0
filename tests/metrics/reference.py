"""Plain, slow definitions of the metrics, written apart from the package, to compare it with."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays


def state_columns(max_frames: int = 40) -> st.SearchStrategy[tuple[np.ndarray, np.ndarray]]:
    """Two columns of states of the same length; runs are likely, and so is what is unobserved."""

    def column(n: int) -> st.SearchStrategy[np.ndarray]:
        pieces = st.lists(
            st.tuples(st.sampled_from([-1, 0, 0, 1, 1]), st.integers(1, 8)), min_size=1
        )
        runs = pieces.map(lambda p: np.concatenate([np.full(k, v, np.int8) for v, k in p]))
        in_runs = runs.map(lambda values: np.resize(values, n).astype(np.int8))
        return st.one_of(in_runs, arrays(np.int8, n, elements=st.sampled_from([-1, 0, 1])))

    return st.integers(0, max_frames).flatmap(lambda n: st.tuples(column(n), column(n)))


def stretches(known: list[bool]) -> list[range]:
    """Longest runs of frames that are known."""
    found: list[range] = []
    for frame, ok in enumerate(known):
        if ok and found and found[-1].stop == frame:
            found[-1] = range(found[-1].start, frame + 1)
        elif ok:
            found.append(range(frame, frame + 1))
    return found


def bout_sets(column: np.ndarray, known: list[bool]) -> list[list[set[int]]]:
    """By stretch, the bouts in order, each as the set of its frames."""
    result = []
    for stretch in stretches(known):
        bouts: list[set[int]] = []
        for frame in stretch:
            if column[frame] == 1:
                if bouts and frame - 1 in bouts[-1]:
                    bouts[-1].add(frame)
                else:
                    bouts.append({frame})
        result.append(bouts)
    return result


def both_known(a: np.ndarray, b: np.ndarray) -> list[bool]:
    return [x != -1 and y != -1 for x, y in zip(a, b, strict=True)]


def segment_counts(truth: np.ndarray, called: np.ndarray, threshold: float) -> tuple[int, int, int]:
    """Hits, false alarms and misses as Lea et al. count them."""
    known = both_known(truth, called)
    hits = false = missed = 0
    for real, said in zip(bout_sets(truth, known), bout_sets(called, known), strict=True):
        free = [True] * len(real)
        for bout in said:
            overlap = [len(bout & other) / len(bout | other) for other in real]
            best = overlap.index(max(overlap)) if overlap else -1
            if best >= 0 and overlap[best] >= threshold and free[best]:
                free[best] = False
                hits += 1
            else:
                false += 1
        missed += sum(free)
    return hits, false, missed


def levenshtein(a: list[int], b: list[int]) -> int:
    """By recursion over the first letters."""
    table = {(i, 0): i for i in range(len(a) + 1)} | {(0, j): j for j in range(len(b) + 1)}
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i, j] = min(
                table[i - 1, j] + 1,
                table[i, j - 1] + 1,
                table[i - 1, j - 1] + (a[i - 1] != b[j - 1]),
            )
    return table[len(a), len(b)]


def kappa(a: list[int], b: list[int]) -> float:
    n = len(a)
    if not n:
        return float("nan")
    agreed = sum(x == y for x, y in zip(a, b, strict=True)) / n
    chance = sum((a.count(v) / n) * (b.count(v) / n) for v in (0, 1))
    return (agreed - chance) / (1 - chance) if chance < 1 else float("nan")


def alpha(states: np.ndarray) -> float:
    """Krippendorff's alpha from the matrix of coincidences, pair by pair."""
    matrix = np.zeros((2, 2))
    for frame in states.T:
        values = [int(v) for v in frame if v != -1]
        for i, x in enumerate(values):
            for j, y in enumerate(values):
                if i != j:
                    matrix[x, y] += 1 / (len(values) - 1)
    totals = matrix.sum(axis=1)
    n = totals.sum()
    expected = 2 * totals[0] * totals[1] / (n - 1) if n > 1 else 0.0
    return 1 - (matrix[0, 1] + matrix[1, 0]) / expected if expected else float("nan")
