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
#     reads: [lexicon, forms, corpus, scores, prompts, traces, layer_means, behaviors, cooccurrence]
#     writes: [pivots, pivot_coverage, pivot_thresholds, pivot_rankings, pivot_types, pivot_mass, pivot_curves, pivot_summary, pivot_answers, pivot_type_mass, pivot_contrasts, pivot_labels, pivot_regression]
# ---

# %% [markdown]
# # 04 · The pivots: found in documents, seen in the layers
#
# **The claim tested here:** two words that seldom meet are linked by *semantic pivots*, words that stand in documents with the one and in
# documents with the other; the model passes through them, and the better a pair is linked, the better it is translated (He et al.,
# [arXiv 2505.16385](https://arxiv.org/abs/2505.16385), §5).
#
# The notebook looks for such words in the corpus, for every concept and direction; says of each what it is; looks in every layer whether the
# model gives them any probability, against control words like them; and asks whether they explain the tokens of
# notebook 03 and the scores of notebook 01. Whether the model *needs* them is for notebook 06.

# %% [markdown]
# ## Parameters
#
# `linked_concept` and `linked_pair` choose the word that is shown in full; any concept of notebook 01 can stand there (the default was chosen because it is easy to read). A word is looked at if it stands in at
# least `min_docs` documents; `top` words are ranked; `shrinkage` is κ below; `max_false` is how many wrong words the association filter may let pass, judged on `n_demonstrations` concepts.
# `n_traced` concepts are looked at in the layers, each beside `n_control_sets` control sets.

# %% tags=["parameters"]
profile = "laptop"
model = "packaged:gemma-3-270m"
linked_concept = "door.n"
linked_pair = "fr-ja"
min_docs = 10
top = 50
shrinkage = 5.0
max_false = 0.01
n_demonstrations = 120
n_traced = 260
n_control_sets = 200
corpus_share = 1.0
seed = 20251
n_resamples = 2000
n_permutations = 1000
device = "auto"
dtype = "auto"

# %%
import pandas as pd
from IPython.display import Markdown, display

from semantic_pivots import artifacts, corpus, layers, matching, models, pivot_controls, pivot_evidence, pivot_layers, pivots, quotes, spellings, task, words
from semantic_pivots.documents import thinned

store = artifacts.Store(profile, "04_pivot_discovery", artifacts.literals(globals()))
settings = pivots.Settings(top, min_docs, shrinkage, max_false)
lexicon = task.read_lexicon(artifacts.ROOT / "data" / "lexicon.parquet")
scores = store.read("scores")
scores = scores[scores.model == model]

# %%
from semantic_pivots import figures, figures_behavior, figures_pivots, report_pivots

figures.use_style()
pd.set_option("display.max_colwidth", 160)

# %% [markdown]
# ## Every word of the corpus
#
# The corpus is cut into words, Chinese and Japanese by a dictionary (jieba's; IPADIC through MeCab), and for every word it is noted in which
# documents it stands, in text of its own language. The words of the lexicon are sought as in notebook 03, whole words in any letter case, here in text of their own language only. `corpus_share` takes a part of the documents
# (for a quick run).

# %%
cache = models.cache_directory() / "words"
files = corpus.shards(thinned(artifacts.ROOT / "data" / "corpus", corpus_share, cache.parent / "thinned"))
index = words.index_corpus(files, 5, cache)
vocabulary = matching.Vocabulary.from_lexicon(lexicon[(lexicon.split == "test") & lexicon.bijective])
documents = pivots.word_documents(files, vocabulary, cache)
display(Markdown(report_pivots.index_sentence(index)))

# %% [markdown]
# Two sets of concepts are looked at: those scored in notebook 01, however rare, and, for the layers, those whose words
# of all four languages stand in enough documents (scored ones first, then others of the `test` split at random), so that every
# direction is seen on the same concepts. The words of the second set are more frequent than words in general, so its results hold for frequent words only.

# %%
scored = list(dict.fromkeys(scores.concept_id))
traced = pivots.draw_documented(lexicon, documents, vocabulary, scored, n_traced, min_docs, seed)
looked_at = lexicon.loc[list(dict.fromkeys([*scored, *traced]))]
display(Markdown(f"{len(scored)} concepts are scored, {len(traced)} traced, {len(set(scored) & set(traced))} are in both sets."))

