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
#     reads: [lexicon, forms, corpus, corpus_dictionary, known_corpus, scores, traces]
#     writes: [behaviors, behavior_shares, pivot_languages, agreement, pivot_mass_by_direction, cooccurrence, correlation, attribution, delta_auc, regression, replication, specifications, known_attribution, known_delta_auc, known_correlation]
# ---

# %% [markdown]
# # 03 · Straight, or through a pivot?
#
# **The claim tested here:** a model translates some words straight from input to output and others through an
# intermediate token. How often the two words occur *together* in the training documents decides which (He et al.,
# [arXiv 2505.16385](https://arxiv.org/abs/2505.16385), §4).
#
# The notebook labels every item of notebook 02 by three rules, counts words and word pairs in a corpus, and tests in
# three ways whether the counts explain the labels. At each step it shows the method of the paper's released code next
# to ours, so that a reader sees what is *replication* and what is *correction*.

# %% [markdown]
# ## Parameters
#
# `counts_table` names a file or folder with counts of another corpus (`python -m semantic_pivots.count` makes them, for
# example from Dolma). They then replace the counts of `data/corpus`, which move to the checks. `corpus_is_own` says
# that the main model was trained on the corpus that was counted; it changes only the wording of the conclusion.
# `corpus_share` uses only a part of the documents (for a quick run).

# %% tags=["parameters"]
profile = "laptop"
model = "packaged:gemma-3-270m"
comparison_model = "packaged:smollm2-135m"
known_model = "known-corpus"
counts_table = ""
corpus_is_own = False
corpus_share = 1.0
seed = 20251
n_resamples = 2000
n_permutations = 1000

# %%
import pandas as pd
from IPython.display import Markdown, display

from semantic_pivots import artifacts, attribution, behavior, cooccurrence, corpus, experiment, matching, models, replication, specification, task
from semantic_pivots.documents import thinned

store = artifacts.Store(profile, "03_behavior_attribution", artifacts.literals(globals()))
lexicon = task.read_lexicon(artifacts.ROOT / "data" / "lexicon.parquet")
scores, traces = store.read("scores"), store.read("traces")

# %%
from semantic_pivots import figures, figures_behavior, report_behavior

figures.use_style()
pd.set_option("display.max_colwidth", 90)

# %% [markdown]
# ## Three rules
#
# | rule | looks at | says co-occurrence when the token is | otherwise |
# |---|---|---|---|
# | `released`: the authors' scripts | the layer with the highest top-1 probability, the last one included | the final prediction or a source token | pivot |
# | `paper`: the paper's text | the same among the layers before the last | the same | pivot |
# | `robust`: ours | the token with the largest $p\log(p/p_{bg})$ in layers with at least 1 nat, the last two left out | a token of the source word or of an accepted translation | pivot; wrong answers get a separate label |
#
# Here $p_{bg}$ is a token's mean probability at that layer over all items. The *information* of a layer is how far, in
# nats, its output for an item departs from that mean. The *ridge* lens first maps a layer linearly to the last one
# (notebook 02).
#
# All three rules exclude two kinds of items. If the source and target word can start with the same token, no layer can
# distinguish them. If the tokenizer begins the source or the target word with only a part of a character, that token is
# unreadable and names no word. The robust rule also excludes items without an informative layer. The released and the
# paper's rule never ask whether the answer is right. Right means here that the model's top token starts an accepted
# translation.
#
# An inflected form or a piece of the translation is not a pivot: *livres* between *book* and *livre*, or *tradu* before
# *traduire*. Our rule knows the inflected forms of all accepted translations (`data/forms.parquet`), and pieces of
# them. A piece must have four letters; in Chinese and Japanese, one character at the beginning of the word or two
# elsewhere. The other two rules take tokens as their sources do.
#
# All three rules still count misspellings, and synonyms that no dictionary lists, as pivots. This makes the shares of
# pivots too high. On the other hand, a rule looks at one token of one layer. An item whose strongest token is the
# source word counts as co-occurrence even if a later layer says an English word. This makes the shares too low. So the
# shares are no bounds; the *pivot mass* below does not have this second fault.

