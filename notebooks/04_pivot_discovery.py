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
# **The claim tested here:** two words that seldom meet in one document are linked by *semantic pivots*: words that
# co-occur with the one in some documents and with the other in others. The model goes through these pivots, and the
# better a pair is linked, the better it is translated (He et al., [arXiv 2505.16385](https://arxiv.org/abs/2505.16385),
# §5).
#
# The notebook looks for such words in the corpus, for every concept and direction, and gives each a type. It measures
# in every layer whether the model gives them any probability, compared with similar control words. Then it asks whether
# they explain the tokens of notebook 03 and the scores of notebook 01. Whether the model *needs* them is the question
# of notebook 06.

# %% [markdown]
# ## Parameters
#
# `linked_concept` and `linked_pair` choose the word that is shown in full. Any concept of notebook 01 will do; the
# default was chosen because it is easy to read. A word is used if it occurs in at least `min_docs` documents. `top`
# words are ranked, and `shrinkage` is κ below. `max_false` is the share of wrong words that the association filter may
# let pass, judged on `n_demonstrations` concepts. `n_traced` concepts are traced in the layers, each with
# `n_control_sets` control sets.

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
# The corpus is cut into words, Chinese and Japanese by a dictionary (jieba's; IPADIC through MeCab). For every word we
# record in which documents it occurs, in text of its own language. The words of the lexicon are found as in notebook
# 03, as whole words in any letter case, but here only in text of their own language. `corpus_share` uses only a part of
# the documents (for a quick run).

# %%
cache = models.cache_directory() / "words"
files = corpus.shards(thinned(artifacts.ROOT / "data" / "corpus", corpus_share, cache.parent / "thinned"))
index = words.index_corpus(files, 5, cache)
vocabulary = matching.Vocabulary.from_lexicon(lexicon[(lexicon.split == "test") & lexicon.bijective])
documents = pivots.word_documents(files, vocabulary, cache)
display(Markdown(report_pivots.index_sentence(index)))

# %% [markdown]
# There are two sets of concepts. The first holds the concepts scored in notebook 01, however rare. The second, for the
# layers, holds concepts whose words of all four languages occur in enough documents (scored ones first, then others of
# the `test` split at random). So every direction is measured on the same concepts. The words of the second set are more
# frequent than words in general, so its results hold for frequent words only.

# %%
scored = list(dict.fromkeys(scores.concept_id))
traced = pivots.draw_documented(lexicon, documents, vocabulary, scored, n_traced, min_docs, seed)
looked_at = lexicon.loc[list(dict.fromkeys([*scored, *traced]))]
display(Markdown(f"{len(scored)} concepts are scored, {len(traced)} traced, {len(set(scored) & set(traced))} are in both sets."))

# %% [markdown]
# ## From documents to pivots
#
# For a source word $w$ and a target word $y$, a candidate $z$ is any word of any language that co-occurs with each of
# them in some document. Forms of the two words are left out: inflections, other scripts or letter cases, strings that
# begin alike, and similar forms in another language (*nation* for *nation*). Let $df(z, w)$ be the number of documents
# that hold both $z$ and $w$, $n_w$ the number that hold $w$, and $N$ the number of all documents.
#
# - **The paper's ranking:** $\min_{w,y}\; df(z, w)/n_w - df(z)/N$, the frequency of $z$ in documents with the word
#   minus its frequency anywhere.
# - **Our ranking:** $\min_{w,y}\; \mathrm{NPMI}(z, w)\cdot df(z, w)/(df(z, w) + \kappa)$, which does not grow with the
#   frequency of $z$. The factor shrinks pairs that were seen only a few times towards 0.
#
# A word that occurs everywhere has a high frequency next to any word, which misleads the first ranking. A word seen
# three times in all can have a perfect NPMI by accident, which misleads plain NPMI; κ corrects for this.
#
# The paper takes up to 2,000 documents per word; here all documents count. Both measures are symmetric in $w$ and $y$.