# %% [markdown]
# ## From documents to pivots
#
# For a source word $w$ and a target word $y$ a candidate $z$ is any word of any language that stands with each of them in some document, forms of the two words left out:
# inflections, other scripts or letter cases, strings that begin alike, and the like of another language (*nation* for *nation*). With $df(z, w)$ the documents that hold both, $n_w$
# those that hold $w$, and $N$ all documents:
#
# - **the paper's ranking:** $\min_{w,y}\; df(z, w)/n_w - df(z)/N$, the frequency of $z$ beside the word less its frequency anywhere;
# - **ours:** $\min_{w,y}\; \mathrm{NPMI}(z, w)\cdot df(z, w)/(df(z, w) + \kappa)$, which does not grow with the frequency of $z$; the factor draws pairs seen a few
#   times towards 0.
#
# A word that stands with everything has a high frequency beside any word; a word seen three times in all can have a perfect NPMI by accident. The first ranking is
# prone to the one, plain NPMI to the other, and κ is there for the latter.
#
# The paper takes up to 2,000 documents a word; here all count. Both measures are symmetric in $w$ and $y$.

# %%
variants = spellings.Spellings(index.words, spellings.han_variants(lexicon))


def discover(concepts, arrange=lambda v: v):
    own, forms = arrange(matching.Vocabulary.from_lexicon(concepts)), arrange(matching.read_forms(concepts))
    return pivots.discover(index, pivots.word_documents(files, own, cache), own, forms, variants, settings)


found, word_counts = discover(looked_at)

# %% [markdown]
# Documents differ in what they are about, so a word of a cookbook stands with every other word of the cookbook. NPMI asks how much more often than
# their frequencies would give, and the smaller of the two values whether that holds on *both* sides: a word that only ever stands with the target word
# links nothing.
#
# **Which of them are associated?** A word in the first fifty need not mean anything: with few documents, some words always come first. So two thresholds
# are set, on the demonstration concepts, which are never tested. The null are *mismatched pairs*: a word of one concept and a word of
# another language for another concept, searched in the same way. At most `max_false` of what is found for such pairs may pass, and
# among all pairs of thresholds that keep to this, the one that lets most accepted translations pass is taken. The two measures are the
# association above and the similarity in the model's unembedding (mean cosine with the two words, the mean of each language taken off).

# %%
lm = models.load(model, device, dtype)
demonstrations = lexicon[lexicon.split == "demo"].head(n_demonstrations)
demo, null = discover(demonstrations)[0], discover(demonstrations, pivots.mismatched)[0]
demo, null = (t[t.rank_ours.notna()].assign(similarity=lambda t: pivot_layers.similarity(lm, lexicon, t)) for t in (demo, null))
limits = store.write("pivot_thresholds", pivots.thresholds(demo, null, settings), [lm.facts()], ["lexicon", "forms", "corpus"])
fig, axes = figures_pivots.association(demo, null, limits)
figures.save(
    fig,
    "04_association",
    pd.concat([demo.assign(set="found"), null.assign(set="mismatched")])[["set", "association", "similarity", "translation"]].round(3),
    profile,
    model,
)

# %%
display(Markdown(report_pivots.threshold_sentences(limits)))

# %%
found = found.assign(similarity=pivot_layers.similarity(lm, lexicon, found))
table = pivots.keep(found, limits)
ids = pivot_layers.pivot_tokens(lm, table.loc[table.kept, "pivot"])
table = table.assign(pivot_ids=[list(ids[word]) if kept else [] for word, kept in zip(table["pivot"], table.kept)])
coverage = pivots.coverage(word_counts, table)
leading = table[table.kept | (table.rank_ours <= 10) | (table.rank_paper <= 10)]  # of the rest each is noise, and there are many
store.write("pivots", leading.astype(dict.fromkeys(leading.select_dtypes("float64"), "float32")), [lm.facts()], ["lexicon", "forms", "corpus", "scores"])
store.write("pivot_coverage", coverage, [lm.facts()], ["lexicon", "forms", "corpus", "scores"])
report_pivots.coverage_table(coverage)

# %%
display(Markdown(report_pivots.coverage_sentences(coverage)))

