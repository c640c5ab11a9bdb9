"""Taking a document apart: the fewest pieces in which certain words do not meet.

Segments are the nodes of a graph, and those that must not stay together are its edges; pieces are the colours. Sets of
segments are bit masks: bit s stands for segment s. A word is the mask of the segments that hold it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

__all__ = ["bits", "separate"]

SPLIT = 3.0  # price of a word that ends up in one document more; the price of two words that meet no longer is 1 to 2
MOVED = 0.02  # price of a segment that leaves the main piece
STEPS = 20_000  # of the search for three pieces or more, before each language gets one of its own
DEPTH = 300  # segments in conflict that are searched at all


def bits(mask: int) -> Iterator[int]:
    """Numbers of the segments in a mask, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _colour(conflicts: list[int], languages: Sequence[int], lot: random.Random) -> list[int]:
    """The fewest sets of segments without a conflict inside; segments without any conflict are in the largest.

    Two sets are found, or shown to be too few, by going along the conflicts; more of them by a search. If that takes too long, the languages
    are the sets.

    Args:
        conflicts: of each segment, the segments it must not stay with.
        languages: masks of the segments of each language, inside which there is no conflict.
    """
    at_odds = [s for s, mask in enumerate(conflicts) if mask]
    lot.shuffle(at_odds)
    pieces = _two_sides(at_odds, conflicts, lot)
    k, steps = 3, [STEPS]
    while not pieces and k < len(languages) and len(at_odds) <= DEPTH:
        trial = [0] * k
        if _place(at_odds, conflicts, trial, lot, steps):
            pieces = trial
        k += 1
    odd = sum(1 << s for s in at_odds)
    pieces = pieces or [mask & odd for mask in languages if mask & odd]
    largest = max(range(len(pieces)), key=lambda i: pieces[i].bit_count())
    pieces[largest] |= ((1 << len(conflicts)) - 1) & ~odd
    return pieces


def _two_sides(at_odds: list[int], conflicts: list[int], lot: random.Random) -> list[int]:
    """Two sets without a conflict inside, the sides of each connected part drawn by lot; [] if two are too few."""
    pieces = [0, 0]
    for segment in at_odds:
        if (pieces[0] | pieces[1]) >> segment & 1:
            continue
        side, frontier = lot.randrange(2), 1 << segment
        while frontier:
            pieces[side] |= frontier
            reached = 0
            for s in bits(frontier):
                reached |= conflicts[s]
            if reached & pieces[side]:
                return []
            side = 1 - side
            frontier = reached & ~pieces[side]
    return pieces


def _place(waiting: list[int], conflicts: list[int], pieces: list[int], lot: random.Random, steps: list[int]) -> bool:
    """Put the waiting segments into pieces, the most constrained first, going back where it does not work out."""
    if not waiting:
        return True
    steps[0] -= 1
    if steps[0] <= 0:
        return False
    segment = min(waiting, key=lambda s: (sum(not conflicts[s] & p for p in pieces), -conflicts[s].bit_count(), s))
    choices = [i for i, p in enumerate(pieces) if not conflicts[segment] & p]
    lot.shuffle(choices)
    rest, tried_empty = [s for s in waiting if s != segment], False
    for i in choices:
        if not pieces[i]:
            if tried_empty:  # empty pieces are alike
                continue
            tried_empty = True
        pieces[i] |= 1 << segment
        if _place(rest, conflicts, pieces, lot, steps):
            return True
        pieces[i] ^= 1 << segment
    return False


def separate(
    n_segments: int,
    cut: Sequence[tuple[int, int]],
    kept: Sequence[tuple[int, int, float]],
    words: Sequence[int],
    languages: Sequence[int],
    lot: random.Random,
) -> list[int]:
    """Take a document apart into the fewest pieces in which no two words of a cut edge meet.

    Among the ways to do so, local search looks for one that parts few words which may meet, leaves the segments of a word
    together, and moves few segments out of the main piece. It moves a segment, or all segments of a word, to another
    piece, and whatever conflicts with them the other way (a Kempe chain), which never breaks a cut.

    Args:
        cut: pairs of words that must not meet, as bit masks of the segments that hold them.
        kept: pairs of words that may meet, with the price of parting them.
        words: the words whose segments are to stay together.
        languages: masks of the segments of each language; no cut may lie within one of them.
        lot: breaks ties, so that no language is favoured.

    Returns:
        Masks of the pieces, the largest first; one if nothing is to be cut.

    Raises:
        ValueError: if one segment holds both words of a cut edge.
    """
    everything = (1 << n_segments) - 1
    conflicts = [0] * n_segments
    for a, b in cut:
        if a & b:
            raise ValueError(f"segment {next(bits(a & b))} holds both words of a cut edge")
        for one, other in ((a, b), (b, a)):
            if other:
                for s in bits(one):
                    conflicts[s] |= other
    if not any(conflicts):
        return [everything]
    pieces = _colour(conflicts, languages, lot)
    pairs = [(a, b, price) for a, b, price in kept if a and b]
    scattered = [m for m in dict.fromkeys(words) if m.bit_count() > 1]

    def price(pieces: list[int]) -> float:
        total = MOVED * (n_segments - max(p.bit_count() for p in pieces))
        for a, b, value in pairs:
            for p in pieces:
                if a & p and b & p:
                    break
            else:
                total += value
        for m in scattered:
            total += SPLIT * (sum(1 for p in pieces if m & p) - 1)
        return total

    def moved(start: int, to: int) -> list[int]:
        result = list(pieces)
        for i in range(len(result)):
            chain = start & result[i] if i != to else 0
            if not chain:
                continue
            frontier, within = chain, result[i] | result[to]
            while frontier:
                reached = 0
                for s in bits(frontier):
                    reached |= conflicts[s]
                frontier = reached & within & ~chain
                chain |= frontier
            result[i], result[to] = (result[i] & ~chain) | (result[to] & chain), (result[to] & ~chain) | (result[i] & chain)
        return result

    starts = {1 << s for m in (*words, *(m for pair in cut for m in pair)) for s in bits(m)} | set(scattered)
    moves = [(start, to) for start in sorted(starts) for to in range(len(pieces))]
    best, unchanged = price(pieces), 0
    while unchanged < len(moves):
        lot.shuffle(moves)
        for start, to in moves:
            unchanged += 1
            if start & ~pieces[to]:
                other = moved(start, to)
                if other != pieces and (value := price(other)) < best - 1e-9:
                    pieces, best, unchanged = other, value, 0
            if unchanged >= len(moves):
                break
    return sorted((p for p in pieces if p), key=lambda p: (-p.bit_count(), p & -p))
