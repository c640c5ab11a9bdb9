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
#     reads: [lexicon, corpus, parallel, known_corpus, prompts, scores]
#     writes: [traces, layer_constants, layer_means, milestones, lens_divergence]
# ---

# %% [markdown]
# # 02 · What would each layer say?
#
# **The claim tested here:** while a model translates a word, its middle layers hold a token that is neither the word
# nor its translation, often an English one. The translation wins only later (He et al.,
# [arXiv 2505.16385](https://arxiv.org/abs/2505.16385), §4).
#
# In these notebooks, the *middle layers* are the layers in which the lens shows which word is translated at all,
# without the last two. In Gemma they lie late in the network; what earlier layers hold is not visible to the raw lens.
#
# The *logit lens* takes the residual stream after a block, at the position where the next token should be the
# translation. It applies the model's own last norm and unembedding to it, as if the network ended there. The result is
# the token that the layer would give. This notebook follows one word through all layers, then all words of notebook 01.
# Then it asks how far such a lens can be trusted.

# %% [markdown]
# ## Parameters
#
# `followed_concept` is the word of the first figure. It can be any of the traced concepts; the default was chosen
# because its path is easy to read. If that concept was not drawn, another is shown, and named. The parameters for texts
# and sentences belong to the second lens.

# %% tags=["parameters"]
profile = "laptop"
model = "packaged:gemma-3-270m"
comparison_model = "packaged:smollm2-135m"
known_model = "known-corpus"
followed_concept = "birth.n"
n_prompt_sets = 2
min_information = 1.0
n_lens_texts = 400
n_lens_sentences = 60
n_lens_answers = 16
lens_stride = 4
seed = 20251
n_resamples = 2000
device = "auto"
dtype = "auto"

# %%
import pandas as pd
from IPython.display import Markdown, display

from semantic_pivots import artifacts, corpus, figures, figures_layers, layers, lens, models, report_layers, task

store = artifacts.Store(profile, "02_layer_tracing", artifacts.literals(globals()))
figures.use_style()
lexicon = task.read_lexicon(artifacts.ROOT / "data" / "lexicon.parquet")
scores, prompts = store.read("scores"), store.read("prompts")
prompts = prompts[prompts.prompt_set < n_prompt_sets]

# %% [markdown]
# ## Tracing
#
# One pass through the model gives the residual streams of all layers. All items of a direction share the
# demonstrations, so these are computed once. Some tokenizers put a bare space token before a Chinese or Japanese word.
# In that case the space token is given to the model, and the position after it is read.
#
# **Background.** Many tokens that the raw lens shows are the same whatever word the model reads. To correct for this,
# let $p_{bg}(t)$ be the mean of $p(t)$ over the items at that layer. A token then matters by
# $p(t)\,\log\,(p(t)/p_{bg}(t))$, and the token that *matters most* is the one with the largest value. The sum over the
# vocabulary is the *information* (in nats) that the layer holds on which word is being translated. It lies between 0
# and the logarithm of the number of items.

# %%
lm = models.load(model, device, dtype)
facts = [lm.facts()]
main_prompts = task.read_prompts(prompts, model)
traces = [lens.trace_pairs(lm, lexicon, scores[scores.model == model], main_prompts, store)]

# %% [markdown]
# **A second lens.** Early layers may hold the same content in other directions of the space, and a raw lens would
# misread them. So a linear map from each layer to the last one is fitted in closed form on running text of the corpus,
# with equally many texts in each language (ridge regression, after Din et al.,
# [arXiv 2303.09435](https://arxiv.org/abs/2303.09435)). This is the *ridge lens*. The end of this notebook tests it on
# sentences that were not used for the fit. A tuned lens (Belrose et al.,
# [arXiv 2303.08112](https://arxiv.org/abs/2303.08112)) learns such maps by gradient steps instead; it is not used here.
# `.venv/bin/python tests/bench.py lens` compares the two after a short training.

# %%
ridge = lens.fit_ridge_lens(lm, corpus.sample_texts(n_lens_texts, seed))
first_set = {pair: sets[:1] for pair, sets in main_prompts.items()}
traces.append(lens.trace_pairs(lm, lexicon, scores[scores.model == model], first_set, store, ridge))