# %% [markdown]
# ### One word in full
#
# What was found, the documents behind it, and, if the concept is among the traced, what the layers make of it. The documents are the shortest that hold the pivot and
# the word, if possible not the other word as well: so one sees two texts that know nothing of each other, and the word that links them; where there is none, the line says so. Chinese and
# Japanese words count inside longer ones as well.

# %%
concept, pair = linked_concept, tuple(linked_pair.split("-"))
if concept not in set(coverage.concept_id):
    display(Markdown(f"`{concept}` is not among the {coverage.concept_id.nunique()} concepts; this is `{looked_at.concept_id.iloc[0]}`."))
    concept = looked_at.concept_id.iloc[0]
chosen = [t[(t.concept_id == concept) & (t.source_lang == pair[0]) & (t.target_lang == pair[1])] for t in (table, coverage)]
title = f"{lexicon.at[concept, pair[0]]} → {lexicon.at[concept, pair[1]]}"
display(Markdown(f"**{title}.** " + report_pivots.word_sentence(concept, next(iter(chosen[1].itertuples()), None), chosen[0])))
if chosen[0].kept.any():
    fig, ax = figures_pivots.one_word(chosen[0], title)
    figures.save(fig, "04_one_word", chosen[0].drop(columns="pivot_ids"), profile)

# %%
first = chosen[0][chosen[0].kept & (chosen[0].type != "number/symbol")].head(6)
own = matching.Vocabulary.from_lexicon(lexicon.loc[[concept]])
shown = quotes.pivot_documents(index, pivots.word_documents(files, own, cache), own, concept, pair, first)
display(Markdown(report_pivots.quote_lines(quotes.read_quotes(files, shown))))

# %% [markdown]
# ### Other words, drawn at random
#
# At most one concept for each direction, among those with at least three pivots. Where the corpus knows a word from one source only, its pivots are that source's
# vocabulary: a game's, a manual's, a set of sample sentences about two people. Nothing was picked or left out.

# %%
report_pivots.pivot_examples(table, 12, seed)

# %% [markdown]
# ## The paper's ranking against ours
#
# The question is not which ranking is prettier but which of them finds what there is to find. Both are taken before the association filter, and both after the forms of the two words were left out. A common word is one in more than 2 % of all documents. The third panel asks how early a ranking has the concept's
# own word in a language that is neither source nor target, as a dictionary has it: the most pivot-like pivot there could be.

# %%
compared = report_pivots.ranking_table(pivots.ranking_agreement(table, index), n_resamples, seed)
store.write("pivot_rankings", compared, None, ["pivots"])
fig, axes = figures_pivots.rankings(compared)
figures.save(fig, "04_rankings", compared, profile)

# %%
display(Markdown(report_pivots.ranking_sentences(compared)))

# %% [markdown]
# ## What the pivots are
#
# Is a pivot another language's word for the same thing, or a word from the same scene? The paper does not say; it makes a difference for what a model could do with it. A word that passes has its type by rule, in this order: without a letter, *number*; a word of the source or of the target language; elsewhere English or third-language,
# and there an *accepted translation* of the concept, in any form, or an *associate*.

# %%
counts = report_pivots.type_counts(table, coverage)
store.write("pivot_types", counts, None, ["pivots", "pivot_coverage"])
if len(counts):
    fig, ax = figures_pivots.typology(counts)
    figures.save(fig, "04_types", counts, profile)
display(Markdown(report_pivots.type_sentences(counts)))

# %% [markdown]
# ## In the layers
#
# At the position that predicts the target, the probability of all tokens that can start a pivot is summed, after every block, and beside it that of the source word and of the accepted
# translations; each token counts once, and not for a pivot if it can start one of the two words. All traced items are in, whether the model answers them rightly or not. A token that
# begins pivots of several types counts for the first of: English translation, third-language translation, English associate, third-language associate, word of the source or target language; but one
# that can begin an English translation and a third-language one counts for neither. As in notebook 02 the raw lens is corrected for what a layer says of any word: Σ max(0, p − p_bg) with p_bg the mean over the items.
#
# **Two nulls.** *Matched control sets:* in place of every pivot token one of its nearest tokens in corpus frequency and norm of
# the unembedding, of the same script and with or without a space before it as the pivot, none of a word of the concept. *Another concept's pivots,* same direction. The *middle layers* are those that know the word
# on average (1 nat), the last two left out.

