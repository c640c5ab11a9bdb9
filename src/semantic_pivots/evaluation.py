"""What a model can do across languages: words it was and was not shown together, sentences, and what it costs.

- *Words*: the score of :mod:`.scoring` and its companions, on concepts of the lexicon's `heldout` split and on `seen` ones (:func:`draw_concepts`).
- *Sentences by likelihood* (:func:`sentence_gains`): how much more probable a sentence is after its own translation than after another sentence.
  It needs no generation, and tells something of models that cannot yet write a translation.
- *Sentences by generation* (:func:`translate`, :func:`chrf_table`): chrF++ of few-shot translations, beside chrF++ against other
  sentences' references, which a model reaches that only writes the language.

Validation losses come from the training log (:mod:`.transfer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sacrebleu.metrics import CHRF

from . import scoring, task
from .fingerprint import canonical, sha256_text
from .models import LanguageModel
from .progress import progress
from .stats import bootstrap_interval
from .task import Prompt

__all__ = [
    "Test",
    "draw_concepts",
    "word_tests",
    "score_words",
    "SentencePair",
    "sentence_pairs",
    "sentence_gains",
    "TranslationTask",
    "translate",
    "chrf_table",
]

BATCH = 32  # sentences run at a time


# --- words ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Test:
    """Items of one split and one ordered pair of languages, with their prompts."""

    __test__ = False  # not a test of pytest's

    split: str
    prompts: list[Prompt]
    items: pd.DataFrame

    @property
    def digest(self) -> str:
        """sha256 of all that is asked."""
        return sha256_text(canonical([self.split, self.prompts, self.items.to_dict("records")]))


def draw_concepts(lexicon: pd.DataFrame, exclude: Sequence[str], n_heldout: int, n_seen: int, seed: int) -> pd.Series:
    """Concepts to test: `heldout` ones, whose words must meet in no selected document, and `seen` ones, whose words may.

    Args:
        exclude: concepts that are neither (those of the severance experiment: which of their words could meet was drawn by lot).

    Returns:
        The split of each concept, indexed by concept_id.
    """
    heldout = task.draw_concepts(lexicon, n_heldout, seed, split="heldout")
    seen = task.draw_concepts(lexicon[~lexicon.concept_id.isin(list(exclude))], n_seen, seed, split="test")
    return pd.concat([pd.Series("heldout", heldout.index), pd.Series("seen", seen.index)])


def word_tests(lexicon: pd.DataFrame, concepts: pd.Series, pairs: Sequence[tuple[str, str]], n_prompt_sets: int, seed: int, prompt_format: str) -> list[Test]:
    """Items and prompts of every split and pair, made once for all models."""
    tests = []
    for split, ids in concepts.groupby(concepts, sort=False).groups.items():
        part = lexicon.loc[ids]
        for pair in progress(pairs, f"building items ({split})"):
            prompts = task.build_prompts(lexicon, pair, n_prompt_sets, seed, part.index, prompt_format)
            tests.append(Test(split, prompts, task.build_items(lexicon, part, pair, seed)))
    return tests


def score_words(lm: LanguageModel, tests: Sequence[Test]) -> pd.DataFrame:
    """Score all items.

    Returns:
        split, source_lang, target_lang, concept_id, p_target, score, log_ratio (nats), rank; one row an item.
    """
    parts = []
    for test in progress(tests, f"scoring {lm.id}"):
        scores = scoring.score_items(lm, test.prompts, test.items)
        parts.append(scores[["source_lang", "target_lang", "concept_id", "p_target", "score", "log_ratio", "rank"]].assign(split=test.split))
    return pd.concat(parts, ignore_index=True)


# --- sentences by likelihood ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SentencePair:
    """A sentence, the sentence it translates, and another one in the same language as that."""

    sentence_id: str
    source_lang: str
    target_lang: str
    source: str
    other: str
    target: str


def sentence_pairs(parallel: pd.DataFrame, pairs: Sequence[tuple[str, str]], n: int, max_chars: int, seed: int) -> list[SentencePair]:
    """Short held-out sentences in every direction, each with the source sentence next in length as the other one.

    Args:
        parallel: sentence_id and a column for each language.
        n: sentences.
        max_chars: of a sentence in English.

    Raises:
        ValueError: if there are fewer than two such sentences.
    """
    short = parallel[parallel.en.str.len() <= max_chars].drop_duplicates("en")
    short = short.iloc[np.random.default_rng(seed).permutation(len(short))[:n]]
    if len(short) < 2:
        raise ValueError(f"{len(short)} sentences have at most {max_chars} characters; at least two are needed")
    found = []
    for source, target in pairs:
        order = np.argsort(short[source].str.len().to_numpy(), kind="stable")
        other = np.empty(len(short), int)
        other[order] = np.roll(order, 1)
        rows = zip(short.sentence_id, short[source], short[source].to_numpy()[other], short[target])
        found += [SentencePair(i, source, target, *texts) for i, *texts in rows]
    return found


def sentence_gains(lm: LanguageModel, pairs: Sequence[SentencePair], special: tuple[int, int, int, int]) -> pd.DataFrame:
    """Mean log probability of a sentence's tokens after its translation and a line end, minus that after another sentence.

    Args:
        special: ids of padding, beginning, end and line end (``transfer.Base.special``).

    Returns:
        sentence_id, source_lang, target_lang, gain (nats per token).
    """
    backend = lm.tokenizer.backend_tokenizer

    def ids(text: str) -> list[int]:
        return backend.encode(text, add_special_tokens=False).ids

    rows, targets = [], [ids(p.target) for p in pairs]
    for attribute in ("source", "other"):
        rows += [([special[1], *ids(getattr(p, attribute)), special[3]], t) for p, t in zip(pairs, targets)]
    order = np.argsort([len(a) + len(b) for a, b in rows], kind="stable")
    mean = np.zeros(len(rows))
    for start in range(0, len(rows), BATCH):
        batch = [int(i) for i in order[start : start + BATCH]]
        width = max(len(rows[i][0]) + len(rows[i][1]) for i in batch)
        tokens = torch.tensor([[*rows[i][0], *rows[i][1], *[special[0]] * (width - len(rows[i][0]) - len(rows[i][1]))] for i in batch])
        hidden = lm.run_body(tokens, use_cache=False).last_hidden_state  # padding is on the right, where nothing before it sees it
        places = [(b, len(rows[i][0]) - 1 + k, t) for b, i in enumerate(batch) for k, t in enumerate(rows[i][1])]
        states = hidden[[p[0] for p in places], [p[1] for p in places]]
        value = (lm.logits_of(states, torch.tensor([p[2] for p in places])) - lm.normaliser(states)[0]).double().numpy()
        mean[batch] = np.bincount([p[0] for p in places], value) / [len(rows[i][1]) for i in batch]
    own, other = mean[: len(pairs)], mean[len(pairs) :]
    columns = {c: [getattr(p, c) for p in pairs] for c in ("sentence_id", "source_lang", "target_lang")}
    return pd.DataFrame(columns | {"gain": own - other})


# --- sentences by generation ------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class TranslationTask:
    """Held-out sentences to be translated in some directions.

    Attributes:
        parallel: sentence_id and a column for each language.
        n: sentences of each direction.
        max_chars: of a sentence in English, demonstrations included, so that all fits into a small context.
        n_shots: demonstrations, the same for all sentences and never asked.
    """

    parallel: pd.DataFrame
    pairs: tuple[tuple[str, str], ...]
    n: int
    max_chars: int
    n_shots: int
    seed: int

    @property
    def digest(self) -> str:
        """sha256 of all that is asked."""
        return sha256_text(canonical([self.parallel.to_dict("records"), self.pairs, self.n, self.max_chars, self.n_shots, self.seed]))

    def run(self, lm: LanguageModel, special: tuple[int, int, int, int]) -> pd.DataFrame:
        """Translate in all directions: source_lang, target_lang and the columns of :func:`translate`, and chrf of each sentence."""
        parts = [
            translate(lm, self.parallel, pair, special, self.n, self.max_chars, self.n_shots, self.seed).assign(source_lang=pair[0], target_lang=pair[1])
            for pair in progress(self.pairs, f"translating with {lm.id}")
        ]
        table, metric = pd.concat(parts, ignore_index=True), CHRF(word_order=2)
        return table.assign(chrf=[metric.sentence_score(h, [r]).score for h, r in zip(table.hypothesis, table.reference)])


@torch.inference_mode()
def translate(
    lm: LanguageModel, parallel: pd.DataFrame, pair: tuple[str, str], special: tuple[int, int, int, int], n: int, max_chars: int, n_shots: int, seed: int
) -> pd.DataFrame:
    """Greedy few-shot translations of held-out sentences, a line each (source, then target, as in the corpus).

    Args:
        n: sentences.
        max_chars: of a sentence in English, demonstrations included, so that all fits into a small context.

    Returns:
        sentence_id, source, reference, hypothesis.
    """
    short = parallel[parallel.en.str.len() <= max_chars].drop_duplicates("en")
    short = short.iloc[np.random.default_rng(seed).permutation(len(short))]
    shots, asked = short.iloc[:n_shots], short.iloc[n_shots : n_shots + n]
    backend, (source, target) = lm.tokenizer.backend_tokenizer, pair
    head = "".join(f"{s}\n{t}\n" for s, t in zip(shots[source], shots[target]))
    hypotheses = []
    for start in range(0, len(asked), BATCH):
        texts = [f"{head}{s}\n" for s in asked[source].iloc[start : start + BATCH]]
        prompts = [[special[1], *backend.encode(t, add_special_tokens=False).ids] for t in texts]
        width = max(map(len, prompts))
        ids = torch.tensor([[special[0]] * (width - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
        room = min(64, lm.network.config.max_position_embeddings - width)
        made = lm.network.generate(
            input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=room, eos_token_id=[special[2], special[3]], pad_token_id=special[0]
        )
        hypotheses += [lm.tokenizer.decode(row[width:], skip_special_tokens=True).split("\n")[0].strip() for row in made]
    columns = {"sentence_id": asked.sentence_id, "source": asked[source], "reference": asked[target]}
    return pd.DataFrame(columns | {"hypothesis": hypotheses}).reset_index(drop=True)


def chrf_table(translations: pd.DataFrame, margin: float = 2.0, n_resamples: int = 2000, seed: int = 0) -> tuple[pd.DataFrame, str]:
    """chrF++ by direction, beside what the same sentences reach against other sentences' references.

    A model is taken to be able to translate where the difference, resampled over sentences, lies above ``margin`` points.

    Args:
        translations: of :meth:`TranslationTask.run`.

    Returns:
        source_lang, target_lang, n, chrf (of the corpus), chrf_copy (of the source sentences), chrf_other, difference (mean over sentences) with
        ci_low and ci_high, able; and sacrebleu's signature.
    """
    metric, rows = CHRF(word_order=2), []
    for (source, target), table in translations.groupby(["source_lang", "target_lang"], sort=False):
        hypotheses, references = table.hypothesis.tolist(), table.reference.tolist()
        others = references[1:] + references[:1]
        each = [[metric.sentence_score(h, [r]).score for h, r in zip(hypotheses, rs)] for rs in (references, others)]
        difference = np.subtract(*each)
        interval = bootstrap_interval(difference, n_resamples=n_resamples, seed=seed)
        scores = [metric.corpus_score(h, [r]).score for h, r in ((hypotheses, references), (table.source.tolist(), references), (hypotheses, others))]
        rows.append((source, target, len(table), *scores, *interval, bool(interval[1] > margin)))
    columns = ["source_lang", "target_lang", "n", "chrf", "chrf_copy", "chrf_other", "difference", "ci_low", "ci_high", "able"]
    return pd.DataFrame(rows, columns=columns), str(metric.get_signature())