# %%
sentences = pd.read_parquet(artifacts.ROOT / "data" / "heldout" / "parallel.parquet").sample(max(1, n_lens_sentences // 4), random_state=seed)
sentences = sentences[list(task.LANGUAGES)].to_numpy().ravel().tolist()
divergence = lens.lens_divergence(lm, lens.text_residuals(lm, sentences, lens_stride), ridge, len(sentences)).assign(positions="text")
asked = scores[scores.model == model].groupby(["source_lang", "target_lang"], sort=False).head(n_lens_answers)
at_answers = lens.lens_divergence(lm, lens.answer_states(lm, asked, main_prompts), ridge, len(main_prompts)).assign(positions="answers")
del lm

# %% [markdown]
# Two other models are traced by the raw lens alone: the second model (SmolLM2 by default) and the small model whose
# corpus is known. The figures below show the main model; the others appear where the text says so. Notebook 03 labels
# the traces of all three.

# %%
for other in (comparison_model, known_model):
    lm = models.load(other, device, dtype)
    facts.append(lm.facts())
    traces.append(lens.trace_pairs(lm, lexicon, scores[scores.model == other], task.read_prompts(prompts, other), store))
    del lm
traces = store.write("traces", pd.concat(traces, ignore_index=True), facts, ["lexicon", "corpus", "prompts", "scores"])
raw = traces[(traces.model == model) & (traces.lens == "raw")]
display(Markdown(report_layers.blank_sentence(layers.blank_answers(raw), model)))

# %% [markdown]
# ## One word
#
# The figure shows the same concept in all directions, from three blocks before the first layer that shows the word.
# Each cell holds the token that matters most after that block. The hue says whose word the token starts; its strength
# says how much information the layer holds. White cells hold less than `min_information`.

# %%
known = raw.concept_id.unique()
concept = followed_concept if followed_concept in known else sorted(known)[0]
if concept != followed_concept:
    display(Markdown(f"`{followed_concept}` is not among the {len(known)} traced concepts; this is `{concept}`."))
words = " · ".join(lexicon.loc[concept, list(task.LANGUAGES)])
first_informative = layers.first_informative(raw, min_information)
path = layers.followed(raw, concept)
path = path[path.layer >= max((first_informative or 0) - 3, 0)]
fig, ax = figures_layers.one_word(path, min_information, words)
figures.save(fig, "02_one_word", path, profile, model)

# %% [markdown]
# Read a row from left to right; the last block is the model's answer, right or wrong. A row that turns from the color
# of the source, or of English, to that of the target shows the concept before the word that was asked for.
#
# One word proves nothing. From here on, all words are counted.

# %% [markdown]
# ## From which layer on does the lens show the word?
#
# Lines are means over concepts and directions into a language; bands are 95 % bootstrap intervals over concepts. The
# dashed line is the maximum: the logarithm of the number of words compared, reached by a layer that identifies every
# word. The maximum is lower for targets before which the tokenizer sometimes puts a bare space token, because words are
# compared only with words read at the same token.

# %%
plain = layers.with_third(traces[traces.lens == "raw"])
by_target = layers.by_layer(plain, ["information"], ["model", "target_lang"], n_resamples, seed)
fig, axes = figures_layers.information(by_target, layers.ceilings(plain, ["model", "target_lang"]))
figures.save(fig, "02_information", by_target, profile)

# %%
pooled_information = layers.by_layer(plain, ["information"], ["model"], n_resamples, seed)
display(Markdown(report_layers.information_sentences(pooled_information, layers.ceilings(plain, ["model"]), min_information)))

# %% [markdown]
# This measure counts only what the lens can *show*. A layer can hold the word in a form that the unembedding does not
# read. The second lens below tests that.
#
# ## Why a naive rule fails
#
# The authors' released code distinguishes the two behaviors by one layer: of all layers, the one whose top token has
# the highest probability. (The paper's text uses intermediate layers only; notebook 03 has both.) Which layer is that,
# and what does it say? This section shows the rule as released; our corrected rule comes in notebook 03.

# %%
constant = store.write("layer_constants", layers.constants(raw), facts, ["traces"])
fig, ax = figures_layers.constant_tokens(constant)
figures.save(fig, "02_constant_tokens", constant, profile, model)

# %%
display(Markdown(report_layers.constants_sentences(constant, first_informative)))

# %% [markdown]
# ## Whose words do the layers name?
#
# For every direction, the figure shows the probability that the next token starts the source word, an accepted
# translation, the concept's English word, or its word in the *fourth language*, the one that is neither source, target
# nor English. In directions with English, two languages fit this description, and their probabilities are added. Dotted
# lines are the control: the same probabilities for *another* concept of the set, that is, what a layer says when the
# concept is absent.
#
# Items are left out whose source and target word can start with the same token, or of which a word begins with a part
# of a character. A token that starts the word in two languages counts for neither. Chinese and Japanese lose most by
# this, since they share characters: where one of them is the fourth language, its line is too low.

# %%
measures = ["information", *layers.SHARES]
layer_means = layers.by_layer(layers.with_third(traces[layers.usable(traces)]), measures, None, n_resamples, seed)
whole = pooled_information.assign(lens="raw", source_lang="all", target_lang="all")
store.write("layer_means", pd.concat([layer_means, whole], ignore_index=True), facts, ["traces"])
own = layer_means[(layer_means.model == model) & (layer_means.lens == "raw")]
fig, axes = figures_layers.shares(own, max((first_informative or 0) - 2, 0))
figures.save(fig, "02_shares", own[own.measure.isin(layers.SHARES)], profile, model)
display(Markdown(report_layers.control_sentence(own)))

# %% [markdown]
# Read the blue line first. A layer that distinguishes the word may simply repeat it: the *source* word. Only what
# exceeds that line and the other lines is evidence for a pivot.

# %% [markdown]
# ## Does English lead on the way?
#
# A layer is *informative* if it holds at least `min_information` nats on the word. English *leads* in a correctly
# answered word if some informative layer before the last gives more probability to the concept's English word than to
# the source word and to all accepted translations. How often does this happen in directions without English? (An answer
# is right here when the model's top token starts an accepted translation; a bare space before a Chinese or Japanese
# word counts as wrong.)
#
# There are three comparisons:
#
# * the *source* word itself, where it is more probable than the English word and the translations;
# * the concept's word in the *fourth* language: if any language would do, it leads as often as English;
# * another concept's English word, the floor.
#
# Where Chinese or Japanese is the fourth language, this favors English, since tokens that the two share are dropped.
# The two directions between Chinese and Japanese, whose fourth language is French, do not have this flaw. Only the
# first prompt set is used, so that both lenses see the same.

# %%
items = layers.milestones(traces[traces.prompt_set == 0], min_information)
by_direction = layers.milestone_table(items, None, n_resamples, seed)
whole = layers.milestone_table(items, ["model", "lens"], n_resamples, seed).assign(source_lang="all", target_lang="all")
milestones = store.write("milestones", pd.concat([by_direction, whole], ignore_index=True), facts, ["traces"])
chosen = by_direction[by_direction.model == model]
if (chosen.measure == "english_leads").any():
    fig, ax = figures_layers.english(chosen)
    figures.save(fig, "02_english_leads", chosen, profile, model)

# %%
display(Markdown(report_layers.english_sentences(whole, by_direction)))

# %% [markdown]
# ## When does the target win?
#
# The target has won after the first block from which the token that matters most starts an accepted translation in
# every later block too; these blocks must also hold at least `min_information`. Only correctly answered words that are
# not left out above are counted, so nearly all curves end at one whatever the model does. The figure uses the raw lens.
# The text below it has both lenses, since they need not agree.

# %%
curves = layers.win_curves(items[(items.model == model) & (items.lens == "raw")], raw.layer.nunique())
if len(curves):
    fig, axes = figures_layers.winners(curves)
    figures.save(fig, "02_target_wins", curves, profile, model)

# %%
gaps = layers.target_gap(items[items.model == model], n_resamples, seed)
display(Markdown(report_layers.winner_sentences(chosen, gaps, raw.layer.nunique())))

# %% [markdown]
# ## Can the lens be trusted?
#
# Left: the distance between what the lens says and the model's own final output, on held-out sentences in four
# languages. Middle: the same at the answer positions, the only positions that this notebook reads (the same
# `n_lens_answers` concepts in every direction). Right: what both lenses say of English in the directions without
# English; the grey control lies at zero.
#
# The two lenses ask different questions. The raw lens reads a layer as if it were the last. The ridge lens reads what
# can already be predicted of the last layer's state, so it misses what later layers will overwrite. A result that both
# show does not depend on the lens. Where they differ, as they may for English, the raw lens alone is no proof.

# %%
# clusters: the four languages of a sentence; the answers of one direction
clustered = [divergence.assign(concept_id=divergence.text // len(task.LANGUAGES)), at_answers.assign(concept_id=at_answers.text)]
divergence = store.write("lens_divergence", pd.concat(clustered, ignore_index=True), facts[:1], ["corpus", "parallel", "prompts", "scores"])
kl = layers.by_layer(divergence, ["kl"], ["lens", "positions"], n_resamples, seed)
gains = layers.by_layer(layers.lens_gains(divergence), ["gain"], ["positions"], n_resamples, seed)
third = layers.with_third(traces[(traces.model == model) & (traces.prompt_set == 0) & layers.usable(traces)])
third = third[(third.source_lang != "en") & (third.target_lang != "en")]
english = layers.by_layer(third, ["p_en", "p_control_en"], ["lens"], n_resamples, seed)
fig, axes = figures_layers.lens_quality(kl, english)
figures.save(fig, "02_lens_quality", pd.concat([kl, english]), profile, model)

# %%
display(Markdown(report_layers.lens_sentences(kl, gains, divergence, first_informative or 0)))

# %% [markdown]
# ## What to conclude

# %%
display(Markdown(report_layers.conclusion(store.read("layer_means"), milestones, constant, model, min_information)))

# %% [markdown]
# **Compared with the paper.** The paper traces the raw lens and takes tokens at face value. This notebook adds the
# background correction, a control concept for every share, intervals over concepts, and a second lens. The figures do
# *not* show cause: that a layer could say an English word does not prove that the answer depends on it. Interventions
# are in the second half of notebook 06.
#
# **Next:** [03 · behavior attribution](03_behavior_attribution.ipynb) turns these traces into the two behaviors and
# asks whether co-occurrence in a corpus explains them. Tables written here: `traces`, `layer_constants`, `layer_means`,
# `milestones`, `lens_divergence`.
