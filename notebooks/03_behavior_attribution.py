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
# intermediate token, and how often the two words occur *together* in the training documents decides which (He et al.,
# [arXiv 2505.16385](https://arxiv.org/abs/2505.16385), §4).
#
# The notebook labels every item of notebook 02 by three rules, counts words and word pairs in a corpus, and asks in three
# ways whether the counts explain the labels. At each step the paper's own way, as its released code has it, stands beside
# ours: a reader should see what is *replication* and what is *correction*.

# %% [markdown]
# ## Parameters
#
# `counts_table` names a file or folder of counts of another corpus (`python -m semantic_pivots.count` makes them, from Dolma for example); they take the place of
# those of `data/corpus`, which then stand among the checks. `corpus_is_own` says that the corpus counted is what the main model was trained on; it changes the words
# of the conclusion alone. `corpus_share` takes a part of the documents (for a quick run).

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
# | `robust`: ours | among layers that tell at least 1 nat of the word, the last two left out, the token with the largest $p\log(p/p_{bg})$ | a token of the source word or of an accepted translation | pivot; wrong answers are set apart |
#
# $p_{bg}$ is a token's mean probability at that layer over all items; the *information* of a layer is how far, in nats, what it says
# of an item departs from that mean; the *ridge* lens maps a layer linearly to the last one first (notebook 02).
#
# Items whose source and target word can start with the same token are excluded by all three: no layer can tell them
# apart. The released and the paper's rule never ask whether the answer is right. Right means here that the model's top
# token starts an accepted translation.
#
# A token such as *livres* or *tradu* is no pivot between *book* and *livre*, *traduire*. Our rule knows the inflected forms of all
# accepted translations (`data/forms.parquet`), and pieces of them: of four letters, or of one Han character or kana at the beginning and
# two elsewhere. The other two rules take tokens as their sources do. Misspellings and synonyms that no dictionary lists are still
# pivots by all three, which makes the shares too high. And a rule looks at one token of one layer: an item whose strongest token is the
# source word counts as co-occurrence even if a later layer says an English word, which makes them too low. So the shares are no bounds;
# the *pivot mass* below does not have this fault.

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
# The released rule and the paper's look where the model is most sure, and there one token wins whatever the word (notebook 02). Their
# shares, and every AUC of theirs below, are about where such a token wins.
#
# Whose words are the pivots? The concept's word in a language that is neither source nor target, or a token that begins no form of any of
# its words. Such a token can be an associate of the concept, but also a derivation (*softness* for *soft*), a synonym that no
# dictionary lists, the word in a language that is not among the four (*decisión*), a short piece, or noise; so this part of the bar
# is not evidence of a pivot in the paper's sense. Where English is the source or the target it cannot be such a language, so that the bar
# of the directions without English is the one to read. Bars of directions with fewer than ten such items say little.

# %%
pivots = behavior.pivot_languages(labels[labels.rule == "robust"], n_resamples, seed)
store.write("pivot_languages", pivots, None, ["behaviors"])
own = pivots[pivots.model == model]
if len(own):
    fig, ax = figures_behavior.pivot_languages(own)
    figures.save(fig, "03_pivot_languages", own, profile, model)
display(Markdown(report_behavior.language_sentences(own)))

# %% [markdown]
# Do the rules at least agree on which items are which? Cohen's kappa is 0 where they agree as often as chance would, 1
# where they always do; intervals resample concepts. It is taken over the items that both rules call one of the two
# behaviors, so that wrong answers, which only our rule sets apart, do not count as disagreement. Kappa also falls when one rule simply
# says pivot more often, so the largest value that the two shares allow stands beside it, and the share of the second rule's pivots
# that the first calls pivot too.

# %%
agreement = behavior.agreement(labels, n_resamples, seed)
store.write("agreement", agreement, None, ["traces"])
report_behavior.agreement_table(agreement)

