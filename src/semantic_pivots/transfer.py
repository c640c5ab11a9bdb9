"""A model trained further on one arm's documents after another: the same start, tokens, schedule and seeds for all.

A base (:class:`Base`) is loaded and compiled once; each run starts from its weights. A run is a :class:`.training.Trainer` on the documents of
one arm: whole documents, packed without seeing one another, translations in another order every time. A killed run goes on where it was; a
finished one leaves its weights and its log, under a name made from all that it depends on.

    python -m semantic_pivots.transfer --base packaged:smollm2-135m --arms matched,bilingual,pivot_npmi --seeds 2 --tokens 250000

takes the arms that notebook 05 selected (table ``selection``) and writes the tables ``training``, ``transfer_outcomes``, ``transfer_contrasts``
and ``transfer`` of the profile named by --profile with their manifest.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from . import arms as arms_
from . import comparison, evaluation, experiment, matching, models, reconstruction, task
from .artifacts import ROOT, Store, atomic_path
from .documents import documents_of, encode, held_out_documents
from .fingerprint import canonical, module_code, sha256_text
from .mixture import CODES, Document, Rows, TokenCorpus, epoch_rows, text_rows
from .models import LanguageModel, ModelError
from .tokenizer import BOS, EOS, PAD
from .training import Network, Trainer, TrainingConfig, resolved

__all__ = ["Recipe", "Base", "Continuation", "validation_rows", "train_arm", "run_arms", "final_losses", "main"]

VERSION = 1  # of the runs: raise it when a change here or in training changes weights
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Recipe:
    """How every arm is trained.

    Attributes:
        tokens: tokens a run reads, padding not counted.
        lr: largest learning rate, after the warm-up; it falls linearly to zero.
        optimizer: "muon" or "adamw" (:class:`.training.TrainingConfig`).
        batch_rows: rows of ``context`` tokens a step.
        warmup_share: share of the tokens over which the learning rate rises.
        n_validations: validations at equal distances, the last at the end.
        validation_rows: rows of each language and kind that are validated on, at most.
    """

    tokens: int = 500_000
    lr: float = 2e-3
    optimizer: str = "muon"
    batch_rows: int = 16
    context: int = 256
    warmup_share: float = 0.05
    n_validations: int = 3
    validation_rows: int = 16
    compile: bool = True
    precision: str = "auto"
    threads: int = 2

    def config(self, network: torch.nn.Module, seed: int) -> TrainingConfig:
        """The configuration of a run of a ``transformers`` model."""
        shape = network.config
        return TrainingConfig(
            corpus="", parallel="", vocabulary=shape.vocab_size, hidden=shape.hidden_size, layers=shape.num_hidden_layers, heads=shape.num_attention_heads,
            intermediate=shape.intermediate_size, context=self.context, seed=seed, mixed_weight=1.0, single_weight=1.0, total_tokens=self.tokens,
            batch_rows=self.batch_rows, optimizer=self.optimizer, lr=self.lr, warmup_tokens=int(self.warmup_share * self.tokens), schedule="wsd",
            decay_share=1.0 - self.warmup_share, export_tokens=(), validate_tokens=-(-self.tokens // self.n_validations), checkpoint_minutes=5.0,
            compile=self.compile, precision=self.precision, threads=self.threads,
        )  # fmt: skip


class Base:
    """The model all runs start from, loaded and compiled once.

    Attributes:
        lm: the model; its weights are those of the run that was made last (:meth:`reset` takes them back to the start).
        start: the weights of the start, by name.

    Raises:
        ModelError: if its unembedding is not its embedding, or its shape is not that of a Llama.
    """

    def __init__(self, model_id: str, recipe: Recipe):
        self.lm = models.load(model_id, "cpu", "float32")
        network = self.lm.network
        if network.config.model_type != "llama" or not network.config.tie_word_embeddings:
            raise ModelError(f"{model_id} cannot be trained further here: it is no Llama with one matrix for embedding and unembedding")
        network.requires_grad_(True)
        self.recipe = replace(recipe, precision=resolved(recipe.config(network, 0)).precision)
        self.start = {n: p.detach().clone() for n, p in network.named_parameters()}
        torch.set_num_threads(recipe.threads)
        self.network = Network(self.recipe.config(network, 0), network)

    @property
    def backend(self) -> Tokenizer:
        """The tokenizer as the library ``tokenizers`` knows it."""
        return self.lm.tokenizer.backend_tokenizer

    @property
    def special(self) -> tuple[int, int, int, int]:
        """Ids of padding, beginning, end and line end, as packing needs them; a tokenizer without one of the first three lends its end."""
        tokenizer = self.lm.tokenizer
        end = tokenizer.eos_token_id
        line = self.backend.encode("\n", add_special_tokens=False).ids
        given = [i if i is not None else end for i in (tokenizer.pad_token_id, tokenizer.bos_token_id)]
        if len(line) != 1 or end is None:
            raise ModelError(f"{self.lm.id}: its tokenizer has no token of its own for a line end, or none for the end of a text")
        return (*given, end, line[0])

    @torch.no_grad()
    def load(self, weights: dict[str, torch.Tensor]) -> None:
        """Put weights in place, without making the compiled model anew."""
        for name, parameter in self.network.model.named_parameters():
            parameter.copy_(weights[name])
            parameter.grad = None

    def reset(self) -> None:
        """Back to the start."""
        self.load(self.start)

    def as_model(self, name: str, checksum: str) -> LanguageModel:
        """The model as it is now, under the name of a run; its products are in the precision it was trained with."""
        return replace(self.lm, id=f"{self.lm.id}+{name}", checksum=checksum, dtype=self.recipe.precision)


def validation_rows(base: Base, held_out: TokenCorpus | Sequence[Document], parallel: pd.DataFrame) -> dict[str, Rows]:
    """Rows of held-out documents of each language (``val_en`` …) and of held-out parallel sentences (``parallel_en`` …).

    Args:
        held_out: a corpus as tokens of the base, of which the held-out documents are taken; or documents of one language each.
        parallel: sentences with a column for each language.
    """
    recipe = base.recipe
    if not isinstance(held_out, TokenCorpus):
        held_out = replace(coded := encode(held_out, base.backend, base.special), held_out=np.ones(len(coded), bool), mixed=np.zeros(len(coded), bool))
    rows = {f"val_{la}": epoch_rows(held_out, 0, 0, recipe.context, held_out=i) for i, la in enumerate(CODES)}
    for la in CODES:
        if {PAD, BOS, EOS} <= set(base.backend.get_vocab()):
            rows[f"parallel_{la}"] = text_rows(base.backend, parallel[la].tolist(), recipe.context)
        else:
            sentences = encode([Document(str(i), False, ((la, t),)) for i, t in enumerate(parallel[la])], base.backend, base.special)
            rows[f"parallel_{la}"] = epoch_rows(replace(sentences, held_out=np.ones(len(sentences), bool)), 0, 0, recipe.context, held_out=CODES.index(la))
    return {name: Rows(r.ids[: recipe.validation_rows], r.piece[: recipe.validation_rows]) for name, r in rows.items() if len(r)}


# --- runs -------------------------------------------------------------------------------------------------------------


class Continuation(Trainer):
    """A run that starts from the weights its network has, and keeps its last weights in float32."""

    def __init__(self, base: Base, config: TrainingConfig, out: Path, tokens: TokenCorpus, validation: dict[str, Rows]):
        super().__init__(config, out, tokens, base.backend, base.network)
        self.rows = validation

    def _held_out(self) -> dict[str, Rows]:
        return self.rows

    def export(self, target: int) -> Path:
        """Write the weights; returns their path."""
        path = self.out / WEIGHTS
        with atomic_path(path) as temporary:
            save_file({n: p.detach().contiguous() for n, p in self.network.model.named_parameters()}, temporary)
        return path


def run_key(base: Base, documents: str, seed: int, validation: dict[str, Rows]) -> str:
    """Name of a run, made from all that it depends on; ``documents`` is the digest of the arm's, "" for the base itself."""
    facts = {"base": base.lm.checksum, "documents": documents, "config": asdict(replace(base.recipe.config(base.lm.network, seed), threads=0))}
    facts["validation"] = {name: hashlib.sha256(rows.ids.tobytes() + rows.piece.tobytes()).hexdigest() for name, rows in validation.items()}
    return sha256_text(canonical(facts | {"version": VERSION}))


