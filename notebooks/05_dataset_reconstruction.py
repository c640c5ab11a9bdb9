# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
#   stage:
#     reads: [lexicon, forms, corpus, known_corpus, parallel, formats, replication/transfer_outcomes, placebo/transfer_outcomes, placebo/selection_arms, variations/transfer_contrasts, long/transfer_contrasts, smollm2/transfer_contrasts]
#     writes: [selection_pivots, selection, selection_arms, training, transfer_outcomes, transfer, transfer_contrasts, sentence_ability, transfer_replication, transfer_placebo, transfer_spelling]
# ---

# %% [markdown]
# # 05 · Does a training set that is rich in pivots help?
#
# **The claim tested here:** a model trained further on documents that are rich in *semantic pivots*, words that co-occur with many
# others across languages, becomes better across languages (He et al., [arXiv 2505.16385](https://arxiv.org/abs/2505.16385), who continue
# from OLMo-1B's step 605k).
#
# This is the paper's practical claim. It is a claim about data selection, so it is tested as one. There are several ways to choose documents
# (*arms*), the same number of tokens from each, and several seeds. The tested words are words that no chosen document shows next to their
# translation. And each arm that is claimed to help is compared with a sample drawn at random **with the same languages, sources and lengths**.
# Without that last comparison, a choice by pivots could win because its documents are, say, in the right language.
#
# | arm | in figures and tables | documents |
# |---|---|---|
# | `pivot_npmi` | our pivots | rich in pivots by our definition |
# | `matched` | matched to our pivots | drawn at random with the languages, sources and lengths of `pivot_npmi` |
# | `pivot_paper` | the paper's pivots | rich in pivots following the paper, by our reading of it: words, not tokens, and a share of distinct words |
# | `matched_paper` | matched to the paper's pivots | drawn at random with the languages, sources and lengths of `pivot_paper` |
# | `bilingual` | mixed documents | drawn at random among documents with two languages or more |
# | `random` | random | drawn at random from all documents that can be chosen |
# | `none` | no further training | |
# | `direct` | translations meet | where most translations meet (two words *meet* where one document holds both); chosen here for comparison, trained with the variations |
# | `anti_pivot` | few pivots | poorest in pivots; likewise |

# %% [markdown]
# ## What was fixed before any pivot arm was trained
#
# **Base.** The known-corpus model after 10 of its 16 million tokens. This is the last checkpoint before its learning rate begins to fall (at 11.2
# million), so training has neither just begun nor settled, and the model translates above chance in every direction. It was trained on the corpus of
# the experiment in notebook 06, in which random assignment decided which words of some concepts may meet. **The arms choose from that same cut
# corpus**, so no arm shows the base what was withheld from it. The concepts of that experiment are not tested here, neither as held out nor as words
# that may meet.
#
# **Words.** *Held out:* concepts of the lexicon's split `heldout`. In the documents that can be chosen, no word of them, in any inflected form,
# occurs in the same document as its translation: documents where one does are removed for all arms alike. The base may have read such documents
# before. So the held-out items whose two words meet in no document of the corpus at all are reported separately, as *never met*. *Words that may
# meet:* other test concepts. Neither set takes part in the choice: their words are not nodes of the graph, and no document is better or worse for
# holding them. (One exception: a Japanese word that the segmenter splits in two leaves its parts in the graph.)
#
# **Outcome.** The log-ratio: by how many nats per token the translation is more probable after its word than after nine other words, mean over
# twelve directions. It is the paper's Score on a logarithmic scale. It was chosen because between the base's own checkpoints it rises by more
# standard errors than Score or MRR do. These two and top-1 are also reported.
#
# **Hypotheses,** on held-out words, two-sided, Holm over the four:
#
# 1. `pivot_npmi` − `matched`: pivots help at equal languages, sources and lengths. **This is the claim;**
# 2. `pivot_paper` − `matched_paper`: the same for the paper's pivots;
# 3. and 4. `pivot_npmi` and `pivot_paper` − `bilingual`: pivots help more than documents that simply hold two languages. These arms also differ in
#    their languages and sources, so such a difference alone does not say what helps.
#
# Other comparisons are shown but are not hypotheses: each arm with `random`, which asks whether a choice helps at all, sources and languages
# included, and each arm with the base as it was (*no further training*).
#
# **Test.** A mixed model with crossed random effects of concept and of run, and in addition a paired bootstrap over concepts. Each run has its own
# order of documents. Arms that are drawn at random (`matched`, `matched_paper`, `bilingual`, `random`) are drawn anew for each run, so that the
# chance of a draw counts too. The variance of runs is estimated from all arms at once.
#
# A pilot with the arms `random` and `bilingual` alone (one seed, 120 held-out concepts) set the learning rate. The number of tokens is what two cores
# can train all arms on in about an hour.
#
# The claim's contrast was then repeated with eight new seeds, as a single hypothesis fixed beforehand; all changes to the plan are listed at the end.