# %%
forms = matching.read_forms(lexicon.loc[scores.concept_id.unique()])
traces = behavior.mark_forms(traces, forms)
behaviors = store.write("behaviors", behavior.label_models(traces), None, ["traces", "forms"])
main_traces = traces[(traces.lens == "raw") & (traces.prompt_set == 0)]
labels = behaviors[(behaviors.lens == "raw") & (behaviors.prompt_set == 0)]
shares = store.write("behavior_shares", behavior.shares(labels, n_resamples, seed), None, ["traces"])
own = shares[shares.model == model]
fig, axes = figures_behavior.label_bars(own)
figures.save(fig, "03_labels", own, profile, model)

# %%
display(Markdown(report_behavior.share_sentences(own)))

# %% [markdown]
# The share of pivot by lens, and in the directions without English alone. The robust rule looks at one token in one
# layer. The last column asks instead whether *any* of the layers that it looks at has a token of neither word on top.
# There noise counts as a pivot, while in the rule a strong source word hides one; so neither share settles how many
# translations pass through a third token.

# %%
report_behavior.lens_table(behaviors[(behaviors.model == model) & (behaviors.prompt_set == 0)])

# %% [markdown]
# The released rule and the paper's look at the layer where the model is most confident, and there one token wins
# whatever the word (notebook 02). So their shares, and every AUC of theirs below, tell where such a token wins.
#
# Whose words are the pivots? A pivot is either the concept's word in a language that is neither source nor target, or a
# token that begins no form of any of its words. A token of the second kind can be an associate of the concept. But it
# can also be a derivation (*softness* for *soft*), a synonym that no dictionary lists, the word in a language outside
# the four (*decisión*), a short piece, or noise. So this part of the bar is not evidence of a pivot in the paper's
# sense. English can be such a language only where it is neither source nor target, so the bar of the directions without
# English is the one to read. Bars of directions with fewer than ten such items say little.

# %%
pivots = behavior.pivot_languages(labels[labels.rule == "robust"], n_resamples, seed)
store.write("pivot_languages", pivots, None, ["behaviors"])
own = pivots[pivots.model == model]
if len(own):
    fig, ax = figures_behavior.pivot_languages(own)
    figures.save(fig, "03_pivot_languages", own, profile, model)
display(Markdown(report_behavior.language_sentences(own)))

# %% [markdown]
# Do the rules agree on the items? Cohen's kappa is 0 where they agree as often as by chance, and 1 where they always
# agree; intervals resample concepts. It uses only items to which both rules give one of the two behaviors, so wrong
# answers, which only our rule separates, do not count as disagreement. Kappa also falls when one rule simply says pivot
# more often. Therefore the table also gives the largest value that the two shares allow, and the share of the second
# rule's pivots that the first rule calls pivot too.

# %%
agreement = behavior.agreement(labels, n_resamples, seed)
store.write("agreement", agreement, None, ["traces"])
report_behavior.agreement_table(agreement)

# %% [markdown]
# ### Examples
#
# These items are drawn at random, at most one per direction. The first two tables follow the robust rule and show the
# tokens of the informative layers in order. The token in ‹ › decided. Tokens after the bar come from later layers, of
# which the rule leaves out the last two. The first table has items called co-occurrence, the second items called pivot.
# The third has items that the *released* rule calls pivot, with the token that decided.

# %%
robust = labels[(labels.model == model) & (labels.rule == "robust")]
of_model = main_traces[main_traces.model == model]
for label in behavior.BEHAVIORS:
    display(behavior.examples(robust, of_model, scores[scores.model == model], label, 6, seed))
