"""Figures of the pivots. Plot functions take a table and return ``fig, ax``; nothing is computed here."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from .figures import COLORS
from .pivot_layers import GROUPS, MIDDLE
from .task import LANGUAGES

__all__ = [
    "TYPE_COLORS",
    "one_word",
    "one_word_layers",
    "association",
    "rankings",
    "typology",
    "layers",
    "standing_out",
    "types",
    "contrasts",
    "labels",
    "partial",
]

NOTE = "Documents are those of this repository's corpus: a proxy for what the model was trained on."
TYPE_COLORS = {
    "English translation": COLORS[2],
    "English associate": "#8fd0b9",
    "third-language translation": COLORS[3],
    "third-language associate": "#e6c3d6",
    "source-language word": COLORS[0],
    "target-language word": COLORS[1],
    "number/symbol": "#555555",
    "translation in both": "#b8a0c8",
    "noise": "#c8c8c8",
}
LINES = {  # colour, line style, label
    "source": (COLORS[0], "-", "source word"),
    "pivot": (COLORS[2], "-", "pivots found in documents"),
    "target": (COLORS[1], "-", "accepted translations"),
    "control": ("0.35", "--", "matched control sets (band: 95 % of their means)"),
    "shuffled": ("0.35", ":", "another concept's pivots (band: 95 % of their means)"),
}


def _names(table: pd.DataFrame) -> pd.Series:
    return pd.Series(np.where(table.source_lang == "all", "all", table.source_lang + " → " + table.target_lang), index=table.index)


def _note(fig: Figure, label: str = "") -> None:
    fig.supxlabel(f"{label}\n{NOTE}" if label else NOTE, fontsize=8, color="0.35")


def _rows(ax: Axes, order: list[str]) -> None:
    ax.set_yticks(range(len(order)), order)
    ax.set_ylim(len(order) - 0.4, -0.6)


def _points(ax: Axes, rows: pd.DataFrame, y: np.ndarray, value: str, low: str, high: str, **style) -> None:
    error = np.array([rows[value] - rows[low], rows[high] - rows[value]], float)
    ax.errorbar(rows[value], y, xerr=np.nan_to_num(error).clip(0), lw=1.2, ms=4.5, **style)


def one_word(candidates: pd.DataFrame, title: str, n_labels: int = 26) -> tuple[Figure, Axes]:
    """The words found for one concept in one direction: association with the source word against association with the target word.

    Args:
        candidates: pivot, type, kept, npmi_source, npmi_target, rank_ours.
        n_labels: words written out, best first.
    """
    fig, ax = plt.subplots(figsize=(8, 5.6), layout="constrained")
    shown = candidates.sort_values("rank_ours", na_position="last")
    for kind, rows in shown.groupby("type"):
        ax.scatter(
            rows.npmi_source, rows.npmi_target, s=np.where(rows.kept, 26, 12), color=TYPE_COLORS[kind], label=kind, lw=0, zorder=3 if kind != "noise" else 2
        )
    placed: list[tuple[float, float]] = []
    spread = (max(np.ptp(shown.npmi_source), 1e-6), max(np.ptp(shown.npmi_target), 1e-6))
    for row in shown[shown.kept].head(n_labels).itertuples():
        at = np.array([row.npmi_source / spread[0], row.npmi_target / spread[1]])
        # a word whose neighbourhood is taken stays a dot
        if all(abs(at[0] - x) > 0.1 or abs(at[1] - y) > 0.04 for x, y in placed):
            ax.annotate(row.pivot, (row.npmi_source, row.npmi_target), xytext=(4, 2), textcoords="offset points", fontsize=8.5)
            placed.append(tuple(at))
    ax.set(xlabel="NPMI with the source word", ylabel="NPMI with the target word", title=title)
    ax.margins(x=0.1, y=0.06)
    handles = [
        Line2D([], [], marker="o", ls="", color=c, label="not associated enough" if k == "noise" else k) for k, c in TYPE_COLORS.items() if k in set(shown.type)
    ]
    fig.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    return fig, ax


def one_word_layers(mass: pd.DataFrame, title: str) -> tuple[Figure, Axes]:
    """One concept in one direction, layer by layer: source, target and each type of pivot, beyond the background.

    Args:
        mass: rows of ``pivot_mass`` of the concept and direction, corrected lens.
    """
    rows = mass[mass.layer != MIDDLE].sort_values("layer")
    x = rows.layer + 1
    fig, ax = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
    for name in ("source", "target"):
        color, style, label = LINES[name]
        ax.plot(x, rows[f"mass_{name}"], color=color, ls=style, marker="s" if name == "source" else "D", ms=3.5, label=label)
    bottom = np.zeros(len(rows))
    for kind in GROUPS:
        if rows[f"n: {kind}"].max() > 0:
            ax.bar(x, rows[f"mass: {kind}"], bottom=bottom, color=TYPE_COLORS[kind], width=0.75, label=f"{kind} ({int(rows[f'n: {kind}'].max())} tokens)")
            bottom += rows[f"mass: {kind}"].to_numpy()
    ax.plot(x, rows.mass_control, color=LINES["control"][0], ls="--", lw=1, label="matched control sets, mean")
    ax.set(xlabel="after block", ylabel="probability beyond background", title=title, ylim=(0, None))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    fig.legend(*ax.get_legend_handles_labels(), loc="outside right center", fontsize=8)
    return fig, ax


def association(candidates: pd.DataFrame, null: pd.DataFrame, limits: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """The association filter on demonstration concepts: both measures, with the thresholds.

    Args:
        candidates: association, similarity, translation.
        null: the same for mismatched pairs.
        limits: from ``pivots.thresholds``.
    """
    parts = [
        ("mismatched pairs", null, "0.45"),
        ("found, not in the dictionary", candidates[~candidates.translation], COLORS[5]),
        ("found, accepted translation", candidates[candidates.translation], COLORS[2]),
    ]
    fig, axes = plt.subplots(1, 3, figsize=(10, 3.2), sharex=True, sharey=True, layout="constrained")
    limit = limits.set_index("measure").threshold
    for ax, (name, rows, color) in zip(axes, parts):
        ax.scatter(rows.association, rows.similarity, s=3, alpha=0.35, color=color, lw=0, rasterized=True)
        passing = ((rows.association > limit["association"]) & (rows.similarity > limit["similarity"])).mean() if len(rows) else np.nan
        ax.axvline(limit["association"], color="black", lw=0.9)
        ax.axhline(limit["similarity"], color="black", lw=0.9)
        ax.set(title=f"{name}\n{passing:.0%} of {len(rows)} pass", xlabel="association (shrunk NPMI)")
        ax.title.set_fontsize(9.5)
    axes[0].set_ylabel("similarity (cosine)")
    return fig, axes


def rankings(compared: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """The paper's ranking beside ours, by pair of languages with 95 % intervals.

    Args:
        compared: from ``report_pivots.ranking_table``: source_lang, target_lang (and `all`), measure, n, mean, low, high.
    """
    panels = {
        "overlap": ("words in both, of those in either", {"overlap": ("both rankings", "black", "o")}),
        "common": ("share of the first ten\nthat are common words", {"common_paper": ("paper", COLORS[1], "s"), "common_ours": ("ours", COLORS[0], "o")}),
        "translation": (
            "reciprocal rank of the concept's\nword in a third language",
            {"translation_paper": ("paper", COLORS[1], "s"), "translation_ours": ("ours", COLORS[0], "o")},
        ),
    }
    compared = compared.assign(both=_names(compared).str.replace("→", "–"))  # the rankings are those of a pair, not of a direction
    order = list(dict.fromkeys(compared.both))
    fig, axes = plt.subplots(1, 3, figsize=(10, 0.27 * len(order) + 1.5), sharey=True, layout="constrained")
    for ax, (label, lines) in zip(axes, panels.values()):
        for k, (measure, (name, color, marker)) in enumerate(lines.items()):
            rows = compared[compared.measure == measure]
            y = rows.both.map(order.index) + (k - (len(lines) - 1) / 2) * 0.2
            _points(ax, rows, y, "mean", "low", "high", fmt=marker, color=color, label=name)
        ax.set(xlabel=label, xlim=(0, 1))
    _rows(axes[0], order)
    _note(fig)
    handles = [Line2D([], [], marker=m, ls="", color=c, label=n) for n, c, m in (("paper's ranking", COLORS[1], "s"), ("ours", COLORS[0], "o"))]
    fig.legend(handles=handles, loc="outside upper left", ncols=2, fontsize=8)
    return fig, axes


def typology(counts: pd.DataFrame) -> tuple[Figure, Axes]:
    """Kept pivots a concept, by type and direction.

    Args:
        counts: from ``report_pivots.type_counts``: source_lang, target_lang, type, n_concepts, per_concept.
    """
    order = list(dict.fromkeys(_names(counts)))
    named = [f"{o}  (n = {counts.n_concepts[_names(counts) == o].iloc[0]})" for o in order]
    fig, ax = plt.subplots(figsize=(8, 0.29 * len(order) + 1.7), layout="constrained")
    left = np.zeros(len(order))
    for kind in GROUPS:
        rows = counts[counts.type == kind].set_index(_names(counts[counts.type == kind])).per_concept.reindex(order).fillna(0)
        ax.barh(range(len(order)), rows, left=left, color=TYPE_COLORS[kind], height=0.8)
        left += rows.to_numpy()
    ax.set(xlabel="pivots a concept (mean over concepts with enough documents)")
    _rows(ax, named)
    fig.legend(handles=[Patch(color=TYPE_COLORS[k], label=k) for k in GROUPS], loc="outside upper left", ncols=3, fontsize=8)
    return fig, ax


def layers(curves: pd.DataFrame, lens: str = "corrected", log: bool = False) -> tuple[Figure, np.ndarray]:
    """Masses by layer, a panel a direction, with 95 % intervals of the three sets and bands of the two nulls.

    Args:
        curves: from ``pivot_evidence.mass_curves``.
        log: logarithmic, so that the nulls can be seen.
    """
    curves = curves[(curves.lens == lens) & (curves.layer != MIDDLE)]
    order = [(a, b) for a in LANGUAGES for b in LANGUAGES if ((curves.source_lang == a) & (curves.target_lang == b)).any()]
    columns = min(3, len(order))
    fig, axes = plt.subplots(
        -(-len(order) // columns), columns, figsize=(10, 2.1 * -(-len(order) // columns) + 0.8), sharex=True, sharey=True, layout="constrained", squeeze=False
    )
    for ax in axes.flat[len(order) :]:
        ax.set_visible(False)
    if log:
        axes.flat[0].set_yscale("log")
        axes.flat[0].set_ylim(1e-6, 1.5)
        curves = curves.assign(**curves[["mean", "low", "high"]].clip(lower=1e-9))
    for ax, (a, b) in zip(axes.flat, order):
        part = curves[(curves.source_lang == a) & (curves.target_lang == b)]
        for measure, (color, style, label) in LINES.items():
            rows = part[part.measure == measure].sort_values("layer")
            ax.plot(rows.layer + 1, rows["mean"], color=color, ls=style, lw=1.6, label=label)
            ax.fill_between(rows.layer + 1, rows.low, rows.high, color=color, alpha=0.2, lw=0)
        ax.set_title(f"{LANGUAGES[a]} → {LANGUAGES[b]}  (n = {part.n.max()})", fontsize=9.5)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    fig.supylabel("summed probability" + (" beyond background" if lens == "corrected" else ""), fontsize=9.5)
    _note(fig, "after block")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper left", ncols=3, fontsize=8)
    return fig, axes


def standing_out(summary: pd.DataFrame) -> tuple[Figure, Axes]:
    """How often pivots stand out from both nulls in the middle layers, by direction.

    Args:
        summary: from ``pivot_evidence.mass_summary``.
    """
    order = [f"{o}  (n = {n})" for o, n in zip(_names(summary), summary.n_cases)]
    y = np.arange(len(order))
    fig, ax = plt.subplots(figsize=(7, 0.3 * len(order) + 1.4), layout="constrained")
    nulls = {"above": ("matched control sets", COLORS[2], "o"), "above_shuffled": ("other concepts' pivots", COLORS[4], "s")}
    for k, (value, (label, color, marker)) in enumerate(nulls.items()):
        _points(ax, summary, y + (k - 0.5) * 0.24, value, f"{value}_low", f"{value}_high", fmt=marker, color=color, label=label)
    ax.axvline(0.05, color="0.5", ls="--", lw=1)
    ax.set(xlabel="share of cases above 95 % of the null (dashed: by chance)", xlim=(-0.02, 1.02))
    _rows(ax, order)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=8, title="above 95 % of the", title_fontsize=8)
    return fig, ax


def types(table: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """Which types carry the mass in the middle layers, a panel a direction; grey bars hold 95 % of the control sets' means.

    Args:
        table: from ``pivot_evidence.type_mass``, the directions to be drawn.
    """
    order = list(dict.fromkeys(_names(table)))
    kinds = [k for k in GROUPS if table[table.type == k].n_with.max() > 0]
    columns = min(3, len(order))
    fig, axes = plt.subplots(
        -(-len(order) // columns), columns, figsize=(10, 2.5 * -(-len(order) // columns) + 0.4), sharex=True, sharey=True, layout="constrained", squeeze=False
    )
    for ax in axes.flat[len(order) :]:
        ax.set_visible(False)
    for ax, name in zip(axes.flat, order):
        rows = table[(_names(table) == name) & table.type.isin(kinds)]
        y = rows.type.map(kinds.index).to_numpy()
        ax.barh(y, rows.control_high - rows.control_low, left=rows.control_low, color="0.75", height=0.8, zorder=1)
        for (_, row), at in zip(rows.iterrows(), y):
            _points(ax, row.to_frame().T, [at], "mass", "low", "high", fmt="o", color=TYPE_COLORS[row.type], zorder=3, mec="black", mew=0.5)
        ax.set_title(f"{name}  (n = {rows.n.max()})", fontsize=9.5)
        ax.axvline(0, color="0.8", lw=0.8, zorder=0)
    axes.flat[0].set_xscale("symlog", linthresh=1e-4)
    axes.flat[0].set_xlim(-1e-4, 1)
    _rows(axes.flat[0], kinds)
    _note(fig, "probability beyond background, mean of the middle layers, logarithmic from 0.0001 (grey: 95 % of matched control sets' means)")
    return fig, axes


def contrasts(table: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """English translations against other types, directions without English: whole mass, and mass per token.

    Args:
        table: from ``pivot_evidence.english_or_semantic``.
    """
    order = list(dict.fromkeys(_names(table)))
    names = list(dict.fromkeys(table.contrast))
    fig, axes = plt.subplots(1, 2, figsize=(10, 0.34 * len(order) + 1.5), sharey=True, layout="constrained")
    panels = (("difference", "low", "high", "whole mass beyond control"), ("difference_each", "each_low", "each_high", "the same per token"))
    for ax, (value, low, high, label) in zip(axes, panels):
        for k, (name, marker, color) in enumerate(zip(names, "os^", (COLORS[2], COLORS[3], COLORS[0]))):
            rows = table[table.contrast == name]
            _points(ax, rows, _names(rows).map(order.index) + (k - 1) * 0.2, value, low, high, fmt=marker, color=color, label=name)
        ax.axvline(0, color="0.5", ls="--", lw=1)
        ax.set_xlabel(label)
    _rows(axes[0], order)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=1, fontsize=8)
    return fig, axes


def labels(hits: pd.DataFrame, names: dict[str, str]) -> tuple[Figure, np.ndarray]:
    """Items called pivot whose token is among the pivots found in documents, by rule and direction, beside another concept's.

    Args:
        hits: from ``pivot_evidence.label_hits``.
        names: title of each rule.
    """
    order = [o for o in dict.fromkeys(_names(hits))]
    fig, axes = plt.subplots(1, len(names), figsize=(10, 0.27 * len(order) + 1.5), sharey=True, layout="constrained")
    for ax, (rule, title) in zip(axes, names.items()):
        rows = hits[hits.rule == rule]
        y = _names(rows).map(order.index)
        _points(ax, rows, y, "share", "low", "high", fmt="o", color=COLORS[2], label="the concept's own pivots")
        ax.plot(rows.chance, y, "|", color="black", ms=9, mew=1.6, label="another concept's")
        ax.set(title=title, xlabel="share of the items called pivot", xlim=(-0.03, 1.22), xticks=[0, 0.5, 1])
        for at, n in zip(y, rows.n):
            ax.annotate(f"{n}", (1.2, at), ha="right", va="center", fontsize=7, color="0.45")
    _rows(axes[0], order)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=8)
    _note(fig, "small numbers: items")
    return fig, axes


def partial(bins: pd.DataFrame, names: dict[tuple[str, str], str], ylabel: str) -> tuple[Figure, np.ndarray]:
    """Added-variable plots: outcome against each predictor, all others held fixed.

    Args:
        bins: from ``pivot_evidence.partial_effect``.
        names: (model, term) -> label of the panel, in the order of the panels.
    """
    shown = [key for key in names if ((bins.model == key[0]) & (bins.term == key[1])).any()]
    fig, axes = plt.subplots(1, len(shown), figsize=(2.6 * len(shown) + 0.6, 3), sharey=True, layout="constrained", squeeze=False)
    for ax, (model, term) in zip(axes.flat, shown):
        rows = bins[(bins.model == model) & (bins.term == term)]
        ax.errorbar(rows.x, rows.y, yerr=[rows.y - rows.low, rows.high - rows.y], fmt="o-", ms=4, lw=1.2, color=COLORS[1])
        ax.axhline(0, color="0.6", ls="--", lw=1)
        ax.set_title(names[model, term], fontsize=9)
    axes[0, 0].set_ylabel(ylabel)
    _note(fig, "predictor, all others held fixed (standard deviations)")
    return fig, axes