# %% [markdown]
# ## Parameters
#
# Every arm chooses and reads `budget_tokens`. The `arms` are trained; the `chosen_arms` are only chosen and described. `larger_profiles` are other
# runs; their results, where committed, are shown near the end. `replication_profile` is the run that repeats the claim's contrast; its seeds begin at
# `first_seed`. `placebo_profile` is the control for the choice. For short trials, `corpus_share` takes a part of the documents, `validation_rows`
# bounds the text of each language on which losses are computed, and `compiled: false` skips the compilation of the training step.

# %% tags=["parameters"]
profile = "laptop"
base_model = "known-corpus@tokens-10M"
arms = ["random", "matched", "matched_paper", "bilingual", "pivot_paper", "pivot_npmi"]
chosen_arms = ["direct", "anti_pivot"]
n_seeds = 3
first_seed = 0
budget_tokens = 300000
learning_rate = 0.002
n_pivots = 4000
min_words = 12
n_heldout_concepts = 300
n_seen_concepts = 150
transfer_prompt_sets = 1
transfer_directions = ["en-fr", "en-zh", "en-ja", "fr-en", "fr-zh", "fr-ja", "zh-en", "zh-fr", "zh-ja", "ja-en", "ja-fr", "ja-zh"]
n_parallel_sentences = 60
larger_profiles = ["variations", "long", "smollm2"]
replication_profile = "replication"
placebo_profile = "placebo"
corpus_share = 1.0
validation_rows = 16
compiled = True
seed = 20251
n_resamples = 2000

# %%
import functools

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from semantic_pivots import arms as selecting
from semantic_pivots import artifacts, comparison, documents, evaluation, experiment, followup, matching, mixture, models, reconstruction, task, transfer, words

store = artifacts.Store(profile, "05_dataset_reconstruction", artifacts.literals(globals()))
lexicon, cache = task.read_lexicon(artifacts.ROOT / "data" / "lexicon.parquet"), models.cache_directory()

# %%
from semantic_pivots import figures, figures_transfer, report_selection, report_transfer

figures.use_style()
pd.set_option("display.max_colwidth", 130)

# %% [markdown]
# ## From the corpus to its words
#
# The corpus is cut as for the base, and its checksum is compared with the one in the base's manifest. Then every word of every document is
# found: runs of letters in English and French, words of a dictionary in Chinese and Japanese. Each belongs to the language of the segment in which
# it occurs.

# %%
assignment, forms = experiment.read_assignment(), matching.read_forms(lexicon)
folder, _ = experiment.cut_corpus(experiment.read_severance(), assignment, forms)
experiment.require_same_corpus(folder, experiment.read_manifest())
folder = documents.thinned(folder, corpus_share, cache / "thinned")
index = words.index_corpus(folder, 5, cache / "words")
table = reconstruction.read_documents_table(folder)
display(Markdown(f"{len(table)} documents, {len(index.words)} words that stand in at least five."))

# %%
recipe = transfer.Recipe(budget_tokens, learning_rate, validation_rows=validation_rows, compile=compiled)
base = transfer.Base(base_model, recipe)
tokens = mixture.load_tokens(base.backend, folder, cache / "tokens")
table["n_tokens"], by_language = tokens.lengths(), reconstruction.token_counts(tokens)
concepts = evaluation.draw_concepts(lexicon, assignment.concept_id, n_heldout_concepts, n_seen_concepts, seed)

