"""Figures of layer tracing. Plot functions take a table and return ``fig, ax``; nothing is computed here."""

from __future__ import annotations

import unicodedata

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from .figures import COLORS, drawable
from .report import short_name
from .task import LANGUAGES

__all__ = ["WHOSE", "one_word", "information", "constant_tokens", "shares", "english", "winners", "lens_quality"]

WHOSE = {"source": COLORS[0], "target": COLORS[1], "English": COLORS[2], "another language": COLORS[3], "none of these": "#8c8c8c"}


def _mix(color: str, strength: float) -> tuple[float, float, float]:
    """A colour on white, from 0 (white) to 1."""
    return tuple(1 - strength * (1 - c) for c in to_rgb(color))


def _readable(token: str, width: int = 9) -> str:
    """A token as a cell can show it: a space is a low line, a script that no font here has is named."""
    text = token.replace(" ", "␣").replace("\n", "↵").replace("\ufffd", "[byte]")
    missing = [c for c in text if ord(c) not in drawable()]
    if missing:
        return f"[{unicodedata.name(missing[0], 'symbol').split()[0].title()}]"
    return text if len(text) <= width else text[: width - 1] + "…"


def one_word(followed: pd.DataFrame, min_information: float, title: str) -> tuple[Figure, Axes]:
    """One concept through the layers: a row a direction, a column a layer, in each cell the most informative token.

    Args:
        followed: direction, layer, token, whose, information (nats).
        min_information: nats below which a cell is drawn pale: the layer does not tell the word yet.
    """
    directions, layers = list(dict.fromkeys(followed.direction)), sorted(followed.layer.unique())
    top = max(followed.information.max(), 1e-9)
    fig, ax = plt.subplots(figsize=(0.78 * len(layers) + 1.9, 0.4 * len(directions) + 1.3), layout="constrained")
    for row in followed.itertuples():
        x, y = layers.index(row.layer), directions.index(row.direction)
        known = row.information >= min_information
        strength = 0.25 + 0.65 * min(row.information / top, 1) if known else 0.0
        face = _mix(WHOSE[row.whose], strength)
        ax.add_patch(plt.Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=face, edgecolor="white", lw=1.2))
        luminance = 0.3 * face[0] + 0.59 * face[1] + 0.11 * face[2]
        ink = "0.7" if not known else "white" if luminance < 0.5 else "black"
        ax.text(x, y, _readable(row.token), ha="center", va="center", fontsize=7, color=ink, clip_on=True)
    ax.set(
        xlim=(-0.5, len(layers) - 0.5),
        ylim=(len(directions) - 0.5, -0.5),
        xticks=range(len(layers)),
        yticks=range(len(directions)),
        xlabel="after block",
        title=title,
    )
    ax.set_xticklabels([la + 1 for la in layers])
    ax.set_yticklabels(directions)
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
    handles = [Patch(color=_mix(c, 0.8), label=name) for name, c in WHOSE.items()]
    handles.append(Patch(facecolor="white", edgecolor="0.7", label=f"below {min_information:g} nat"))
    fig.legend(handles=handles, loc="outside lower center", ncols=len(handles), title="the token starts a word of the concept in", title_fontsize=8)
    return fig, ax


def _band(ax: Axes, rows: pd.DataFrame, color, **style) -> None:
    if rows.empty:
        return
    rows = rows.sort_values("layer")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.plot(rows.layer + 1, rows["mean"], color=color, **style)
    ax.fill_between(rows.layer + 1, rows.low, rows.high, color=color, alpha=0.18, lw=0)


def information(means: pd.DataFrame, ceilings: dict[tuple[str, str], float]) -> tuple[Figure, np.ndarray]:
    """Information by layer, a panel a model, a line a target language (mean over directions) with its 95 % band.

    Args:
        means: model, target_lang, layer, mean, low, high.
        ceilings: for each (model, target language), the most a layer could tell, nats; dashed.
    """
    models = list(dict.fromkeys(means.model))
    fig, axes = plt.subplots(1, len(models), figsize=(3.9 * len(models), 3), sharey=True, layout="constrained", squeeze=False)
    for ax, model in zip(axes[0], models):
        for color, marker, (la, name) in zip(COLORS, "os^D", LANGUAGES.items()):
            rows = means[(means.model == model) & (means.target_lang == la)]
            if len(rows):
                _band(ax, rows, color, label=f"into {name}", marker=marker, ms=3.5)
                ax.axhline(ceilings[model, la], color=color, ls="--", lw=1, alpha=0.7)
        top = max(v for (m, _), v in ceilings.items() if m == model)
        ax.annotate("maximum", (0.02, top), xycoords=("axes fraction", "data"), xytext=(0, 3), textcoords="offset points", fontsize=8, color="0.4")
        ax.set(xlabel="after block", title=short_name(model))
    axes[0, 0].set_ylabel("information on the word (nats)")
    axes[0, 0].legend(fontsize=8, loc="center left")
    return fig, axes


