"""The items that interventions work on, and the pivot tokens of each: English forms of the concept, or pivots found in the documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from . import tokens
from .control_spans import STEM, TokenFacts, match_tokens, pivot_tokens, token_facts
from .layers import usable
from .matching import Vocabulary, read_forms
from .models import LanguageModel
from .task import LANGUAGES, Prompt, read_prompts

__all__ = ["Subject", "choose_items", "prepare", "english_forms", "table_pivots", "matched_tokens"]

UNSPACED = "\u2e80"  # from here on, characters of scripts in which one says as much as four letters
Pair = tuple[str, str]


@dataclass(frozen=True, eq=False)
class Subject:
    """A model with what is known of its tokens and of the words it is tested on."""

    lm: LanguageModel
    lexicon: pd.DataFrame
    forms: Vocabulary
    facts: TokenFacts
    prompts: dict[Pair, list[Prompt]]

    def words(self, concept_id: str, *langs: str) -> list[str]:
        """All forms of a concept's words in some languages (all four if none is named), folded."""
        row = self.forms.concept_ids.index(concept_id)
        return [w for la in langs or LANGUAGES for w in self.forms.forms[self.forms.languages.index(la)][row]]

    def starts(self, concept_id: str, lang: str) -> list[int]:
        """:meth:`whole_starts` of a concept's accepted words in a language."""
        return self.whole_starts(self.lexicon.loc[concept_id, f"valid_{lang}"])

    def whole_starts(self, words: Sequence[str]) -> list[int]:
        """Tokens that can start one of some words, the most frequent first; short pieces of words are left out."""
        whole = {w.casefold() for w in words}
        found = [
            i for i, piece in tokens.word_starts(self.lm.tokenizer, words).items() if piece.casefold() in whole or len(piece) >= STEM or piece[0] >= UNSPACED
        ]
        return sorted(found, key=lambda i: (-self.facts.frequency[i], i))


def choose_items(scores: pd.DataFrame, traces: pd.DataFrame, pairs: Sequence[Pair], n_concepts: int) -> pd.DataFrame:
    """Items of the first concepts of the draw that can be read in all the directions.

    Args:
        scores: table ``scores`` of one model.
        traces: table ``traces`` of that model.

    Returns:
        source_lang, target_lang, concept_id, source_word, target_word, correct (the model's most probable first token starts an accepted translation).

    Raises:
        ValueError: if no concept is left.
    """
    ends = traces[(traces.lens == "raw") & (traces.prompt_set == 0) & (traces.layer == traces.layer.max())]
    items = scores.merge(
        ends[["source_lang", "target_lang", "concept_id", "overlap", "readable", "top1_is_accepted"]], on=["source_lang", "target_lang", "concept_id"]
    )
    items = items[pd.MultiIndex.from_frame(items[["source_lang", "target_lang"]]).isin(pairs) & usable(items)]
    complete = items.concept_id.value_counts()
    complete = set(complete[complete == len(pairs)].index)
    chosen = [c for c in dict.fromkeys(items.concept_id) if c in complete][:n_concepts]
    if not chosen:
        raise ValueError(f"no concept can be read in all of {', '.join('-'.join(p) for p in pairs)}")
    items = items[items.concept_id.isin(chosen)].rename(columns={"top1_is_accepted": "correct"})
    return items[["source_lang", "target_lang", "concept_id", "source_word", "target_word", "correct"]].reset_index(drop=True)


def prepare(
    lm: LanguageModel, lexicon: pd.DataFrame, tables: dict[str, pd.DataFrame], pairs: Sequence[Pair], n_concepts: int, texts: Sequence[str]
) -> tuple[Subject, pd.DataFrame]:
    """A model and its items.

    Args:
        tables: `scores`, `traces` and `prompts`, of any models.
        texts: a sample of the corpus, to count tokens in.

    Returns:
        The subject, and the items of :func:`choose_items`.
    """
    own = {name: table[table.model == lm.id] for name, table in tables.items()}
    items = choose_items(own["scores"], own["traces"], pairs, n_concepts)
    forms = read_forms(lexicon.loc[items.concept_id.unique()])
    return Subject(lm, lexicon, forms, token_facts(lm, texts), read_prompts(own["prompts"], lm.id)), items


def english_forms(subject: Subject, items: pd.DataFrame, most: int, n_controls: int = 0) -> list[list[int]]:
    """The tokens that start the concept's English words, as pivots; empty where these are also words of the source or target language."""
    rows = items[["concept_id", "source_lang", "target_lang"]].itertuples(index=False)
    return [pivot_tokens(subject.facts, subject.starts(c, "en"), subject.words(c, a, b), most, n_controls) for c, a, b in rows]


def table_pivots(subject: Subject, items: pd.DataFrame, pivots: pd.DataFrame, most: int, n_controls: int = 0) -> list[list[int]]:
    """Tokens of discovered pivots: of the words that were kept in the table ``pivots``, in its order, the most frequent token that starts each.

    Only words of a third language: other words of the source or target language say too much of the two themselves. Tokens akin to a word of
    either (:meth:`.control_spans.TokenFacts.related`) are left out too, as they are among the controls.
    """
    third = pivots.kept & (pivots.lang != pivots.source_lang) & (pivots.lang != pivots.target_lang)
    kept = pivots[third].groupby(["source_lang", "target_lang", "concept_id"], sort=False).pivot.agg(list)
    found = []
    for c, a, b in items[["concept_id", "source_lang", "target_lang"]].itertuples(index=False):
        ids, akin = [], set(subject.facts.related(subject.words(c, a, b)).tolist())
        for word in kept.get((a, b, c), []):
            starts = [i for i in subject.whole_starts([word]) if i not in akin]
            ids += [i for i in pivot_tokens(subject.facts, starts, subject.words(c, a, b), 1, n_controls) if i not in ids]
            if len(ids) == most:
                break
        found.append(ids)
    return found


def matched_tokens(subject: Subject, concept_id: str, pivots: list[int], target: int, n: int, cosine: np.ndarray | None = None) -> np.ndarray:
    """Control tokens [n, k] for an item's pivot tokens, none of them of a word of the concept or derived from one (:func:`.match_tokens`)."""
    return match_tokens(subject.facts, pivots, target, subject.facts.related(subject.words(concept_id)), n, cosine)
