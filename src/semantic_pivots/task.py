"""The word-level cross-lingual translation task: concepts, prompts, distractors (He et al. 2025, §3).

For every ordered pair of languages a model is shown five demonstrations and a word, and is scored on the word's
translation. The same translation is also scored after nine *distractors*, words of the source language that mean
something else, so that a translation which is merely a likely string earns nothing.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

__all__ = [
    "LANGUAGES",
    "N_DISTRACTORS",
    "Prompt",
    "read_lexicon",
    "parse_pairs",
    "Pool",
    "draw_concepts",
    "build_prompts",
    "build_items",
    "prompt_row",
    "read_prompts",
]

LANGUAGES = {"en": "English", "fr": "French", "zh": "Chinese", "ja": "Japanese"}
N_DISTRACTORS = 9
N_DEMONSTRATIONS = 5
ZIPF_WINDOW = 0.75  # how far a distractor's Zipf frequency may lie from the source word's


@dataclass(frozen=True)
class Format:
    """How a prompt is written; ``{source}`` and ``{target}`` stand for the names of the languages.

    Attributes:
        instruction: what stands first.
        line: the item's lines up to where the target starts, with ``{{word}}``.
        joiner: what stands between that and the target word.
        end: what stands after a demonstration.
    """

    instruction: str
    line: str
    joiner: str
    end: str


# The paper's prompt (He et al. 2025, §3), and two for small models that never read an instruction.
FORMATS = {
    "instruction": Format("Please translate words from {source} to {target}.\n\n", "{source}: {{word}}\n{target}:", " ", "\n\n"),
    "labels": Format("", "{source}: {{word}}\n{target}:", " ", "\n"),
    "lines": Format("", "{{word}}\n", "", "\n"),
}


@dataclass(frozen=True)
class Prompt:
    """One prompt of one ordered pair.

    Attributes:
        prefix: the whole text before the item's own lines, demonstrations included.
        line: template of the item's lines, with ``{word}``, up to where the target starts.
        joiner: what stands between that and the target word.
        demonstrations: concept ids of the demonstrations.
    """

    source_lang: str
    target_lang: str
    prompt_set: int
    prefix: str
    line: str
    joiner: str
    demonstrations: tuple[str, ...]

    def text(self, word: str) -> str:
        """Everything up to where the target's joiner starts."""
        # replace, not format: a word may hold a brace
        return self.prefix + self.line.replace("{word}", word)


def read_lexicon(path: Path) -> pd.DataFrame:
    """Read the lexicon, one row a concept, indexed by concept_id.

    Raises:
        ValueError: if a column is missing, or an id occurs twice.
    """
    lexicon = pd.read_parquet(path)
    wanted = {"concept_id", "pos", "split", "bijective", "conflicts"} | {c for la in LANGUAGES for c in (la, f"zipf_{la}", f"valid_{la}")}
    if missing := sorted(wanted - set(lexicon.columns)):
        raise ValueError(f"{path}: the lexicon lacks the columns {', '.join(missing)}")
    if lexicon.concept_id.duplicated().any():
        raise ValueError(f"{path}: concept {lexicon.concept_id[lexicon.concept_id.duplicated()].iloc[0]!r} occurs twice")
    return lexicon.set_index("concept_id", drop=False)


def parse_pairs(source_langs: list[str] | None = None, target_langs: list[str] | None = None, pairs: list[str] | None = None) -> list[tuple[str, str]]:
    """Ordered pairs of two different languages, from two lists or from names such as "en-fr".

    Raises:
        ValueError: for an unknown language, a pair of a language with itself, or if no pair is left.
    """
    if pairs is not None:
        parsed = [tuple(p.split("-")) for p in pairs]
        if bad := [p for p, q in zip(pairs, parsed) if len(q) != 2 or q[0] == q[1]]:
            raise ValueError(f"{bad[0]!r} is not a pair of two languages such as 'en-fr'")
    else:
        parsed = [p for p in itertools.product(source_langs, target_langs) if p[0] != p[1]]
    if unknown := sorted({la for p in parsed for la in p} - set(LANGUAGES)):
        raise ValueError(f"unknown language {unknown[0]!r}; known: {', '.join(LANGUAGES)}")
    if not parsed:
        raise ValueError(f"no pair of two different languages in {source_langs} × {target_langs}")
    return list(dict.fromkeys(parsed))