# %%
facts = pivot_controls.token_facts(lm, index)
prompts = {pair: sets[0] for pair, sets in task.read_prompts(store.read("prompts"), model).items()}
means = store.read("layer_means")
means = means[(means.model == model) & (means.lens == "raw") & (means.measure == "information") & means.source_lang.isin(list(task.LANGUAGES))]
start = layers.reaches(means.groupby("layer")["mean"].mean().reset_index(), layers.MIN_INFORMATION)
middle = list(range(start if start is not None else lm.n_layers // 2, lm.n_layers - 2)) or [lm.n_layers // 2]
controls = pivot_layers.Controls(n_control_sets, seed=seed)
mass = pivot_layers.trace_mass(lm, lexicon, prompts, traced, table[table.kept], facts, middle, store, controls).round(6)
store.write("pivot_mass", mass, [lm.facts()], ["lexicon", "pivots", "prompts", "layer_means"])
display(Markdown(report_pivots.balance_sentence(mass, middle)))

# %%
curves = store.write("pivot_curves", pivot_evidence.mass_curves(mass, n_resamples, seed), None, ["pivot_mass"])
fig, axes = figures_pivots.layers(curves)
figures.save(fig, "04_layers", curves[curves.lens == "corrected"], profile, model)

# %%
display(Markdown(report_pivots.layer_sentences(curves)))

# %% [markdown]
# The same without the correction, and logarithmic, so that the nulls can be seen. Whatever a layer says of every word stands here too, for pivots and controls
# alike. A lens reads little below the layers that know the word (notebook 02), so the left half says little.

# %%
fig, axes = figures_pivots.layers(curves, "raw", log=True)
figures.save(fig, "04_layers_raw", curves[curves.lens == "raw"], profile, model)

# %%
summary = store.write("pivot_summary", pivot_evidence.mass_summary(mass, n_resamples, seed), None, ["pivot_mass"])
fig, ax = figures_pivots.standing_out(summary)
figures.save(fig, "04_standing_out", summary, profile, model)
display(Markdown(report_pivots.standing_out_sentences(summary)))

# %% [markdown]
# Does a layer that names a pivot go with a right answer? And how much of what the layers say of neither word is a word that was found in the documents?

# %%
traces = store.read("traces")
traces = traces[(traces.model == model) & (traces.lens == "raw") & (traces.prompt_set == 0)]
answers = store.write("pivot_answers", pivot_evidence.by_answer(mass, scores, n_resamples, seed), None, ["pivot_mass", "scores"])
display(Markdown(report_pivots.answer_sentences(answers, pivot_evidence.found_share(mass, traces, middle, n_resamples, seed))))

# %% [markdown]
# The word of above once more, in the layers. An English word in the middle does not mean that the answer comes out right; the line below the figure says whether it does.

# %%
own = mass[(mass.concept_id == concept) & (mass.source_lang == pair[0]) & (mass.target_lang == pair[1]) & (mass.lens == "corrected")]
if len(own):
    fig, ax = figures_pivots.one_word_layers(own, title)
    figures.save(fig, "04_one_word_layers", own, profile, model)
    answered = scores[(scores.concept_id == concept) & (scores.source_lang == pair[0]) & (scores.target_lang == pair[1])].first_token_correct
    display(Markdown(report_pivots.one_answer(own, next(iter(answered), None))))
else:
    display(Markdown(f"`{concept}` is not among the {len(traced)} traced concepts."))

# %% [markdown]
# ## English, or semantic?
#
# By the paper the pivot is whatever word links the two, English or not; by others ([arXiv 2402.10588](https://arxiv.org/abs/2402.10588)) the middle layers of such models think in
# English. In directions without English the two can be told apart: which types carry the mass, and is the English word ahead of the concept's word in the
# other third language? Types have different numbers of tokens, so each is held against its own control sets, and compared per token as well. Only mass on pivots that were found in documents
# is looked at; notebook 03 has the English word's part of all that the layers say.

# %%
carriers = store.write("pivot_type_mass", pivot_evidence.type_mass(mass, n_resamples, seed), None, ["pivot_mass"])
without = carriers[(carriers.source_lang != "en") & (carriers.target_lang != "en")]
contrasts = store.write("pivot_contrasts", pivot_evidence.english_or_semantic(mass, n_resamples, seed), None, ["pivot_mass"])
if len(without):
    fig, axes = figures_pivots.types(without)
    figures.save(fig, "04_carriers", without, profile, model)

# %%
if len(contrasts):
    fig, axes = figures_pivots.contrasts(contrasts)
    figures.save(fig, "04_contrasts", contrasts, profile, model)
display(Markdown(report_pivots.carrier_sentences(carriers, contrasts)))

# %% [markdown]
# ## Are the tokens called pivots among them?
#
# Notebook 03 calls an item *pivot* by a token that a layer says. If the account is right, such tokens should be words that the documents know as pivots of the
# concept: more often than they are pivots of another concept of the same direction.

# %%
behaviors = store.read("behaviors")
behaviors = behaviors[(behaviors.model == model) & (behaviors.lens == "raw") & (behaviors.prompt_set == 0)]
token_ids = lm.tokenizer.convert_tokens_to_ids(behaviors.token.tolist())
hits = pivot_evidence.label_hits(behaviors, token_ids, table[table.kept], n_resamples, seed)
store.write("pivot_labels", hits, [lm.facts()], ["behaviors", "pivots"])
if len(hits):
    fig, axes = figures_pivots.labels(hits, figures_behavior.RULES)
    figures.save(fig, "04_labels", hits, profile, model)
display(Markdown(report_pivots.label_sentences(hits)))

# %% [markdown]
# ## Do pivots make the translation better?
#
# The paper fits $P(y \mid w) \sim k_1 \log n_{both} + k_2\,\mathrm{pivots}$. Frequent words have more of both, so here the counts of the two words, the tokens of the target, part of speech
# and direction are in the regression too; errors are clustered by concept; and each coefficient stands beside its null, in which what word frequency leaves of the predictor is given another sign, concept by
# concept. Pivots are measured in three ways: as support in the documents, the associations with both words summed over the pivots, in documents that hold **one word only** (where both
# stand, the pair count has its say already) and in all; and as mass in the middle layers.

# %%
all_counts = store.read("cooccurrence")
items = pivot_evidence.regression_items(scores, all_counts[all_counts.corpus == "corpus"], pivot_evidence.pivot_support(table, coverage), mass, lexicon)
regression = store.write("pivot_regression", pivot_evidence.regress(items, n_permutations, seed), None, ["scores", "cooccurrence", "pivots", "pivot_mass"])
report_pivots.regression_table(regression)

# %%
bins = pivot_evidence.partial_effect(items)
if len(bins):
    fig, axes = figures_pivots.partial(bins, report_pivots.PANELS, "P(y|w), all others held fixed")
    figures.save(fig, "04_partial", bins, profile, model)
display(Markdown(report_pivots.regression_sentences(regression)))

# %% [markdown]
# A coefficient is no cause: words that are linked well in the documents may be easy for other reasons, and mass in the layers is part of the model's way to its answer.
#
# ## What to conclude
#
# Numbers in this section are computed from the tables above.

# %%
display(Markdown(report_pivots.conclusion(compared, summary, contrasts, hits, regression, model)))

# %% [markdown]
# **What this can and cannot say.** The corpus is not what the main model was trained on: it says which words *some* text links, and many of its aligned texts are mixed documents in which
# translations stand side by side, so that translations are easier to find here than on the web. Tokens are first tokens: a pivot of several tokens is known by
# its beginning. A layer can hold what no lens reads, and a lens can show what no later layer uses; only an intervention tells, and that is the second half of notebook 06.
#
# **Compared with the paper.** The paper's own result tables were not at hand, so none of its numbers stands beside ours. Its steps were followed: documents of both words,
# background taken off, the smaller of the two, fifty words, an association filter, curves over layers, a regression. What differs is said where it differs: whole words, NPMI beside it,
# thresholds set on other concepts, types, and a null for each claim.
#
# **Next:** [06 · causal tests](06_causal_tests.ipynb) takes pivots out of the layers. Tables written here: `pivots`, `pivot_coverage`, `pivot_thresholds`, `pivot_rankings`, `pivot_types`,
# `pivot_mass`, `pivot_curves`, `pivot_summary`, `pivot_answers`, `pivot_type_mass`, `pivot_contrasts`, `pivot_labels`, `pivot_regression`.