naive = labels[(labels.model == model) & (labels.rule == "released") & (labels.label == "pivot")]
words = scores.drop_duplicates(["source_lang", "target_lang", "concept_id"])[["source_lang", "target_lang", "concept_id", "source_word", "target_word"]]
naive = naive.sample(frac=1, random_state=seed).drop_duplicates(["source_lang", "target_lang"]).merge(words).head(6)
naive.assign(**{"after block": naive.layer + 1, "token that decided": naive.text})[
    ["source_lang", "target_lang", "source_word", "target_word", "after block", "token that decided"]
]

# %% [markdown]
# ### Without a threshold
#
# A label discards much information. The *pivot mass* does not. Of all the probability that the informative layers give
# to tokens beyond the background, it is the share that belongs neither to the source word nor to an accepted
# translation. Only right answers are used. Inflected forms and later pieces of the two words count as neither here, so
# this is an upper bound.

# %%
mass = behavior.mass_by_direction(behavior.pivot_mass(of_model), n_resamples, seed)
store.write("pivot_mass_by_direction", mass, None, ["traces"])
fig, ax = figures_behavior.mass(mass)
figures.save(fig, "03_pivot_mass", mass, profile, model)

# %%
display(Markdown(report_behavior.mass_sentence(mass)))

# %% [markdown]
# ## Counting words and pairs
#
# The corpus in `data/corpus` (licenses and sources in `data/README.md`) has documents in one language and mixed ones. A
# document counts for a word if it holds it as a whole word, whatever the letter case. It counts for a pair if it holds
# both words; we then say that the two words *meet* in it. So `n_source`, `n_target` and `n_both` are the documents with
# the source word, the target word, and both; `log_` is the logarithm of one more. The counts are exact, of the main
# word in its dictionary form. Plurals and conjugated forms are other words (but a Japanese verb in する counts by its
# stem). Chinese and Japanese are written without spaces, so there a word counts wherever its characters occur, also
# inside a longer word.
#
# **These are proxy counts**, unless `counts_table` names counts of the model's own documents. The training data of a
# model such as Gemma are not fully public. Our corpus can only say how often words meet in *some* text of these
# languages.

# %% [markdown]
# Millions of characters by source and language, for the ten largest sources (*mixed*: documents that hold several
# languages):

# %%
overview = corpus.overview().pivot_table(index="source", columns="lang", values="characters", aggfunc="sum", fill_value=0, sort=False).div(1e6)
overview = overview.loc[overview.sum(axis=1).sort_values(ascending=False).index]
pd.concat([overview.head(10), overview.iloc[10:].sum().rename(f"{len(overview) - 10} others").to_frame().T]).round(2)

# %%
vocabulary = matching.Vocabulary.from_lexicon(lexicon.loc[scores.concept_id.unique()])
cache, smaller = store.folder / "parts" / "counts", models.cache_directory() / "thinned"
files = corpus.shards(thinned(artifacts.ROOT / "data" / "corpus", corpus_share, smaller))
counted = cooccurrence.count_documents(files, vocabulary, cache=cache)
display(Markdown(report_behavior.incomplete(counted.failed)))
counts = ours = cooccurrence.cooccurrence_table(counted, "corpus").assign(complete=counted.complete)
if counts_table:
    counts = cooccurrence.counts_from(artifacts.ROOT / counts_table, ours, lexicon)
    display(Markdown(report_behavior.incomplete(() if counts.complete.all() else ((counts_table, "says that files are missing"),))))
meetings = report_behavior.meetings(counts)
fig, ax = figures_behavior.meetings(meetings)
figures.save(fig, "03_meetings", meetings, profile)

# %%
display(Markdown(report_behavior.meeting_sentence(meetings, counts)))

# %% [markdown]
# Three more counts of `data/corpus` serve as checks. *By language*: a word counts only in text of its own language, so
# that French "table" does not count in an English document. *Any translation*: all accepted translations count as the
# word. *With dictionary*: dictionary entries are added as documents. They come from the sources of the lexicon itself,
# so this count is circular and shows only how large the error can become.