def train_arm(base: Base, tokens: TokenCorpus, seed: int, validation: dict[str, Rows], cache: Path) -> pd.DataFrame:
    """Train the base on one arm's documents, or take the weights from the cache; the base then has the run's weights.

    Args:
        tokens: the arm's documents.
        seed: seed of their order.
        cache: folder of runs.

    Returns:
        The log: step, tokens, epoch, loss, lr, tokens_per_s and, at some steps, the validation losses (nats per token).
    """
    out = Path(cache) / run_key(base, tokens.digest, seed, validation)[:24]
    base.reset()
    if not _finished(out, base.recipe.tokens):
        trainer = Continuation(base, base.recipe.config(base.lm.network, seed), out, tokens, validation)
        trainer.run()
        trainer.export(0)  # also where a run was killed between its last step and its end
        trainer.checkpoint_path.unlink(missing_ok=True)
    base.load(load_file(out / WEIGHTS))
    return pd.read_csv(out / "log.csv")


def _finished(out: Path, tokens: int) -> bool:
    """Whether a run came to its end: weights, no state to go on from, and a log to the last token."""
    if not (out / WEIGHTS).is_file() or (out / "state.safetensors").is_file() or not (out / "log.csv").is_file():
        return False
    log = pd.read_csv(out / "log.csv")
    return len(log) > 0 and log.tokens.iloc[-1] >= tokens