# %% [markdown]
# ### Examples
#
# Drawn at random, one a direction, by the robust rule: what the informative layers say, one after the other. The token in ‹ › decided,
# what follows the bar is said by later layers, of which the rule leaves out the last two. First items called co-occurrence, then items
# called pivot; last, items that the *released* rule calls pivot, with the token that decided there.

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
# A label throws much away. The *pivot mass* does not: of all the probability that the informative layers give to tokens
# beyond the background, it is the share that is neither the source word's nor an accepted translation's. Right answers only. Inflected
# forms and later pieces of the two words count as neither here, so this is an upper bound.

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
# The corpus in `data/corpus` (licences and sources in `data/README.md`) has documents in one language and mixed ones.
# A document counts for a word if it holds it as a whole word, whatever the letter case; for a pair if it holds both. So `n_source`,
# `n_target` and `n_both` are the documents with the source word, the target word, and both; `log_` is the logarithm of one more.
# The counts are exact, of the main word in its dictionary form: plurals and conjugated forms are other words (but a
# Japanese verb in する counts by its stem). Chinese and Japanese are written without spaces, so there a word counts wherever
# its characters stand, also inside a longer word.
#
# **These are proxy counts** (but where `counts_table` names counts of the model's own documents). What a model such as Gemma was trained on is not public in full. Our corpus can
# only say how often words meet in *some* text of these languages.

# %% [markdown]
# Millions of characters by source and language, the ten largest sources (*mixed*: documents that hold several languages):

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
# Three more counts of `data/corpus` serve as checks. *By language*, a word counts only in text of its own language, so that French
# "table" does not count in an English document. *Any translation* counts all accepted translations as the word. *With dictionary*, dictionary entries are added as documents; they come
# from the sources of the lexicon itself, so that this one is circular and shows only how far one can be misled.

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
store.write("cooccurrence", all_counts, None, ["lexicon", "corpus", "corpus_dictionary"]).groupby("corpus", sort=False)[["n_docs", "n_both"]].mean().round(1)

# %% [markdown]
# ## Are pairs that meet more often translated better?
#
# This needs no label. The first panel correlates $P(y \mid w)$ with the pair's count. But frequent words are translated
# better *and* meet more often, whatever the model learned from. Grey is what remains when the pair counts are shuffled
# among words of like frequency; the second panel holds the counts of both words fixed. The grey band is two-sided, the test asks
# whether the value lies above the shuffled ones; in the second panel they need not be centred at zero.

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
# Each dot is a word; orange are the medians of the words that never meet and of four equal parts of those that do.
#
# ## Do the counts tell the two behaviors apart?
#
# The AUC is the chance that an item called co-occurrence has a higher count than one called pivot; .5 is chance, and if
# the paper's account holds it should lie above. Ties count half. Intervals resample concepts, and the p-value comes from
# shuffling pair counts among words of like frequency: what is left of frequency inside such a group is regressed out first.
# Directions with fewer than ten items of a behavior are left out of figure and ranges.
# One thing no test on counts can mend: if the counts of the single words are themselves a poor measure of how common the
# words were in the model's own training, a part of frequency stays in the pair count and can look like an effect.
#
# Over all directions, an item of fr → zh and one of zh → fr share a pair count. So concepts, not items, are resampled and
# shuffled there.

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
# **Beyond word frequency.** A logistic model that knows the counts of the single words, the tokens of the target, the
# part of speech and the direction predicts the label; what does it gain when it is told the pair's count? Models are
# judged on concepts they were not fitted on.

# %%
report_behavior.delta_table(delta)

# %%
curves = attribution.roc_curves(labels[labels.model == model], counts, covariates, n_resamples, seed)
fig, axes = figures_behavior.roc(curves)
figures.save(fig, "03_roc", curves, profile, model)