# %%
by_language = cooccurrence.count_documents(files, vocabulary, by_language=True, cache=cache)
with_dictionary = [*files, artifacts.ROOT / "data" / "corpus_dictionary.parquet"]
with_dictionary = cooccurrence.count_documents(with_dictionary, vocabulary, cache=cache)
any_accepted = matching.Vocabulary.from_lexicon(lexicon.loc[scores.concept_id.unique()], accepted=True)
any_accepted = cooccurrence.count_documents(files, any_accepted, cache=cache)
variants = [("by language", by_language), ("any translation", any_accepted), ("with dictionary", with_dictionary)]
display(Markdown("".join(report_behavior.incomplete(c.failed) for _, c in variants)))
variants = [cooccurrence.cooccurrence_table(c, name).assign(complete=c.complete) for name, c in variants]
variants += [ours.assign(corpus="data/corpus")] if counts_table else []
all_counts = pd.concat([counts, *variants], ignore_index=True)
inputs = ["lexicon", "corpus", "corpus_dictionary"] + (["counts_table"] if counts_table else [])
store.write("cooccurrence", all_counts, None, inputs).groupby("corpus", sort=False)[["n_docs", "n_both"]].mean().round(1)

# %% [markdown]
# ## Are pairs that meet more often translated better?
#
# This question needs no label. The first panel correlates $P(y \mid w)$ with the pair's count. But frequent words are
# translated better *and* meet more often, whatever the model learned from. The grey bar shows what remains when the
# pair counts are shuffled among words of similar frequency. The second panel holds the counts of both words fixed. The
# grey bar is two-sided; the test asks whether the value lies above the shuffled ones. In the second panel the shuffled
# values need not be centered at zero.

# %%
lengths = scores.drop_duplicates(["model", "source_lang", "target_lang", "concept_id"])
covariates = lengths[["model", "source_lang", "target_lang", "concept_id", "n_target_tokens"]].assign(pos=lengths.concept_id.map(lexicon.pos))
correlation = replication.correlation(scores, counts, None, n_resamples, n_permutations, seed)
store.write("correlation", correlation, None, ["scores", "cooccurrence"])
own = correlation[correlation.model == model]
fig, axes = figures_behavior.correlations(own)
figures.save(fig, "03_correlation", own, profile, model)

# %%
display(Markdown(report_behavior.correlation_sentences(own)))

# %%
items = scores[scores.model == model].merge(counts, on=["source_lang", "target_lang", "concept_id"])
items = items[~items.identical][["source_lang", "target_lang", "concept_id", "n_both", "p_target"]]
fig, axes = figures_behavior.scatter(items)
figures.save(fig, "03_scatter", items, profile, model)

# %% [markdown]
# Each dot is a word. Orange marks are the medians of the words that never meet and of four equal parts of those that
# do.
#
# ## Do the counts distinguish the two behaviors?
#
# The AUC is the probability that an item called co-occurrence has a higher count than one called pivot. Chance is .5,
# and under the paper's account it should lie above. Ties count half. Intervals resample concepts. The p-value comes
# from shuffling pair counts among words of similar frequency; the frequency differences that remain inside such a group
# are first regressed out. Directions with fewer than ten items of a behavior are left out of figure and ranges.
#
# One problem remains that no test on counts can solve. The counts of the single words may be a poor measure of how
# common the words were in the model's own training. Then a part of frequency stays in the pair count and can look like
# an effect.
#
# Items of fr → zh and zh → fr share a pair count. So the test over all directions resamples and shuffles concepts, not
# items.