def constant_tokens(table: pd.DataFrame) -> tuple[Figure, Axes]:
    """Share of items whose top token is the layer's commonest one, and where the most confident layer lies.

    Args:
        table: layer, token, share, top1_prob, most_confident; of one model and lens.
    """
    fig, ax = plt.subplots(figsize=(8, 2.9), layout="constrained")
    ax.bar(table.layer + 1, table.share, color=COLORS[5], width=0.8, label="items whose top token is the layer's commonest (named where a tenth or more)")
    ax.plot(table.layer + 1, table.top1_prob, color="black", marker="o", ms=4, lw=1, label="mean probability of the top token")
    ax.plot(table.layer + 1, table.most_confident, color=COLORS[1], marker="s", ms=4, lw=1, label="items whose most confident layer this is")
    for row in table[table.share >= 0.1].itertuples():
        ax.annotate(_readable(row.token), (row.layer + 1, max(row.share, row.top1_prob)), xytext=(-3, 4), textcoords="offset points", rotation=35, fontsize=7.5)
    ax.set(xlabel="after block", ylabel="share", ylim=(0, 1.25), xticks=table.layer + 1, yticks=np.linspace(0, 1, 6))
    fig.legend(loc="outside upper left", fontsize=8)
    return fig, ax


LINES = {
    "p_source": ("source word", COLORS[0], "-", "o"),
    "p_accepted": ("an accepted translation", COLORS[1], "-", "s"),
    "p_en": ("English word", COLORS[2], "--", "^"),
    "p_third": ("another language", COLORS[3], "-.", "D"),
    "p_control_accepted": ("translation of another concept", COLORS[1], ":", ""),
    "p_control_en": ("English word of another concept", COLORS[2], ":", ""),
}


def shares(means: pd.DataFrame, first_layer: int = 0) -> tuple[Figure, np.ndarray]:
    """Probability of the concept's words by layer, a panel a direction (rows: from, columns: to), with controls dotted.

    Args:
        means: source_lang, target_lang, layer, measure, mean, low, high; of one model and lens.
        first_layer: layers before it are not drawn.
    """
    order = list(LANGUAGES)
    fig, axes = plt.subplots(4, 4, figsize=(10, 7.2), sharex=True, sharey=True, layout="constrained")
    for i, a in enumerate(order):
        for j, b in enumerate(order):
            ax = axes[i, j]
            part = means[(means.source_lang == a) & (means.target_lang == b) & (means.layer >= first_layer)]
            if part.empty:
                ax.set_visible(False)
                continue
            for measure, (_, color, style, marker) in LINES.items():
                rows = part[part.measure == measure]
                if measure.endswith("_en") and "en" in (a, b):
                    continue  # there English is the source or the target
                if len(rows):
                    _band(ax, rows, color, ls=style, lw=1.3, marker=marker, ms=3, markevery=2)
            ax.set_title(f"{LANGUAGES[a]} → {LANGUAGES[b]}", fontsize=9)
            ax.set_ylim(0, None)
    for ax in axes.flat:
        ax.tick_params(labelleft=True, labelbottom=True, labelsize=7)
    for column in axes.T:
        for ax in [ax for ax in column if ax.get_visible()][-1:]:
            ax.set_xlabel("after block", fontsize=8)
    fig.supylabel("probability that the next token starts a word of the concept (mean, 95 % band)", fontsize=9)
    handles = [Line2D([], [], color=c, ls=s, marker=m, ms=4, label=name) for name, c, s, m in LINES.values()]
    fig.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8)
    return fig, axes


