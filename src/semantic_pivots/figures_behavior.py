"""Figures of behavior and attribution. Plot functions take a table and return ``fig, ax``; nothing is computed here."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .figures import COLORS
from .task import LANGUAGES

__all__ = ["LABELS", "label_bars", "pivot_languages", "mass", "meetings", "scatter", "correlations", "aucs", "roc", "replication", "curve", "OWN_NOTE"]

LABELS = {"cooccurrence": ("co-occurrence", COLORS[0]), "pivot": ("pivot", COLORS[1]), "wrong": ("wrong", "#bdbdbd"), "excluded": ("excluded", "#e6e6e6")}
RULES = {"released": "labels: released", "paper": "labels: paper's text", "robust": "labels: robust (ours)"}
OWN_NOTE = "Counts are of the documents the model was trained on."
MIN_ITEMS = 10  # a share of fewer is drawn pale
NOTE = "Counts are proxies, unless they are of the documents the model was trained on."


def _say_whose(fig: Figure, label: str = "", note: str = NOTE) -> None:
    """Every figure of counts says whose counts they are."""
    fig.supxlabel(f"{label}\n{note}" if label else note, fontsize=8, color="0.3" if label else "0.45")


def _directions(table: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(_name(table)))


def _name(table: pd.DataFrame) -> pd.Series:
    pooled = {"all": "all", "apart": "without English"}
    names = [pooled.get(a, f"{a} → {b}") for a, b in zip(table.source_lang, table.target_lang)]
    return pd.Series(names, index=table.index, dtype=object)  # object also where it is empty, else places would be strings


def _points(
    ax: Axes, rows: pd.DataFrame, order: list[str], value: str, shift: float, color, marker: str, label: str, low: str = "low", high: str = "high"
) -> None:
    rows = rows[rows[value].notna()]
    y = _name(rows).map(order.index) + shift
    ax.errorbar(rows[value], y, xerr=[rows[value] - rows[low], rows[high] - rows[value]], fmt=marker, ms=4.5, lw=1.2, color=color, label=label)


def _rows(ax: Axes, order: list[str]) -> None:
    ax.set_yticks(range(len(order)))
    ax.set_yticklabels(order)
    ax.set_ylim(len(order) - 0.4, -0.6)


def label_bars(shares: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """How each rule labels the items of each direction; a panel a rule.

    Args:
        shares: from ``behavior.shares``, one model.
    """
    order = _directions(shares)
    fig, axes = plt.subplots(1, len(RULES), figsize=(10, 0.27 * len(order) + 1.4), sharey=True, layout="constrained")
    for ax, (rule, title) in zip(axes, RULES.items()):
        rows = shares[shares.rule == rule]
        counts = rows[[f"n_{label}" for label in LABELS]].to_numpy(float)
        part, left = counts / counts.sum(1, keepdims=True), np.zeros(len(rows))
        for k, (name, color) in enumerate(LABELS.values()):
            ax.barh(_name(rows).map(order.index), part[:, k], left=left, color=color, label=name, height=0.8)
            left += part[:, k]
        ax.set(title=title, xlabel="share of items", xlim=(0, 1))
        _rows(ax, order)
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    return fig, axes


def pivot_languages(table: pd.DataFrame) -> tuple[Figure, Axes]:
    """Whose words the pivots of the robust rule are, by direction (from ``behavior.pivot_languages``, one model)."""
    rows = table[table.rule == "robust"]
    order = [f"{name}  (n = {rows.n[_name(rows) == name].iloc[0]})" for name in _directions(rows)]
    fig, ax = plt.subplots(figsize=(7, 0.27 * len(order) + 1.4), layout="constrained")
    left = np.zeros(len(order))
    named = {la: (LANGUAGES[la], COLORS[k]) for k, la in enumerate(LANGUAGES)} | {"other": ("no form of the concept's words", "#d9d9d9")}
    for language, (_, color) in named.items():
        part = rows[rows.language == language]
        bars = ax.barh(range(len(order)), part.share, left=left, color=color, height=0.8)
        for bar, n in zip(bars, part.n):
            bar.set_alpha(0.3 if n < MIN_ITEMS else 1.0)
        left += np.nan_to_num(part.share)
    ax.set(xlabel=f"share of the items called pivot (pale: fewer than {MIN_ITEMS} items)", xlim=(0, 1))
    _rows(ax, order)
    handles = [Patch(color=color, label=label) for label, color in named.values()]
    fig.legend(handles=handles, loc="outside upper left", ncols=3, fontsize=8)
    return fig, ax


def mass(table: pd.DataFrame) -> tuple[Figure, Axes]:
    """Pivot mass and English mass by direction with 95 % intervals (from ``behavior.mass_by_direction``)."""
    order = _directions(table)
    fig, ax = plt.subplots(figsize=(6.5, 0.27 * len(order) + 1.3), layout="constrained")
    names = {
        "pivot_mass": ("neither source nor target: pivot mass", COLORS[1], "o"),
        "english_mass": ("the concept's English word (directions without English)", COLORS[2], "s"),
    }
    for k, (measure, (label, color, marker)) in enumerate(names.items()):
        _points(ax, table[table.measure == measure], order, "mean", (k - 0.5) * 0.2, color, marker, label)
    ax.set(xlabel="share of what the informative layers say because of the word", xlim=(0, 1))
    _rows(ax, order)
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=1, fontsize=8)
    return fig, ax


def meetings(table: pd.DataFrame) -> tuple[Figure, Axes]:
    """Share of concepts whose two words meet in at least 1, 5 and 20 documents, by unordered pair.

    Args:
        table: pair, at_least, share.
    """
    fig, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
    pairs = list(dict.fromkeys(table.pair))
    for k, (least, rows) in enumerate(table.groupby("at_least")):
        ax.bar(
            rows.pair.map(pairs.index) + (k - 1) * 0.27, rows.share, width=0.25, color=COLORS[k], label=f"at least {least} document{'s' if least > 1 else ''}"
        )
    ax.set(xticks=range(len(pairs)), ylabel="share of concepts", ylim=(0, 1))
    ax.set_xticklabels(pairs)
    fig.legend(loc="outside upper left", ncols=3, fontsize=8)
    fig.supxlabel("In documents of the corpus that was counted.", fontsize=8, color="0.45")
    return fig, ax


def scatter(items: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """P(y|w) against the pair's document count, a panel a direction (rows: from, columns: to), with medians of equal parts.

    Args:
        items: source_lang, target_lang, n_both, p_target.
    """
    order = list(LANGUAGES)
    fig, axes = plt.subplots(4, 4, figsize=(9, 7), sharex=True, sharey=True, layout="constrained")
    for i, a in enumerate(order):
        for j, b in enumerate(order):
            ax, part = axes[i, j], items[(items.source_lang == a) & (items.target_lang == b)]
            if part.empty:
                ax.set_visible(False)
                continue
            ax.scatter(1 + part.n_both, part.p_target, s=5, color=COLORS[0], alpha=0.35, lw=0, rasterized=True)
            met = part[part.n_both > 0].sort_values("n_both")
            groups = [part[part.n_both == 0], *(met.iloc[rows] for rows in np.array_split(np.arange(len(met)), 4))]
            points = [((1 + g.n_both).median(), g.p_target.median()) for g in groups if len(g) >= 5]
            if points:
                ax.plot(*zip(*points), color=COLORS[1], marker="D", ms=4, lw=1.4)
            ax.set(xscale="log", ylim=(-0.03, 1.03))
            ax.minorticks_off()
            ax.set_title(f"{LANGUAGES[a]} → {LANGUAGES[b]}", fontsize=9)
            ax.tick_params(labelleft=True, labelbottom=True, labelsize=7)
    _say_whose(fig, "1 + documents with both words (log scale)")
    fig.supylabel("P(translation | word)", fontsize=9)
    return fig, axes


def correlations(table: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """Rank correlation of P(y|w) with the pair count by direction: as it is, and given word frequency, with shuffled nulls.

    Args:
        table: from ``attribution.correlation``, one model and corpus.
    """
    order = _directions(table)
    panels = {"": "as it is", "log_source+log_target": "given the counts of both words"}
    fig, axes = plt.subplots(1, 2, figsize=(9, 0.28 * len(order) + 1.4), sharex=True, sharey=True, layout="constrained")
    for ax, (given, title) in zip(axes, panels.items()):
        rows = table[(table.statistic == "spearman") & (table.outcome == "p_target") & (table.given == given)]
        y = _name(rows).map(order.index)
        ax.hlines(y + 0.15, rows.null_low, rows.null_high, color="0.7", lw=5)
        _points(ax, rows, order, "value", -0.12, COLORS[0], "o", "", "ci_low", "ci_high")
        ax.axvline(0, color="0.4", ls="--", lw=1)
        ax.set(title=title, xlabel="Spearman correlation of P(y|w) and n_both")
        _rows(ax, order)
    handles = [
        Line2D([], [], color=COLORS[0], marker="o", label="measured, 95 % interval"),
        Line2D([], [], color="0.7", lw=5, label="pair counts shuffled among words of like frequency, 2.5 % to 97.5 %"),
    ]
    fig.legend(handles=handles, loc="outside upper left", ncols=2, fontsize=8)
    _say_whose(fig)
    return fig, axes


def aucs(attribution: pd.DataFrame, note: str = NOTE) -> tuple[Figure, np.ndarray]:
    """AUC of the pair count and of the target's count by direction, a panel a rule; filled where Holm's p is below .05.

    Args:
        attribution: the table of that name, one model and corpus.
        note: says whose counts they are.
    """
    order = _directions(attribution)
    fig, axes = plt.subplots(1, len(RULES), figsize=(10, 0.28 * len(order) + 1.4), sharey=True, sharex=True, layout="constrained")
    names = {"log_both": ("both words", COLORS[0], "o", -0.15), "log_target": ("target word", COLORS[4], "s", 0.15)}
    for ax, (rule, title) in zip(axes, RULES.items()):
        for name, (_, color, marker, shift) in names.items():
            rows = attribution[(attribution.rule == rule) & (attribution.predictor == name) & (attribution.note == "")]
            y = _name(rows).map(order.index) + shift
            ax.hlines(y, rows.ci_low, rows.ci_high, color=color, lw=1.2)
            if name == "log_both":
                ax.scatter(rows.null_mean, y, s=50, marker="|", color="0.35", lw=1.4, zorder=2)
            ax.scatter(rows.auc, y, s=24, marker=marker, edgecolor=color, facecolor=np.where(rows.p_holm < 0.05, color, "white"), zorder=3, lw=1.2)
        ax.axvline(0.5, color="0.4", ls="--", lw=1)
        ax.set(title=title, xlabel="AUC, co-occurrence against pivot", xlim=(0, 1))
        undefined = attribution[(attribution.rule == rule) & (attribution.predictor == "log_both") & (attribution.note != "")]
        for y, n_pos, n_neg in zip(_name(undefined).map(order.index), undefined.n_pos, undefined.n_neg):
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
            ax.text(0.5, y, f"{n_pos} against {n_neg} items", ha="center", va="center", fontsize=7.5, color="0.45", bbox=box)
        _rows(ax, order)
    handles = [Line2D([], [], color=c, marker=m, ls="-", label=f"documents with {label}") for label, c, m, _ in names.values()]
    handles += [
        Line2D([], [], color="0.35", marker="|", ms=8, ls="", label="what frequency alone gives (both words)"),
        Line2D([], [], color="0.3", marker="o", ls="", label="p < .05 (directions: Holm); both words: above that; target word: either side"),
        Line2D([], [], color="0.3", marker="o", mfc="white", ls="", label="not"),
    ]
    fig.legend(handles=handles, loc="outside upper left", ncols=3, fontsize=8)
    _say_whose(fig, note=note + " Where one class has too few items for an AUC, the sizes of both are given (co-occurrence against pivot).")
    return fig, axes


def roc(curves: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """ROC curves with 95 % bands over all directions, a panel a rule.

    Args:
        curves: rule, predictor, fpr, tpr, ci_low, ci_high, auc.
    """
    rules = [r for r in RULES if (curves.rule == r).any()] or ["robust"]
    fig, axes = plt.subplots(1, len(rules), figsize=(3.4 * len(rules), 3.6), sharex=True, sharey=True, layout="constrained", squeeze=False)
    names = {
        "log_both": ("both words", COLORS[0], "-"),
        "unigram": ("frequency, direction", COLORS[4], "--"),
        "unigram+both": ("… and both words", COLORS[2], "-."),
    }
    for ax, rule in zip(axes[0], rules):
        for name, (_, color, style) in names.items():
            rows = curves[(curves.rule == rule) & (curves.predictor == name) & curves.tpr.notna()]
            if len(rows):
                ax.plot(rows.fpr, rows.tpr, color=color, ls=style, label=f"{rows.auc.iloc[0]:.2f}")
                ax.fill_between(rows.fpr, rows.ci_low, rows.ci_high, color=color, alpha=0.15, lw=0)
        ax.plot([0, 1], [0, 1], color="0.5", lw=0.8, ls=":")
        ax.set(title=RULES[rule], xlabel="pivot items called co-occurrence", aspect="equal")
        if len(ax.lines) > 1:
            ax.legend(fontsize=7.5, loc="lower right", title="AUC", title_fontsize=7.5, handlelength=2.4)
    axes[0, 0].set_ylabel("co-occurrence items called co-occurrence")
    handles = [Line2D([], [], color=c, ls=s, label=label) for label, c, s in names.values()]
    fig.legend(handles=handles, loc="outside upper left", ncols=3, fontsize=8)
    _say_whose(fig)
    return fig, axes


def replication(table: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """The released scripts' AUC beside the corrected one; a panel a rule.

    Args:
        table: from ``attribution.replication_table``, one model, corpus and predictor.
    """
    order = _directions(table)
    fig, axes = plt.subplots(1, len(RULES), figsize=(10, 0.28 * len(order) + 1.4), sharey=True, sharex=True, layout="constrained")
    for ax, (rule, title) in zip(axes, RULES.items()):
        rows = table[(table.rule == rule) & (table.note == "")]
        y = _name(rows).map(order.index)
        ax.hlines(y - 0.18, rows.auc_worst, rows.auc_best, color=COLORS[3], lw=4, alpha=0.5)
        ax.scatter(rows.auc_released, y - 0.18, color=COLORS[3], marker="v", s=20, zorder=3)
        _points(ax, rows, order, "auc", 0.12, COLORS[0], "o", "", "ci_low", "ci_high")
        ax.axvline(0.5, color="0.4", ls="--", lw=1)
        ax.set(title=title, xlabel="AUC", xlim=(0, 1))
        _rows(ax, order)
    handles = [
        Line2D([], [], color=COLORS[3], marker="v", ls="", label="released code, items as they stand"),
        Line2D([], [], color=COLORS[3], lw=4, alpha=0.5, label="released code, from the least to the most favourable order of ties"),
        Line2D([], [], color=COLORS[0], marker="o", label="corrected, 95 % interval"),
    ]
    fig.legend(handles=handles, loc="outside upper left", ncols=3, fontsize=8)
    _say_whose(fig)
    return fig, axes


def curve(table: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """Specification curve: the AUC under every specification in order, and below it the choices made.

    Args:
        table: from ``specification.curve``.
    """
    table = table[table.auc.notna()].reset_index(drop=True)
    rows: list[tuple[str, np.ndarray]] = []
    for column, title in (
        ("rule", ""),
        ("lens", "lens "),
        ("prompt_set", "prompt set "),
        ("exclude_last", "last left out "),
        ("min_information", "least nats "),
        ("check", ""),
    ):
        for value in sorted(table[column].dropna().unique(), key=str):
            label = (
                {True: "right answers only", False: "all answers"}[bool(value)]
                if column == "check"
                else f"{title}{value:g}"
                if isinstance(value, float)
                else f"{title}{value}"
            )
            rows.append((label, (table[column] == value).to_numpy()))
    fig, (top, bottom) = plt.subplots(2, 1, figsize=(9, 2.6 + 0.17 * len(rows)), sharex=True, layout="constrained", height_ratios=[2.4, 0.17 * len(rows)])
    x = np.arange(len(table))
    top.vlines(x, table.low, table.high, color=COLORS[0], lw=1, alpha=0.4)
    top.scatter(x, table.auc, s=10, c=np.where(table.rule == "robust", COLORS[0], COLORS[1]), zorder=3)
    top.plot(x, table.null, color="0.45", lw=0, marker="_", ms=5)
    top.axhline(0.5, color="0.4", ls="--", lw=1)
    top.set_ylabel("AUC of n_both")
    handles = [
        Line2D([], [], color=COLORS[0], marker="o", ls="", label="robust rule"),
        Line2D([], [], color=COLORS[1], marker="o", ls="", label="released and paper rules"),
        Line2D([], [], color="0.45", marker="_", ls="", label="what frequency and direction alone give"),
    ]
    top.legend(handles=handles, fontsize=8, ncols=3, loc="upper left")
    for k, (_, used) in enumerate(rows):
        bottom.scatter(x[used], np.full(used.sum(), k), s=5, color="0.2", marker="|")
    bottom.set_yticks(range(len(rows)))
    bottom.set_yticklabels([label for label, _ in rows], fontsize=7.5)
    bottom.set(ylim=(len(rows) - 0.5, -0.5), xlabel=f"{len(table)} specifications in order of the AUC", xticks=[])
    _say_whose(fig)
    return fig, np.array([top, bottom])