# %%
settings = {"n_resamples": n_resamples, "n_permutations": n_permutations, "seed": seed}
aucs = attribution.attribute(labels, counts, covariates, **settings)
delta = attribution.delta_auc(labels, counts, covariates, **settings | {"n_permutations": n_permutations // 5})
store.write("delta_auc", delta, None, ["behaviors", "cooccurrence"])
own = aucs[aucs.model == model]
fig, axes = figures_behavior.aucs(own)
figures.save(fig, "03_auc", own, profile, model)

# %%
display(Markdown(report_behavior.auc_sentences(own, delta[delta.model == model])))

# %% [markdown]
# **Beyond word frequency.** A logistic model predicts the label from the counts of the single words, the number of
# target tokens, the part of speech and the direction. How much does it gain from the pair's count? Models are judged on
# concepts on which they were not fitted.

# %%
report_behavior.delta_table(delta)

# %%
curves = attribution.roc_curves(labels[labels.model == model], counts, covariates, n_resamples, seed)
fig, axes = figures_behavior.roc(curves)
figures.save(fig, "03_roc", curves, profile, model)

# %% [markdown]
# The same question as a regression over all directions, with standard errors clustered by concept. The table gives odds
# ratios of co-occurrence behavior for one standard deviation more (`n_target_tokens`: tokens of the word; `pos_n` and
# `pos_v`: noun or verb instead of adjective). An odds ratio of 1 means no relation. The direction is in the model (its
# terms are not listed), so that a difference between directions is not mistaken for one between words. A term whose
# values separate the two behaviors completely has no finite odds ratio, and the table says so.

# %%
regression = attribution.regression(labels[labels.model == model], counts, covariates)
store.write("regression", regression, None, ["behaviors", "cooccurrence"])
report_behavior.regression_table(regression)

# %% [markdown]
# The next table repeats the AUC with the other ways of counting. (If `counts_table` is given, compare them with the
# rows *data/corpus*.) A large change between the main count and *by language* would point to string identity rather
# than co-occurrence. A large change to *any translation* would point to the choice of one translation. A higher value
# *with dictionary* would come from circularity.

# %%
some = labels[(labels.model == model) & labels.rule.isin(["released", "robust"])]
checks = attribution.attribute(some, pd.concat(variants), covariates, **settings)
aucs = pd.concat([aucs, checks], ignore_index=True)
store.write("attribution", aucs, None, ["behaviors", "cooccurrence"])
report_behavior.ablation_table(aucs[(aucs.model == model) & aucs.rule.isin(["released", "robust"])])

# %% [markdown]
# ## Replication and correction, side by side
#
# The released code differs from the paper's text and from usual practice in three ways. It takes log 0 as 0, so that
# pairs that never meet and pairs that meet once get the same value. It steps through the ROC curve item by item, so
# that the order of tied items in the file changes the result. In its newest version the predictor is the count of the
# *target word*, not of the pair. The figure shows its value, how far the order of ties alone could move it, and the
# corrected value.

# %%
released = replication.replication_table(labels[labels.model == model], counts, covariates, **settings)
store.write("replication", released, None, ["behaviors", "cooccurrence"])
fig, axes = figures_behavior.replication(released[released.predictor == "n_both"])
figures.save(fig, "03_replication", released, profile, model)

# %%
display(Markdown(report_behavior.replication_sentences(released)))

# %% [markdown]
# ## Does it depend on a choice?
#
# Every rule has settings: how many layers to leave out at the end, how much information a layer must hold, whether
# wrong answers count, which lens, which demonstrations. The specification curve asks the same question under all of
# them. A point is one way to label the items, with its 95 % interval. The grey dash next to it is the AUC of shuffled
# pair counts, that is, what the frequency of the words and the direction alone give. A result that holds only in one
# corner of the curve is a result about that corner.

# %%
curve = specification.curve(traces[traces.model == model], counts, n_resamples // 4, n_permutations // 5, seed)
store.write("specifications", curve, None, ["traces", "cooccurrence"])
fig, axes = figures_behavior.curve(curve)
figures.save(fig, "03_specification_curve", curve, profile, model)

# %%
display(Markdown(report_behavior.curve_sentences(curve)))

# %% [markdown]
# ## The same where the corpus is known
#
# All counts above are proxies, or come from documents that are not in this repository. The exception is the small model
# of notebook 01. Its training corpus is here, document by document (`data/corpus`, with some documents split as
# notebook 06 explains). So this section repeats the whole test with *true* counts, of the corpus from which the model
# read. It read all documents in several languages, where words of two languages meet, and in each epoch a part of the
# others. The test is informative only if the model translates. So the first line says how many of its answers are
# right, and how many of these are left for the robust rule. If none is left, the robust rule says nothing, and the
# other two rules label a model that mostly answers wrongly.

# %%
severance, manifest = experiment.read_severance(), experiment.read_manifest()
folder, _ = experiment.cut_corpus(severance, experiment.read_assignment(), matching.read_forms(lexicon))
experiment.require_same_corpus(folder, manifest)
own_files = corpus.shards(thinned(folder, corpus_share, smaller))
true_counts = cooccurrence.cooccurrence_table(cooccurrence.count_documents(own_files, vocabulary, cache=cache), "own corpus")
known_labels = labels[labels.model == known_model]
known_aucs = store.write("known_attribution", attribution.attribute(known_labels, true_counts, covariates, **settings), None, ["behaviors", "known_corpus"])
display(Markdown(report_behavior.right_sentence(known_labels[known_labels.rule == "robust"])))
fig, axes = figures_behavior.aucs(known_aucs, figures_behavior.OWN_NOTE)
figures.save(fig, "03_known_auc", known_aucs, profile, known_model)

# %%
known_delta = attribution.delta_auc(known_labels, true_counts, covariates, **settings | {"n_permutations": n_permutations // 5})
store.write("known_delta_auc", known_delta, None, ["behaviors", "known_corpus"])
of_known = scores[scores.model == known_model]
known_correlation = replication.correlation(of_known, true_counts, None, n_resamples, n_permutations, seed)
store.write("known_correlation", known_correlation, None, ["scores", "known_corpus"])
display(Markdown(report_behavior.correlation_sentences(known_correlation)))
display(Markdown(report_behavior.auc_sentences(known_aucs, known_delta)))

# %% [markdown]
# These are correlations. Notebook 06 asks what a meeting *causes*, by a randomized experiment.
#
# ## What to conclude
#
# The specification curve distinguishes settings *on right answers only* from settings *on all answers*. Counts that
# distinguish the labels only when wrong answers are included may tell which answers are right, rather than which way
# the model took.

# %%
final = (shares[shares.model == model], aucs[aucs.model == model], delta[delta.model == model])
labelled = behaviors[(behaviors.model == model) & (behaviors.prompt_set == 0)]
display(Markdown(report_behavior.conclusion(*final, correlation[correlation.model == model], curve, labelled, model, corpus_is_own, counts_table)))

# %% [markdown]
# **The model whose documents are known.** The claim needs a model with known documents that also answers many words
# correctly. The small model of the section above has known documents, but by default the robust rule labels none of its
# answers. The documents of the main model are known only where `corpus_is_own` is set; otherwise a stronger model with
# a known corpus is still needed. Of the rules above, *released* and *paper* do not ask whether an answer is right.
#
# **Compared with the paper.** It reports AUCs for OLMo with Dolma counts. Its result tables could not be obtained, so
# this notebook quotes none of its numbers. `make PROFILE=paper all` runs the same notebooks on OLMo. Its counts are
# again proxies from this repository's corpus, or those of Dolma where `make count` was run on Dolma and `counts_table`
# names the result.
#
# **Next:** [04 · pivot discovery](04_pivot_discovery.ipynb) looks for the pivots themselves. Tables written here:
# `behaviors`, `behavior_shares`, `pivot_languages`, `agreement`, `pivot_mass_by_direction`, `cooccurrence`,
# `correlation`, `attribution`, `delta_auc`, `regression`, `replication`, `specifications`, `known_attribution`,
# `known_delta_auc`, `known_correlation`.