# %% [markdown]
# ## The graph and its pivots
#
# Two words are linked if they co-occur in at least five documents, counted exactly.
#
# - *Following the paper,* the words with the most links are the pivots.
# - *Ours* count links between two languages only, where the two words are associated (NPMI of at least 0.2), weighted by NPMI. These are excluded by
#   rule: stop words (in more than 5 % of their language's documents), boilerplate (more than 60 % of a word's documents from one source), words
#   with a digit, words in fewer than 20 documents, and in spaced scripts words of fewer than three letters. Equal strings of two languages (*linux*,
#   *linux*) are not linked. A pivot is linked with at least two other languages, and every language has the same number of pivots.

# %%
tested = matching.read_forms(lexicon.loc[concepts.index])
blind = reconstruction.blind_words(index, tested)
settings = reconstruction.GraphSettings(n_pivots=n_pivots)
may = reconstruction.eligible(index, table.source.to_numpy(), settings)
graph = reconstruction.centrality(index, settings, blind, may)

# %% [markdown]
# The pool, the documents that can be chosen, is set before the scores, since a document is scored against others in the pool. A document is in the
# pool if it is not kept for validation, is long enough for a share to be meaningful, is no near-duplicate of an earlier one, and shows no held-out
# word next to its translation.

# %%
incidence = selecting.meetings(folder, forms, cache / "counts")
held = selecting.of_concepts(incidence, forms, concepts.index[concepts == "heldout"])
others = selecting.of_concepts(incidence, forms, [c for c in forms.concept_ids if c not in concepts.index])
n_words = reconstruction.pivot_share(index, blind, blind)[1]
conditions = [("not kept for validation", ~tokens.held_out), (f"at least {min_words} words", n_words >= min_words)]
conditions += [("no near-duplicate", reconstruction.near_duplicates(index.incidence) < 0)]
conditions += [("no held-out pair", selecting.meeting_documents(*held) == 0)]
pool, funnel = selecting.pool_funnel(conditions, table.n_tokens.to_numpy())
funnel

# %%
known = reconstruction.blind_words(index, forms)
scores, pivots = selecting.document_scores(index, graph, blind, pool, settings, selecting.meeting_documents(*others), known)
pivot_table = graph.assign(paper=pivots["paper"], npmi=pivots["npmi"], pos=reconstruction.word_pos(graph, forms, lexicon))
store.write("selection_pivots", pivot_table[pivot_table.paper | pivot_table.npmi], None, ["lexicon", "forms", "corpus"])
display(Markdown(report_selection.graph_sentences(graph, pivots, int(blind.sum()))))
report_selection.pivot_table(graph, pivots)

# %% [markdown]
# The pivots by part of speech, as far as the lexicon knows the words; and what some of our pivots are linked with. The corpus is rich in software
# manuals and interface texts, and so are its pivots: they are the words that *this* corpus has in several languages in one document.

# %%
display(report_selection.pos_table(graph, pivots, pivot_table.pos.to_numpy()))
strongest = graph[pivots["npmi"] & (graph.lang == "en")].sort_values("strength", ascending=False)
shown = strongest.index[np.linspace(0, min(len(strongest), 400) - 1, 6).astype(int)]
report_selection.link_table({index.words[i]: reconstruction.linked_words(index, i, settings, may & ~blind) for i in shown})

# %% [markdown]
# ## From pivots to documents
#
# A document's share of pivots is computed over its *distinct* words, so that repeating a word does not make a document richer. Following the paper,
# the documents with the largest share are chosen. A short document has a large share more often by chance. So our pivots' share is compared with that
# of documents of the same length, in standard deviations. Each arm takes documents, best first, until the budget is full.