def english(table: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """How often English leads before the answer, by direction, a panel a lens, against the source, the fourth language and another concept's English word.

    Args:
        table: lens, source_lang, target_lang, measure, n, mean, low, high; of one model.
    """
    table = table.assign(direction=table.source_lang.map(LANGUAGES) + " → " + table.target_lang.map(LANGUAGES))
    wanted = {"source_leads": ("the source word", COLORS[0], "s"), "english_leads": ("its English word", COLORS[2], "o")}
    wanted |= {"third_leads": ("its word in the fourth language", COLORS[3], "D"), "control_leads": ("another concept's English word", "0.45", "x")}
    leads = table[table.measure == "english_leads"]
    directions, lenses = list(dict.fromkeys(leads.direction)), list(dict.fromkeys(leads.lens))
    fig, axes = plt.subplots(1, len(lenses), figsize=(1.6 + 3.9 * len(lenses), 0.42 * len(directions) + 1.5), sharey=True, layout="constrained", squeeze=False)
    for ax, lens in zip(axes[0], lenses):
        for k, (measure, (label, color, marker)) in enumerate(wanted.items()):
            rows = table[(table.measure == measure) & (table.lens == lens)].set_index("direction").reindex(directions)
            y = np.arange(len(directions)) + (k - 1.5) * 0.18
            ax.errorbar(rows["mean"], y, xerr=[rows["mean"] - rows.low, rows.high - rows["mean"]], fmt=marker, color=color, ms=5, lw=1.3, label=label)
        ax.set(xlim=(-0.02, 1.02), title=f"{lens} lens")
    n = leads[leads.lens == lenses[0]].set_index("direction").n
    axes[0, 0].set_yticks(range(len(directions)), [f"{d} (n = {n[d]})" for d in directions])
    axes[0, 0].invert_yaxis()
    fig.supxlabel("share of correctly answered words where it leads in some informative layer before the last", fontsize=10)
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=4, fontsize=8)
    return fig, axes


def winners(curves: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """Share of correctly answered words for which the target has won by a layer; a panel a target language, a line a source.

    Args:
        curves: source_lang, target_lang, layer, n, share; of one model and lens.
    """
    targets = [la for la in LANGUAGES if (curves.target_lang == la).any()]
    fig, axes = plt.subplots(1, len(targets), figsize=(2.5 * len(targets), 2.7), sharey=True, layout="constrained", squeeze=False)
    for ax, target in zip(axes[0], targets):
        for color, style, source in zip(COLORS, ("-", "--", "-.", ":"), LANGUAGES):
            rows = curves[(curves.source_lang == source) & (curves.target_lang == target)]
            if len(rows):
                ax.xaxis.set_major_locator(MaxNLocator(integer=True))
                ax.step(rows.layer + 1, rows.share, where="post", color=color, ls=style, label=f"n = {rows.n.iloc[0]}")
        ax.set(title=f"into {LANGUAGES[target]}", xlabel="after block", ylim=(0, 1.02))
        ax.legend(fontsize=7, loc="upper left", handlelength=1.6)
    axes[0, 0].set_ylabel("words won by then")
    fig.legend(
        handles=[Line2D([], [], color=c, ls=s, label=f"from {n}") for c, s, n in zip(COLORS, ("-", "--", "-.", ":"), LANGUAGES.values())],
        loc="outside lower center",
        ncols=4,
        fontsize=8,
    )
    return fig, axes


def lens_quality(divergence: pd.DataFrame, english_share: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """KL to the model's output on held-out text and where answers are given, raw and ridge lens; and what both say of English.

    Args:
        divergence: lens, positions (`text`, `answers`), layer, mean, low, high (KL, nats).
        english_share: lens, layer, measure (`p_en`, `p_control_en`), mean, low, high.
    """
    fig, axes = plt.subplots(1, 3, figsize=(11, 3), layout="constrained")
    axes[1].sharey(axes[0])
    styles = {"raw": (COLORS[0], "-", "raw lens"), "ridge": (COLORS[1], "--", "ridge lens")}
    for lens, (color, style, label) in styles.items():
        for ax, positions in zip(axes, ("text", "answers")):
            _band(ax, divergence[(divergence.lens == lens) & (divergence.positions == positions)], color, ls=style, label=label, marker="o", ms=3)
        for measure, name in (("p_en", ""), ("p_control_en", ", another concept")):
            rows = english_share[(english_share.lens == lens) & (english_share.measure == measure)]
            _band(axes[2], rows, color if not name else "0.5", ls=style, label=label + name)
    # linear below one nat, so that zero at the last layer can be drawn
    axes[0].set(xlabel="after block", ylabel="KL(model ‖ lens), nats", title="Held-out text", ylim=(0, None))
    axes[0].set_yscale("symlog", linthresh=1, linscale=0.6)
    axes[0].set_yticks([0, 1, 10, 100], ["0", "1", "10", "100"])
    axes[1].set(xlabel="after block", title="Where answers are given")
    axes[2].set(xlabel="after block", ylabel="P(English word)", title="Directions without English", ylim=(0, None))
    for ax in axes:
        if ax.lines:  # without a direction that leaves English out, the right one stays empty
            ax.legend(fontsize=8)
    return fig, axes