def start_losses(base: Base, tokens: TokenCorpus, validation: dict[str, Rows], cache: Path) -> pd.DataFrame:
    """The base as a log of one line, its validation losses before any training."""
    base.reset()
    losses = Continuation(base, base.recipe.config(base.lm.network, 0), Path(cache) / "none", tokens, validation).validate()
    return pd.DataFrame([{"step": 0, "tokens": 0, "epoch": 0, "loss": np.nan, "lr": 0.0, "tokens_per_s": np.nan} | losses])


def run_arms(
    base: Base,
    arms: Sequence[dict[str, TokenCorpus]],
    validation: dict[str, Rows],
    tests: Sequence[evaluation.Test],
    sentences: Sequence[evaluation.SentencePair],
    store: Store,
    cache: Path,
    translation: evaluation.TranslationTask | None = None,
) -> dict[str, pd.DataFrame]:
    """Train and test all arms with all seeds, and the base as the arm `none`; every finished part is kept.

    Seeds are the outer loop, so that a run that is cut short holds complete sets of arms.

    Args:
        arms: for each seed the documents of every arm; a seed without any is passed over.
        translation: sentences to translate, in directions in which the base is able to.

    Returns:
        training (arm, seed and the log), scores (``evaluation.score_words``), gains (``evaluation.sentence_gains``) and translations
        (``evaluation.TranslationTask``, empty without), these with arm, seed, tokens.
    """
    first = next(tokens for own in arms for tokens in own.values())
    plan = [("none", 0, first)] + [(name, seed, tokens) for seed, own in enumerate(arms) for name, tokens in own.items()]
    asked = sha256_text(canonical([t.digest for t in tests]))
    said = sha256_text(canonical([asdict(s) for s in sentences]))
    parts: dict[str, list[pd.DataFrame]] = {"training": [], "scores": [], "gains": [], "translations": [pd.DataFrame()]}
    for name, seed, tokens in plan:
        key = run_key(base, "" if name == "none" else tokens.digest, seed, validation)
        ready = [False]

        def weights(name=name, seed=seed, tokens=tokens, ready=ready) -> pd.DataFrame:
            log = start_losses(base, tokens, validation, cache) if name == "none" else train_arm(base, tokens, seed, validation, cache)
            ready[0] = True
            return log

        def tested(measure: Callable[[LanguageModel], pd.DataFrame], ready=ready, weights=weights, key=key, name=name, seed=seed) -> pd.DataFrame:
            if not ready[0]:
                weights()
            return measure(base.as_model(f"{name}/{seed}", key))

        log = store.unit("training", weights, run=key)
        log = log.assign(arm=name, seed=seed)
        end = {"arm": name, "seed": seed, "tokens": int(log.tokens.iloc[-1])}
        scores = store.unit(
            "transfer_scores",
            lambda tested=tested: tested(lambda lm: evaluation.score_words(lm, tests)),
            run=key, tests=asked, code=module_code("scoring"), dtype=base.recipe.precision,
        )  # fmt: skip
        gains = store.unit(
            "sentence_gains",
            lambda tested=tested: tested(lambda lm: evaluation.sentence_gains(lm, sentences, base.special)),
            run=key, sentences=said, dtype=base.recipe.precision,
        )  # fmt: skip
        found = {"training": log, "scores": scores.assign(**end), "gains": gains.assign(**end)}
        if translation is not None:
            made = store.unit(
                "translations",
                lambda tested=tested: tested(lambda lm: translation.run(lm, base.special)),
                run=key, task=translation.digest, dtype=base.recipe.precision,
            )  # fmt: skip
            found["translations"] = made.assign(**end)
        for kind, table in found.items():
            parts[kind].append(table)
    return {kind: pd.concat(tables, ignore_index=True) for kind, tables in parts.items()}