# %% [markdown]
# The same as a regression over all directions, with standard errors clustered by concept: odds ratios of co-occurrence
# behavior for one standard deviation more (`n_target_tokens`: tokens of the word; `pos_n` and `pos_v`: noun or verb
# instead of adjective). An odds ratio of 1 is no relation. The direction is in the model (its terms are
# not listed), so that a difference between directions cannot pass for one between words. A term whose values separate the
# two behaviors completely has no finite odds ratio, and the table says so.

# %%
regression = attribution.regression(labels[labels.model == model], counts, covariates)
store.write("regression", regression, None, ["behaviors", "cooccurrence"])
report_behavior.regression_table(regression)

# %% [markdown]
# And with the other ways of counting (where `counts_table` is given, they are to be compared with the line *data/corpus*). If the first line of a rule changed much in the second, string identity and not
# co-occurrence would be behind it; if in the third, the choice of one translation; if in the last, circularity would pay.

# %%
some = labels[(labels.model == model) & labels.rule.isin(["released", "robust"])]
checks = attribution.attribute(some, pd.concat(variants), covariates, **settings)
aucs = pd.concat([aucs, checks], ignore_index=True)
store.write("attribution", aucs, None, ["behaviors", "cooccurrence"])
report_behavior.ablation_table(aucs[(aucs.model == model) & aucs.rule.isin(["released", "robust"])])

# %% [markdown]
# ## Replication and correction, side by side
#
# The released code differs from the paper's text and from usual practice in three ways: it takes log 0 as 0, so that
# pairs that never meet and pairs that meet once are one; it steps through the ROC curve item by item, so that the order of
# tied items in the file moves the result; and in its newest version the predictor is the count of the *target word*, not
# of the pair. The figure shows its value, how far the order of ties alone could move it, and the corrected one.

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
# Every rule has settings: how many layers to leave out at the end, how much a layer must tell, whether wrong answers
# count, which lens, which demonstrations. The curve asks the same question under all of them. A point is one way to label
# the items, with its 95 % interval; the grey line at it is the AUC that shuffled pair counts would have, what the
# frequency of the words and the direction alone give. A result that stands only in one corner of the curve is a result about that corner.

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
# All counts above are proxies, or of documents that are not here. For one model they need not be: the small one of notebook 01 was trained on a corpus that is
# here, document by document (`data/corpus`, with some documents taken apart as notebook 06 tells). So the whole question
# is asked again with *true* counts, of the corpus as it stood when the model read from it: all documents in several languages, where words of two
# languages meet, and in each epoch a part of the others. But the test can only speak if the model translates: how
# many of its answers are right, and how many of these are left, stands first. With none left the robust rule says nothing, and the other
# two label a model that mostly answers wrongly.

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
# What a meeting *does* is another question than what goes with it. Notebook 06 answers it by lot.
#
# ## What to conclude
#
# Numbers in this section are computed from the tables above.

# %%
final = (shares[shares.model == model], aucs[aucs.model == model], delta[delta.model == model])
display(Markdown(report_behavior.conclusion(*final, correlation[correlation.model == model], curve, model, corpus_is_own, counts_table)))

# %% [markdown]
# **The model whose documents are known** is the small one of the section before; the robust rule labels none of its answers, so what is still
# needed is a stronger model with a known corpus. Of the rules above, *released* and *paper* do not ask whether an answer is right.
#
# **Compared with the paper.** It reports AUCs for OLMo with Dolma counts; its result tables could not be obtained, so no
# number of theirs stands here. `make PROFILE=paper all` runs the same notebooks on OLMo, with counts of this
# repository's corpus as proxies again, or with those of Dolma where `make count` was run on it and `counts_table` names the result.
#
# **Next:** [04 · pivot discovery](04_pivot_discovery.ipynb) looks for the pivots themselves. Tables written here: `behaviors`, `behavior_shares`, `pivot_languages`, `agreement`,
# `pivot_mass_by_direction`, `cooccurrence`, `correlation`, `attribution`, `delta_auc`, `regression`, `replication`,
# `specifications`, `known_attribution`, `known_delta_auc`, `known_correlation`.