# %%
names = list(dict.fromkeys([*arms, *chosen_arms]))
placebo = functools.partial(selecting.placebo_scores, index, graph, pivots["npmi"], may, blind, pool)
draws = selecting.draw_arms(names, table, scores, pool, budget_tokens, seed, first_seed + n_seeds, placebo)
chosen = draws[0]
parts = [
    table.iloc[rows].assign(arm=name, draw=i, rank=np.arange(1, len(rows) + 1), pivot_share=scores.share_npmi.to_numpy()[rows])
    for i, drawn in enumerate(draws)
    for name, rows in drawn.items()
    if i == 0 or not np.array_equal(rows, chosen[name])
]
store.write("selection", pd.concat(parts)[["arm", "draw", "doc_id", "n_tokens", "pivot_share", "rank"]], None, ["lexicon", "forms", "corpus", "known_corpus"])
composition = selecting.composition(chosen, table, by_language, scores.assign(**placebo(seed)) if "pivot_placebo" in chosen else scores)
store.write("selection_arms", composition, None, ["lexicon", "forms", "corpus", "known_corpus"])
fig, axes = figures_transfer.composition(composition)
figures.save(fig, "05_arms", composition, profile)

# %%
shared = selecting.overlap(chosen, table.n_tokens.to_numpy())
fig, ax = figures_transfer.overlap(shared)
figures.save(fig, "05_overlap", shared.reset_index(names="arm"), profile)
display(Markdown(report_selection.matching_sentences(composition, shared, selecting.match_distances(chosen, table))))
report_selection.composition_table(composition)

# %% [markdown]
# Figures and tables of the composition show the first run's draw. The arms that are drawn at random differ from run to run.
#
# ### Are held-out words kept apart?
#
# The meetings are counted again, exactly, over the documents that were chosen, in all forms and all pairs of languages. The first column must be
# zero, and it is zero in all draws. The second column says how often these words occur at all, next to any word: the documents that hold one, summed
# over words.

# %%
own = selecting.of_concepts(incidence, forms, concepts.index)
exposure = []
for drawn in draws:
    met = {name: selecting.meeting_counts(*own, rows) for name, rows in drawn.items()}
    exposure.append(report_selection.exposure_table(met, concepts, {name: int(held[0][rows].sum()) for name, rows in drawn.items()}))
assert all((t["meetings of held-out words"] == 0).all() for t in exposure)
exposure[0]

# %% [markdown]
# ## Training
#
# Every run starts from the same weights and reads its arm's documents once, in an order set by the seed. (The last one or two per cent are not
# reached, because the marks between documents count as tokens read.) It ends with a learning rate of zero. Documents are packed into rows in which
# none sees another; longer ones are split into pieces. Translations appear in a different order every time, as in the base's own training. First, can
# the base translate sentences at all?

# %%
parallel = pd.read_parquet(artifacts.ROOT / "data" / "heldout" / "parallel.parquet")
pairs = task.parse_pairs(pairs=transfer_directions)
speech = evaluation.TranslationTask(parallel, (("en", "fr"), ("fr", "en"), ("en", "ja"), ("ja", "en")), n_parallel_sentences, 50, 3, seed)
base.reset()
spoken = store.unit("translations", lambda: speech.run(base.as_model("none/0", ""), base.special), model=base.lm.facts(), task=speech.digest)
ability, signature = evaluation.chrf_table(spoken, n_resamples=n_resamples, seed=seed)
store.write("sentence_ability", ability.assign(signature=signature), [base.lm.facts()], ["parallel", "known_corpus"])
display(Markdown(report_transfer.ability_sentences(ability, signature)))

# %%
prompt_format = (store if store.exists("formats") else artifacts.Store("laptop")).read("formats").format.iloc[0]
tests = evaluation.word_tests(lexicon, concepts, pairs, transfer_prompt_sets, seed, prompt_format)
sentences = evaluation.sentence_pairs(parallel, pairs, n_parallel_sentences, 100, seed)
able = [tuple(p) for p in ability.loc[ability.able, ["source_lang", "target_lang"]].to_numpy()]
speech = evaluation.TranslationTask(parallel, tuple(able), n_parallel_sentences, 50, 3, seed) if able else None