def final_losses(training: pd.DataFrame) -> pd.DataFrame:
    """The last line of every run's log."""
    return training.groupby(["arm", "seed"], sort=False).tail(1).reset_index(drop=True)


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m semantic_pivots.transfer", description="Train a second base on the arms that notebook 05 selected, and test it."
    )
    parser.add_argument("--base", default="packaged:smollm2-135m", help="model id of a Llama (default: %(default)s)")
    parser.add_argument("--profile", default="smollm2", help="profile whose tables are written (default: %(default)s)")
    parser.add_argument("--selected-by", default="laptop", help="profile whose table `selection` is used (default: %(default)s)")
    parser.add_argument("--arms", default="matched,bilingual,pivot_npmi", help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=2, help="number of seeds (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=250_000, help="tokens of the base's tokenizer a run (default: %(default)s)")
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--pairs", default="en-fr,fr-en,en-zh,zh-en,en-ja,ja-en,fr-ja,ja-fr", help="(default: %(default)s)")
    parser.add_argument("--heldout", type=int, default=200, help="held-out concepts (default: %(default)s)")
    parser.add_argument("--seen", type=int, default=100, help="other concepts (default: %(default)s)")
    parser.add_argument("--prompt-sets", type=int, default=1)
    parser.add_argument("--sentences", type=int, default=40)
    parser.add_argument("--seed", type=int, default=20251)
    parser.add_argument("--no-compile", action="store_true", help="do not compile the model (for short trials)")
    given = parser.parse_args(arguments)
    selection = Store(given.selected_by).read("selection")
    names = given.arms.split(",")
    if unknown := set(names) - set(selection.arm):
        parser.error(f"the profile {given.selected_by} selected no arm {min(unknown)!r}; there are {', '.join(selection.arm.unique())}")
    store = Store(given.profile, "transfer", vars(given))
    lexicon = task.read_lexicon(ROOT / "data" / "lexicon.parquet")
    assignment, forms = experiment.read_assignment(), matching.read_forms(lexicon)
    folder, _ = experiment.cut_corpus(experiment.read_severance(), assignment, forms)
    base = Base(given.base, Recipe(given.tokens, given.lr, given.optimizer, compile=not given.no_compile))
    chosen = selection[selection.arm.isin(names)]
    concepts = evaluation.draw_concepts(lexicon, assignment.concept_id, given.heldout, given.seen, given.seed)
    own = arms_.of_concepts(arms_.meetings(folder, forms, models.cache_directory() / "counts"), forms, concepts.index)
    ids = reconstruction.read_documents_table(folder).doc_id
    met = arms_.meeting_counts(*own, np.flatnonzero(ids.isin(chosen.doc_id)))
    if len(met := met[(met.n_both > 0) & (met.concept_id.map(concepts) == "heldout")]):
        parser.error(
            f"{met.concept_id.nunique()} held-out concepts meet their translation in a chosen document, the first is {met.concept_id.iloc[0]!r}: "
            "take the --seed of the selection and not more --heldout concepts than it had"
        )
    texts = dict(zip(ids := list(dict.fromkeys(chosen.doc_id)), documents_of(folder, ids)))
    read = {key: encode([texts[i] for i in part.doc_id], base.backend, base.special) for key, part in chosen.groupby(["arm", "draw"], sort=False)}
    arms = [{n: read.get((n, s), read[n, 0]) for n in names} for s in range(given.seeds)]
    for name, tokens in arms[0].items():
        print(f"{name}: {len(tokens)} documents, {len(tokens.tokens)} tokens of {given.base}", flush=True)
    parallel = pd.read_parquet(ROOT / "data" / "heldout" / "parallel.parquet")
    validation = validation_rows(base, held_out_documents(folder), parallel)
    pairs = task.parse_pairs(pairs=given.pairs.split(","))
    tests = evaluation.word_tests(lexicon, concepts, pairs, given.prompt_sets, given.seed, "instruction")
    sentences = evaluation.sentence_pairs(parallel, pairs, given.sentences, 100, given.seed)
    first = evaluation.TranslationTask(parallel, tuple(pairs), given.sentences, 60, 3, given.seed)
    base.reset()
    spoken = store.unit("translations", lambda: first.run(base.as_model("none/0", ""), base.special), base=base.lm.facts(), task=first.digest)
    ability, signature = evaluation.chrf_table(spoken, seed=given.seed)
    print(ability.round(2).to_string(index=False), signature, sep="\n", flush=True)
    able = replace(first, pairs=tuple((r.source_lang, r.target_lang) for r in ability.itertuples() if r.able))
    runs = run_arms(base, arms, validation, tests, sentences, store, models.cache_directory() / "transfer", able if able.pairs else None)
    counts = arms_.meeting_counts(*own)
    outcomes = comparison.outcome_table(runs["scores"], counts, runs["gains"], runs["translations"])
    facts, inputs = [base.lm.facts() | {"dtype": base.recipe.precision}], ["lexicon", "forms", "corpus", "known_corpus", "parallel"]
    tables = {"training": runs["training"], "transfer_outcomes": outcomes, "transfer_contrasts": comparison.contrasts(outcomes, seed=given.seed)}
    tables |= {
        "transfer": comparison.transfer_table(outcomes, final_losses(runs["training"]), seed=given.seed),
        "sentence_ability": ability.assign(signature=signature),
    }
    for name, table in tables.items():
        store.write(name, table, facts, inputs)
    print(f"tables: {store.folder}", flush=True)


if __name__ == "__main__":
    main()
