"""Tokens: target spans by character offsets, token trees for shared prefixes, and the tokens that can start a word.

Everything that depends on how a tokenizer treats beginnings of text, spaces and scripts is decided here, once.
Spans come from character offsets, never from token ids: with Gemma's tokenizer `` amis`` is one token that
includes the space, `` 朋友`` a bare space and a word, and a rare character three byte tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Encoded", "TokenTree", "encode_targets", "common_prefix", "token_tree", "word_starts"]


@dataclass(frozen=True)
class Encoded:
    """A prompt followed by a target word.

    Attributes:
        ids: token ids of the whole text, the model's own beginning-of-sequence token included where it expects one.
        start: index of the first token that covers a character of the target. A bare space token before the target
            is not part of it: it is given to the model, not scored.
        stop: index after the target's last token.
    """

    ids: tuple[int, ...]
    start: int
    stop: int


def encode_targets(tokenizer, prompts: Sequence[str], joiner: str, targets: Sequence[str]) -> list[Encoded]:
    """Tokenize ``prompt + joiner + target`` as one text and find the target's tokens by character offsets.

    Args:
        tokenizer: a fast tokenizer.
        prompts: texts up to where the target starts (n).
        joiner: what stands between prompt and target, e.g. one space.
        targets: target words (n).

    Raises:
        ValueError: if a target is empty, or no token covers it.
    """
    if len(prompts) != len(targets):
        raise ValueError(f"{len(prompts)} prompts for {len(targets)} targets")
    if not prompts:
        return []
    batch = tokenizer([p + joiner + t for p, t in zip(prompts, targets)], return_offsets_mapping=True, return_attention_mask=False)
    return [_target_span(ids, offsets, len(p) + len(joiner), t) for ids, offsets, p, t in zip(batch["input_ids"], batch["offset_mapping"], prompts, targets)]


def _target_span(ids: list[int], offsets: list[tuple[int, int]], first_char: int, target: str) -> Encoded:
    last_char = first_char + len(target)
    inside = [i for i, (a, b) in enumerate(offsets) if a < last_char and b > first_char]
    if not inside:
        raise ValueError(f"the word {target!r} tokenizes to nothing")
    start, stop = inside[0], inside[-1] + 1
    # an end-of-sequence token that a tokenizer appends is dropped: nothing after the target is scored
    return Encoded(tuple(ids[:stop]), start, stop)


def common_prefix(sequences: Iterable[Sequence[int]]) -> int:
    """Length of the longest common beginning of several token sequences."""
    sequences = list(sequences)
    if not sequences:
        return 0
    low, high = min(sequences), max(sequences)
    for i, (a, b) in enumerate(zip(low, high)):
        if a != b:
            return i
    return min(len(low), len(high))


@dataclass(frozen=True)
class TokenTree:
    """Token sequences merged where they begin alike, so that every shared token is computed once.

    Attributes:
        ids: token id of each node [n], parents before children.
        depth: position of each node in its sequences [n], 0 for the first.
        visible: whether a node (row) sees another (column): itself and its ancestors, bool [n, n].
        paths: nodes of each sequence, in order.
    """

    ids: np.ndarray
    depth: np.ndarray
    visible: np.ndarray
    paths: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.ids)


def token_tree(sequences: Sequence[Sequence[int]]) -> TokenTree:
    """Merge token sequences into a prefix tree."""
    children: dict[tuple[int, int], int] = {}
    ids: list[int] = []
    parents: list[int] = []
    depth: list[int] = []
    paths = []
    for sequence in sequences:
        node, path = -1, []
        for level, token in enumerate(sequence):
            key = (node, token)
            if key not in children:
                children[key] = len(ids)
                ids.append(token)
                parents.append(node)
                depth.append(level)
            node = children[key]
            path.append(node)
        paths.append(tuple(path))
    visible = np.eye(len(ids), dtype=bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            visible[node] |= visible[parent]
    return TokenTree(np.array(ids, dtype=np.int64), np.array(depth, dtype=np.int64), visible, tuple(paths))


def word_starts(tokenizer, words: Iterable[str], joiners: Sequence[str] = ("", " ")) -> dict[int, str]:
    """Tokens that can start one of the words in running text, for summing a word's probability at one position.

    Each word is looked at after every joiner (with and without a leading space) and, in scripts that have case, in
    lower case, capitalised and in capitals. A token that covers no whole character (a byte of a rare CJK character, or
    the first bytes of one) is left out: it says nothing of the word.

    Returns:
        token id -> the part of the word it stands for.
    """
    forms = sorted({f for w in words for f in (w, w.lower(), w[:1].upper() + w[1:], w.upper())})
    starts: dict[int, str] = {}
    for joiner in joiners:
        # after a line break a word stands as it does after a prompt, with no beginning-of-sequence effects
        prompts = ["\n" + joiner] * len(forms)
        for form, code in zip(forms, encode_targets(tokenizer, prompts, "", forms)):
            piece = tokenizer.decode([code.ids[code.start]]).strip()
            if piece and "\ufffd" not in piece and form.startswith(piece):
                starts[code.ids[code.start]] = piece
    return starts