# %%
variants = spellings.Spellings(index.words, spellings.han_variants(lexicon))


def discover(concepts, arrange=lambda v: v):
    own, forms = arrange(matching.Vocabulary.from_lexicon(concepts)), arrange(matching.read_forms(concepts))
    return pivots.discover(index, pivots.word_documents(files, own, cache), own, forms, variants, settings)


found, word_counts = discover(looked_at)

# %% [markdown]
# Documents differ in topic, so a word of a cookbook co-occurs with every other word of the cookbook. NPMI measures how
# much more often two words co-occur than their frequencies would give. The smaller of the two values says whether that
# holds on *both* sides: a word that only ever co-occurs with the target word links nothing.
#
# **Which of them are associated?** A word among the first fifty need not be associated with anything: where documents
# are few, some words always come first. So two thresholds are set, on the demonstration concepts, which are never
# tested. The null consists of *mismatched pairs*: a word of one concept and a word of another concept in another
# language, searched in the same way. At most a share `max_false` of what is found for such pairs may pass. Among all
# pairs of thresholds that satisfy this, we take the one that lets most accepted translations pass. The two measures are
# the association above and the similarity in the model's unembedding (the mean cosine with the two words, with the mean
# of each language subtracted).

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
# This section shows what was found, the documents behind it, and, if the concept was traced, what the layers show of
# it. The documents are the shortest that hold the pivot and the word, if possible without the other word. So one sees
# two separate texts, and the word that links them; where there is no such text, the line says so. Chinese and Japanese
# words also count inside longer ones.

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
# The table shows at most one concept per direction, among those with at least three pivots. Where only one source of
# the corpus has a word, its pivots are the vocabulary of that source: a game, a manual, a set of sample sentences about
# two people. Nothing was selected or left out by hand.

# %%
report_pivots.pivot_examples(table, 12, seed)

# %% [markdown]
# ## The paper's ranking against ours
#
# The question is which ranking finds the pivots that exist. Both are compared before the association filter, and after
# the forms of the two words were left out. A common word is one in more than 2 % of all documents. The third panel asks
# how early a ranking lists the concept's own word in a language that is neither source nor target, as given in a
# dictionary. No word could be a clearer pivot.

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
# Is a pivot another language's word for the same thing, or a word from the same scene? The paper does not say, but it
# matters for what a model could do with it. A rule gives each word that passes a type, in this order: without a letter,
# *number*; a word of the source or of the target language; elsewhere English or *third-language* (here a language that
# is neither source, target nor English), and there an *accepted translation* of the concept, in any form, or an
# *associate*.

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
# At the position that predicts the target, we sum the probability of all tokens that can start a pivot, after every
# block. We do the same for the source word and the accepted translations. Each token counts once, and not for a pivot
# if it can start one of the two words. All traced items are used, whether the model answers them correctly or not.
#
# A token that begins pivots of several types counts for the first of: English translation, third-language translation,
# English associate, third-language associate, word of the source or target language. But one that can begin both an
# English translation and a third-language one counts for neither. As in notebook 02, the raw lens is corrected for what
# a layer says of any word: Σ max(0, p − p_bg), with p_bg the mean over the items.
#
# **Two nulls.** *Matched control sets:* every pivot token is replaced by one of its nearest tokens in corpus frequency
# and norm of the unembedding. This token has the same script, and a space before it if the pivot token has one; it
# starts no word of the concept. *Another concept's pivots:* those of the same direction.
#
# The *middle layers* are those in which the raw lens shows the word at all (1 nat on average), without the last two.
# For Gemma they lie late in the network; what earlier layers hold is not visible to the raw lens.

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
# The same without the correction, on a logarithmic scale, so that the nulls are visible. What a layer says of every
# word is included here too, for pivots and controls alike. The lens reads little before the layers that show the word
# (notebook 02), so the left half says little.

# %%
fig, axes = figures_pivots.layers(curves, "raw", log=True)
figures.save(fig, "04_layers_raw", curves[curves.lens == "raw"], profile, model)