# %%
validation = transfer.validation_rows(base, tokens, parallel)
read = [{name: documents.subset(tokens, drawn[name]) for name in arms if name != "none" and i >= first_seed} for i, drawn in enumerate(draws)]
runs = transfer.run_arms(base, read, validation, tests, sentences, store, cache / "transfer", speech)
facts = [base.lm.facts() | {"dtype": base.recipe.precision}]
training = store.write("training", runs["training"], facts, ["corpus", "known_corpus", "parallel"])
fig, axes = figures_transfer.learning(training, {"val": "documents", "parallel": "parallel sentences"})
figures.save(fig, "05_learning", training.dropna(subset=["val_en"]), profile, base_model)

# %%
display(Markdown(report_transfer.training_sentences(training, base.recipe)))

# %% [markdown]
# Bands reach from the lowest to the highest of the seeds. Losses are computed on at most `validation_rows` rows of 256 tokens per language. The loss
# on a text says how well a model knows the language and the kind of text, not whether it translates.
#
# ## The verdict
#
# Differences on words. Thick lines are intervals over concepts, thin ones over concepts and runs. The contrasts that were fixed beforehand are above
# the gray line.

# %%
counts = selecting.meeting_counts(*own)
outcomes = comparison.outcome_table(runs["scores"], counts, runs["gains"], runs["translations"])
store.write("transfer_outcomes", outcomes, facts, ["lexicon", "forms", "corpus", "known_corpus", "parallel", "formats"])
contrasts = comparison.contrasts(outcomes, n_resamples, seed)
store.write("transfer_contrasts", contrasts, facts, ["lexicon", "forms", "corpus", "known_corpus", "parallel", "formats"])
fig, axes = figures_transfer.forest(contrasts)
figures.save(fig, "05_forest", contrasts[(contrasts.outcome == "log_ratio")], profile, base_model)

# %%
display(Markdown(report_transfer.verdict(contrasts)), Markdown(report_transfer.power_sentences(contrasts)))

# %% [markdown]
# All outcomes on held-out words, with the mixed model's intervals. p and Holm are for the log-ratio.

# %%
report_transfer.contrast_table(contrasts, "heldout")

# %% [markdown]
# **Run again.** The claim's contrast with new seeds (profile `replication`), fixed beforehand (see the record of changes at the end). Small symbols
# are single seeds.

# %%
second = report_transfer.run_table(replication_profile)
again, singles = followup.replicated(outcomes, contrasts, second, n_resamples, seed)
inputs = ["lexicon", "forms", "corpus", "known_corpus", "parallel", "formats"]
store.write("transfer_replication", again, facts, inputs)
if len(main := followup.claim_rows(again)):
    fig, ax = figures_transfer.replication(main, singles)
    figures.save(fig, "05_replication", main, profile, base_model)
said = report_transfer.replication_sentences(again) or "There is none here: `python -m semantic_pivots.run --profile replication --only 05` makes it."
display(Markdown(said), Markdown(report_transfer.level_sentence(outcomes, again)), Markdown(report_transfer.replication_details(again)))

# %% [markdown]
# **Is it the pivots?** `pivot_npmi` is one set of documents. Others that are rich in any other words, chosen in the same way, might differ from their
# match just so. The control has documents rich in words that are no pivots: of the same languages, in about as many documents, drawn anew for each seed
# (profile `placebo`; fixed beforehand, see the record of changes).

# %%
compared, singles = followup.against_placebo(second, report_transfer.run_table(placebo_profile), n_resamples, seed)
store.write("transfer_placebo", compared, facts, inputs)
if len(compared):
    main = compared[(compared.split == comparison.PRIMARY_SPLIT) & (compared.outcome == comparison.PRIMARY_OUTCOME)]
    fig, ax = figures_transfer.replication(main, singles, followup.PLACEBO[-1], "documents rich in these words − their match")
    figures.save(fig, "05_placebo", main, profile, base_model)
described = report_transfer.placebo_arms_sentence(report_transfer.run_table(placebo_profile, "selection_arms"))
said = report_transfer.placebo_sentences(compared) or "There is none here: `python -m semantic_pivots.run --profile placebo --only 05` makes it."
display(Markdown(f"{said}\n\n{described}"))