def _random(*key: object) -> np.random.Generator:
    """A generator that depends on the key alone, so that one concept's draw does not move another's."""
    return np.random.default_rng(zlib.crc32("\x1f".join(map(str, key)).encode()))


class Pool:
    """Concepts whose words may stand as distractors. The table's columns are taken out once: a search is made for every concept and language.

    Args:
        lexicon: all concepts that are asked for.
        splits: splits of the lexicon the distractors come from; of these the bijective concepts.
    """

    def __init__(self, lexicon: pd.DataFrame, splits: Sequence[str]):
        self.table = lexicon[lexicon.split.isin(splits) & lexicon.bijective]
        self._lexicon = lexicon
        self._pos, self._ids = self.table.pos.to_numpy(), self.table.concept_id.to_numpy()
        self._words = {la: self.table[la].to_numpy() for la in LANGUAGES}
        self._zipf = {la: self.table[f"zipf_{la}"].to_numpy() for la in LANGUAGES}

    def eligible(self, concept_id: str, source_lang: str) -> np.ndarray:
        """Rows of the pool's table whose source word may stand as a distractor for a concept, whatever the target language.

        Same part of speech, Zipf frequency within 0.75, no shared sense by any dictionary (the lexicon's `conflicts`),
        and a word that is not itself an accepted word of the concept in any language.
        """
        concept = self._lexicon.loc[concept_id]
        accepted = {w for la in LANGUAGES for w in concept[f"valid_{la}"]} | {concept[la] for la in LANGUAGES}
        barred, words = {concept_id, *concept.conflicts}, self._words[source_lang]
        near = np.abs(self._zipf[source_lang] - concept[f"zipf_{source_lang}"]) <= ZIPF_WINDOW
        alike = np.flatnonzero(near & (self._pos == concept.pos))
        return np.array([i for i in alike if self._ids[i] not in barred and words[i] not in accepted], dtype=np.int64)

    def enough(self, concept_id: str, langs: Sequence[str] = tuple(LANGUAGES)) -> bool:
        """Whether a concept has nine distractors in the pool, whichever of the languages is the source."""
        return all(len(self.eligible(concept_id, la)) >= N_DISTRACTORS for la in langs)


def draw_concepts(lexicon: pd.DataFrame, n_concepts: int, seed: int, split: str = "test") -> pd.DataFrame:
    """Draw the concepts to be tested: bijective ones that have enough distractors in every language.

    The draw is nested: the first n of a larger draw are the smaller draw.

    Raises:
        ValueError: if fewer than two are asked for, or the split does not hold that many.
    """
    if n_concepts < 2:
        raise ValueError(f"n_concepts is {n_concepts}: at least two concepts are needed, distractors come from the others")
    pool = Pool(lexicon, [split])
    shuffled = pool.table.concept_id.iloc[np.random.default_rng(seed).permutation(len(pool.table))]
    drawn = list(itertools.islice(filter(pool.enough, shuffled), n_concepts))
    if len(drawn) < n_concepts:
        raise ValueError(f"n_concepts is {n_concepts}, but split {split!r} holds only {len(drawn)} concepts with {N_DISTRACTORS} distractors in every language")
    return lexicon.loc[drawn]