# %%
summary = store.write("pivot_summary", pivot_evidence.mass_summary(mass, n_resamples, seed), None, ["pivot_mass"])
fig, ax = figures_pivots.standing_out(summary)
figures.save(fig, "04_standing_out", summary, profile, model)
display(Markdown(report_pivots.standing_out_sentences(summary)))

# %% [markdown]
# Are answers right more often when a layer names a pivot? And of what the layers give to neither word, how much belongs
# to words that were found in the documents?

# %%
traces = store.read("traces")
traces = traces[(traces.model == model) & (traces.lens == "raw") & (traces.prompt_set == 0)]
answers = store.write("pivot_answers", pivot_evidence.by_answer(mass, scores, n_resamples, seed), None, ["pivot_mass", "scores"])
display(Markdown(report_pivots.answer_sentences(answers, pivot_evidence.found_share(mass, traces, middle, n_resamples, seed))))

# %% [markdown]
# The word shown in full above, now in the layers. An English word in the middle does not mean that the answer is right;
# the line below the figure says whether it is.

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
# In the paper the pivot is whatever word links the two, English or not. Others
# ([arXiv 2402.10588](https://arxiv.org/abs/2402.10588)) hold that the middle layers of such models work in English.
# Directions without English can distinguish the two accounts. Which types carry the mass? And does the English word get
# more than the concept's word in the third language? Types have different numbers of tokens, so each is compared with
# its own control sets, and also per token. Only mass on pivots that were found in documents is used; notebook 03 has
# the English word's part of all that the layers say.

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
# Notebook 03 calls an item *pivot* because of a token that a layer says. If the paper's account is right, such tokens
# should be pivots of the concept in the documents too. They should be so more often than they are pivots of another
# concept of the same direction.

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
# The paper fits $P(y \mid w) \sim k_1 \log n_{both} + k_2\,\mathrm{pivots}$. Frequent words have more of both. So here
# the regression also includes the counts of the two words, the number of target tokens, part of speech and direction;
# errors are clustered by concept. Each coefficient is shown with its null. For the null, we take the part of the
# predictor that word frequency does not explain, and flip its sign at random, concept by concept.
#
# Pivots are measured in three ways. The first two are *support in the documents*, the associations with both words
# summed over the pivots: in documents that hold **one word only** (where both occur, the pair count already covers
# them), and in all documents. The third is mass in the middle layers.

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
# Several rows can be significant by permutation while their interval includes zero; such rows are not counted as found.
# A coefficient is also no proof of a cause. Words that are linked well in the documents may be easy for other reasons,
# and mass in the layers is part of the model's way to its answer.
#
# ## What to conclude

# %%
display(Markdown(report_pivots.conclusion(compared, summary, contrasts, hits, regression, model)))

# %% [markdown]
# **What this can and cannot say.** The corpus is not what the main model was trained on: it says which words *some*
# text links. Many of its aligned texts are mixed documents that hold translations side by side, so translations are
# easier to find here than on the web. Only first tokens are used: a pivot of several tokens is recognized by its
# beginning. A layer can hold what no lens reads, and a lens can show what no later layer uses. Only an intervention can
# decide this; that is the second half of notebook 06.
#
# **Compared with the paper.** We followed its steps: documents of both words, background subtracted, the smaller of the
# two values, fifty words, an association filter, curves over layers, a regression. Differences are named where they
# occur: whole words, NPMI next to the paper's measure, thresholds set on other concepts, types, and a null for each
# claim.
#
# **Next:** [05 · dataset reconstruction](05_dataset_reconstruction.ipynb); notebook 06 removes the pivots from the
# layers. Tables written here: `pivots`, `pivot_coverage`, `pivot_thresholds`, `pivot_rankings`, `pivot_types`,
# `pivot_mass`, `pivot_curves`, `pivot_summary`, `pivot_answers`, `pivot_type_mass`, `pivot_contrasts`, `pivot_labels`,
# `pivot_regression`.