# %% [markdown]
# **Where is the difference?** Here is the contrast direction by direction, and then by how the two words of an item are written. *Alike* means that
# at least half of their characters are the same in order (accents and case aside). *The same string* means that a copy is a translation; for these
# words, keeping documents that show both away from the model withholds nothing. The new seeds are used where there are any. Bars are 95 % intervals
# over concepts and runs, with the variance of runs of all arms of a run. Both analyses were made after the result was known; they describe the result
# and test nothing.

# %%
latest = outcomes if second is None else second
each = followup.by_direction(latest)
if len(each):
    fig, ax = figures_transfer.by_direction(each)
    figures.save(fig, "05_directions", each, profile, base_model)
display(Markdown(report_transfer.direction_sentence(each)))

# %%
spelled = followup.by_spelling({"first run": outcomes} | ({"replication": second} if second is not None else {}), lexicon)
store.write("transfer_spelling", spelled, facts, inputs)
if len(spelled):
    fig, ax = figures_transfer.spelling(spelled)
    figures.save(fig, "05_spelling", spelled, profile, base_model)
display(Markdown(report_transfer.spelling_sentence(spelled)))

# %% [markdown]
# **Sentences.** How much more probable a held-out sentence is after its own translation than after another sentence of similar length, and chrF++
# where the base can translate sentences. The table has all differences between arms, not corrected for their number.

# %%
report_transfer.sentence_table(contrasts)

# %% [markdown]
# ## What it costs
#
# Further training on any text changes what the model knows of each language. There is one symbol per seed, and a bar for their mean. Left of zero,
# the model is better at text of that language than the base was.

# %%
final = comparison.transfer_table(outcomes, transfer.final_losses(training), n_resamples, seed)
store.write("transfer", final, facts, ["lexicon", "forms", "corpus", "known_corpus", "parallel", "formats"])
losses = final[final.metric == "loss"]
fig, axes = figures_transfer.cost(losses)
figures.save(fig, "05_cost", losses, profile, base_model)

# %%
display(Markdown(report_transfer.cost_sentences(final)))

# %% [markdown]
# ## If it does not help, why not?
#
# Each variation looks into one possible reason. They are trained in the profile `variations`, each with its own match, with the seeds, budget and
# words from above; `direct` and `anti_pivot` are trained with them. Fixed before any of them was trained: three comparisons, variation − match, on
# held-out words, log-ratio, two-sided, Holm over the three.
#
# | variation | the reason it looks into |
# |---|---|
# | `pivot_mixed`, `matched_mixed` | pivots can only link languages where these occur in one document |
# | `pivot_content`, `matched_content` | pivots of the wrong type: only words of the lexicon count |
# | `pivot_english`, `matched_english` | English is the pivot language: only English pivots count |
#
# Below are the runs whose results are committed, then the names of those that were not run.

# %%
larger = report_transfer.larger_runs(larger_profiles)
for name, other in larger.items():
    fig, axes = figures_transfer.forest(report_transfer.with_variations(other))
    figures.save(fig, f"05_forest_{name}", other[other.outcome == "log_ratio"], profile, name)
    display(Markdown(report_transfer.larger_sentences(name, other, again)))
display(Markdown(report_transfer.missing_sentence([n for n in larger_profiles if n not in larger])))

# %% [markdown]
# **Planned for the same question, but without results here:**
#
# | plan | the reason it would look into | state |
# |---|---|---|
# | profile `long`: the main arms at more than twice the budget | too few documents | not run in the committed results |
# | `pivot_sharp`, `pivot_soft` | sharpness: a quarter of the pivots; documents drawn with a chance that rises with the share | chosen in the profile `variations`, but no model was trained on them |
# | a second base, `SmolLM2-135M`: three arms, two seeds, 250,000 tokens per run | an English-centered base that has read far more (two trillion tokens by its model card) | not run in the committed results |
#
# For `SmolLM2-135M`, the comparisons were fixed before any training: of the hypotheses above, those that its arms allow, our pivots against their
# match and against mixed documents.
#
# ## A set of your own
#
# `make select CORPUS=… OUT=…` does the same on any corpus of JSON lines or Parquet files. It writes ranked documents, a training set that
# `datasets` loads and one in Dolma's layout, and a data card with what was chosen, why, from which sources and under which licenses.