def build_prompts(
    lexicon: pd.DataFrame, pair: tuple[str, str], n_prompt_sets: int, seed: int, exclude: pd.Index | None = None, prompt_format: str = "instruction"
) -> list[Prompt]:
    """The paper's prompt with seeded demonstrations, disjoint between prompt sets and the same concepts in every pair.

    Args:
        exclude: concepts that are test items.
        prompt_format: a name in ``FORMATS``.

    Raises:
        ValueError: if the `demo` split is too small, a demonstration is also an item, or the format is unknown.
    """
    if prompt_format not in FORMATS:
        raise ValueError(f"unknown prompt format {prompt_format!r}; known: {', '.join(FORMATS)}")
    form = FORMATS[prompt_format]
    source, target = pair
    demo = lexicon[lexicon.split == "demo"]
    needed = n_prompt_sets * N_DEMONSTRATIONS
    if needed > len(demo):
        raise ValueError(f"{n_prompt_sets} prompt sets need {needed} demonstrations, the lexicon has {len(demo)}")
    order = np.random.default_rng(seed).permutation(len(demo))[:needed].reshape(n_prompt_sets, N_DEMONSTRATIONS)
    names = {"source": LANGUAGES[source], "target": LANGUAGES[target]}
    prompts = []
    for number, rows in enumerate(order):
        chosen = demo.iloc[rows]
        if exclude is not None and len(both := chosen.concept_id[chosen.concept_id.isin(exclude)]):
            raise ValueError(f"the demonstration {both.iloc[0]!r} is also a test item")
        line = form.line.format(**names)
        shots = "".join(line.replace("{word}", getattr(c, source)) + form.joiner + getattr(c, target) + form.end for c in chosen.itertuples())
        prompts.append(Prompt(source, target, number, form.instruction.format(**names) + shots, line, form.joiner, tuple(chosen.concept_id)))
    return prompts


def prompt_row(prompt: Prompt) -> dict:
    """A prompt as a row of the table ``prompts``."""
    return asdict(prompt) | {"demonstrations": list(prompt.demonstrations)}


def read_prompts(table: pd.DataFrame, model: str) -> dict[tuple[str, str], list[Prompt]]:
    """The prompt sets of each pair from the table ``prompts``: what :func:`prompt_row` wrote."""
    prompts: dict[tuple[str, str], list[Prompt]] = {}
    for row in table[table.model == model].drop(columns="model").to_dict("records"):
        prompt = Prompt(**row | {"demonstrations": tuple(row["demonstrations"])})
        prompts.setdefault((prompt.source_lang, prompt.target_lang), []).append(prompt)
    return prompts


def build_items(lexicon: pd.DataFrame, concepts: pd.DataFrame, pair: tuple[str, str], seed: int) -> pd.DataFrame:
    """Items of one ordered pair: source word, target word and nine distractors.

    Distractors are taken from the drawn concepts as far as they go, then from the rest of their split: a word that
    serves several items is run through the model once.

    Returns:
        source_lang, target_lang, concept_id, source_word, target_word, distractors (list of nine words).

    Raises:
        ValueError: if the set is empty or a concept has too few distractors.
    """
    source, target = pair
    if len(concepts) < 2:
        raise ValueError(f"{len(concepts)} concepts: at least two are needed")
    pool = Pool(lexicon, concepts.split.unique())
    words, tested = pool.table[source].to_numpy(), pool.table.concept_id.isin(concepts.index).to_numpy()
    rows = []
    for concept in concepts.itertuples():
        own, target_word = getattr(concept, source), getattr(concept, target)
        eligible = np.array([i for i in pool.eligible(concept.concept_id, source) if words[i] != target_word], dtype=np.int64)
        if len(eligible) < N_DISTRACTORS:
            raise ValueError(f"{concept.concept_id} ({source}-{target}): only {len(eligible)} of {N_DISTRACTORS} distractors")
        drawn = tested[eligible]
        random = _random(seed, source, target, concept.concept_id)
        chosen = np.concatenate([random.permutation(eligible[drawn]), random.permutation(eligible[~drawn])])[:N_DISTRACTORS]
        rows.append((source, target, concept.concept_id, own, target_word, list(words[chosen])))
    return pd.DataFrame(rows, columns=["source_lang", "target_lang", "concept_id", "source_word", "target_word", "distractors"])