# %% [markdown]
# ## What to conclude

# %%
display(Markdown(report_transfer.conclusion(contrasts, larger, again, spelled, final, compared)))

# %% [markdown]
# **What this can and cannot say.**
#
# - *The match.* The comparison with the matched arm removes differences in languages, sources, lengths and tokens, to within the percentages above.
#   It does not remove what goes with pivots inside a source (topic, style, how often a word occurs). And the matched documents themselves have more
#   pivots than random ones.
# - *The choice.* **The choice itself is not repeated:** `pivot_npmi` is one set of documents in all runs, which differ in its order and in the draws
#   of `matched`. So the intervals say what other runs and other words would have shown, not what another set chosen by pivots would. The control for
#   the choice, words that are no pivots, is drawn anew for each seed, so its interval does hold the chance of the choice.
# - *The corpus.* There is one corpus, of manuals, interface texts, dictionaries and example sentences. Its central words are those of software, while
#   the tested words are everyday ones. A web corpus has other pivots.
# - *The scale.* The base is small, and a few hundred thousand tokens are a few per cent of what it had read. The paper's run is ten thousand times
#   larger.
# - *The learning rate.* Its last fall is common to all arms: it cancels between them, but not against the base.
#
# ## Record of changes
#
# **What stayed.** Hypotheses, outcome and words are as they were fixed.
#
# **Changed before any outcome was looked at.** A first run at 350,000 tokens had trained a few arms of its first seed when a review led to changes.
# That run was stopped with no outcome looked at, and four things were changed: drawn arms are drawn anew for each run, the variance of runs is
# pooled, `random` is trained too, and the budget was cut so that it fits.
#
# **Changed after the first result was seen.** The words "suggested, not shown", for an interval above zero that does not survive Holm, were added to
# the conclusion. The test was not changed. The first run was later trained once more, in float32 where it had been bfloat16, so that all tables come
# from one kind of arithmetic.
#
# **The replication, fixed after that result.** The first run left the claim suggested, and showed why: over words its interval is narrow; over runs,
# whose variance is estimated from all arms, it is wide. So the claim's contrast was run again. The following was fixed before any of its runs was
# started:
#
# - one hypothesis, `pivot_npmi` − `matched`, two-sided at .05;
# - eight new seeds (3 to 10), with new orders of documents and new draws of `matched`;
# - everything else as above: the same words, outcome, budget and test;
# - the verdict is that of the new seeds alone; the estimate from all seeds is given in addition.
#
# For lack of time the number of seeds was cut to six before a run was begun, to five after three of them, and set to eight again; no outcome was
# looked at before all eight were there. With two arms the variance of runs is that of these two.
#
# **The control for the choice, fixed before its runs and after the replication's result.** The replicated difference is that of one set of documents.
# Documents that are rich in any other words, chosen in the same way, might differ from their match just so. So the same is done with words that are
# no pivots (`pivot_placebo`, profile `placebo`):
#
# - for each pivot, a word of the same language that stands in about as many documents, meets the same rules and is no pivot, drawn anew for each seed;
#   documents with the largest share of these words among documents of their length, and a match with the same languages, sources and lengths;
# - the seeds of the replication (3 to 10), the same words, outcome, budget and test;
# - one hypothesis, two-sided at .05, on held-out words, log-ratio: the replication's difference less that of the placebo, seed by seed. The placebo's
#   own difference is given in addition.
#
# After its result was seen, the words of its verdict were made weaker ("not any choice by words does it"), and what its documents hold was
# described. The test was not changed.
#
# **Added after the replication's result was seen:** its test with the first run's variance of runs, the contrast by direction and by spelling, both
# arms against the base, and losses in the conclusion.
#
# **Next:** [06 · causal tests](06_causal_tests.ipynb): what happens when two words may never meet. Tables written here: `selection_pivots`,
# `selection`, `selection_arms`, `training`, `transfer_outcomes`, `transfer`, `transfer_contrasts`, `transfer_replication`, `transfer_placebo`,
# `transfer_spelling`, `sentence_ability`.
