"""Figures of the causal tests. Plot functions take a table and return ``fig, ax``; nothing is computed here."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .figures import COLORS
from .severance import EDGES, GROUPS
from .task import LANGUAGES

__all__ = ["GROUP_STYLE", "meetings", "training", "learning", "two_by_two", "forest", "development", "english_by_layer"]

GROUP_NAMES = {"full": "both ways", "direct_only": "direct only", "pivot_only": "pivot only", "none": "neither"}
GROUP_STYLE = {"full": (COLORS[0], "o"), "direct_only": (COLORS[5], "s"), "pivot_only": (COLORS[1], "^"), "none": ("0.45", "D")}
CONTRAST_NAMES = {
    "direct": "direct co-occurrence (main effect)",
    "pivot": "pivot path (main effect)",
    "interaction": "interaction",
    "pivot_only - none": "pivot only − neither",
    "direct_only - none": "direct only − neither",
    "full - pivot_only": "both ways − pivot only",
    "full - direct_only": "both ways − direct only",
}


def meetings(severance: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """Documents in which the two words of an edge meet, before and after the cuts: medians and quartiles by group, a panel an edge.

    Args:
        severance: of ``severance.severance_table``, one triple.
    """
    triple = severance.triple.iloc[0].split("-")
    names = dict(zip(("source", "pivot", "target"), (LANGUAGES[la] for la in triple)))
    fig, axes = plt.subplots(1, len(EDGES), figsize=(9.5, 2.9), sharey=True, layout="constrained")
    for ax, edge in zip(axes, EDGES):
        for x, group in enumerate(GROUPS):
            own = severance[(severance.group == group) & (severance.edge == edge)]
            for shift, time, fill in ((-0.14, "before", "white"), (0.14, "after", GROUP_STYLE[group][0])):
                low, middle, high = own[f"n_both_{time}"].quantile([0.25, 0.5, 0.75])
                ax.plot([x + shift] * 2, [low, high], color=GROUP_STYLE[group][0], lw=1.4)
                ax.plot(x + shift, middle, GROUP_STYLE[group][1], ms=6, mfc=fill, mec=GROUP_STYLE[group][0])
                if time == "after" and own.cut.all():
                    ax.annotate("cut: 0", (x + shift, 0), xytext=(0, 5), textcoords="offset points", ha="center", fontsize=7.5)
        ends = edge.split("-")
        ax.set(title=f"{names[ends[0]]} – {names[ends[1]]}", xticks=range(len(GROUPS)), xlim=(-0.5, len(GROUPS) - 0.5))
        ax.set_xticklabels([GROUP_NAMES[g].replace(" ", "\n") for g in GROUPS], fontsize=8)
        ax.set_yscale("symlog", linthresh=1)
        ax.set_ylim(-0.3, None)
        ax.set_yticks([0, 1, 10, 100, 1000], ["0", "1", "10", "100", "1000"])
    axes[0].set_ylabel("documents in which they meet")
    handles = [
        Line2D([], [], marker="o", ls="", mfc="white", mec="0.3", label="before"),
        Line2D([], [], marker="o", ls="", color="0.3", label="after the cuts"),
    ]
    fig.legend(handles=handles, loc="outside upper right", ncols=2, fontsize=8)
    return fig, axes


def training(log: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """Training loss and validation losses by tokens read; left on held-out documents, right on held-out parallel sentences."""
    fig, axes = plt.subplots(1, 2, figsize=(9.5, 3), sharey=True, layout="constrained")
    smooth = log.loss.rolling(50, min_periods=1).mean()
    for ax, (kind, title) in zip(axes, (("val", "held-out documents of one language"), ("parallel", "held-out parallel sentences"))):
        ax.plot(log.tokens / 1e6, smooth, color="0.75", lw=1.2, label="training (mean of 50 steps)")
        for k, (code, name) in enumerate(LANGUAGES.items()):
            seen = log[log[f"{kind}_{code}"].notna()]
            ax.plot(seen.tokens / 1e6, seen[f"{kind}_{code}"], marker="os^D"[k], ms=4, lw=1.3, color=COLORS[k], label=name)
        ax.set(title=title, xlabel="million tokens read")
    axes[0].set_ylabel("loss (nats per token)")
    axes[0].legend(fontsize=8)
    return fig, axes


def learning(means: pd.DataFrame, chance: float, outcome: str = "reciprocal_rank") -> tuple[Figure, Axes]:
    """How well the concepts whose words may all meet are translated, by direction and tokens read.

    Args:
        means: of ``factorial.group_means`` with a column tokens.
        chance: value of the outcome by chance.
    """
    fig, ax = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
    own = means[(means.group == "full") & (means.outcome == outcome)]
    for k, (direction, rows) in enumerate(own.groupby("direction", sort=False)):
        rows = rows.sort_values("tokens")
        ax.plot(rows.tokens / 1e6, rows["mean"], marker="os^Dvp"[k % 6], ms=4.5, lw=1.3, color=COLORS[k % 7], label=direction.replace("-", " → "))
        ax.fill_between(rows.tokens / 1e6, rows.ci_low, rows.ci_high, color=COLORS[k % 7], alpha=0.08, lw=0)
    ax.axhline(chance, color="0.5", ls="--", lw=1)
    ax.annotate("chance", (1, chance), xycoords=("axes fraction", "data"), xytext=(-2, 3), textcoords="offset points", ha="right", fontsize=8, color="0.4")
    ax.set(xscale="log", xlabel="million tokens read", ylabel="MRR of the true source among ten")
    ticks = sorted(own.tokens.unique() / 1e6)
    ax.set_xticks(ticks, [f"{t:.3g}" for t in ticks])
    ax.minorticks_off()
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=6, fontsize=8)
    return fig, ax


def two_by_two(means: pd.DataFrame, chance: float, outcome: str = "reciprocal_rank") -> tuple[Figure, np.ndarray]:
    """The four groups as a two-by-two, a panel a direction: pivot path on the x-axis, direct co-occurrence as lines.

    Args:
        means: of ``factorial.group_means``, directions in the order of the panels.
    """
    order = list(dict.fromkeys(means.direction))
    fig, axes = plt.subplots(1, len(order), figsize=(3.1 * len(order), 3), sharey=True, layout="constrained", squeeze=False)
    for ax, direction in zip(axes[0], order):
        rows = means[(means.direction == direction) & (means.outcome == outcome)].set_index("group")
        for shift, (label, groups, color, marker) in zip(
            (-0.03, 0.03), (("words meet", ("direct_only", "full"), COLORS[0], "o"), ("words never meet", ("none", "pivot_only"), COLORS[1], "^"))
        ):
            part = rows.loc[list(groups)]
            error = [part["mean"] - part.ci_low, part.ci_high - part["mean"]]
            ax.errorbar([0 + shift, 1 + shift], part["mean"], yerr=error, color=color, marker=marker, ms=6, lw=1.5, capsize=2, label=label)
        ax.axhline(chance, color="0.5", ls="--", lw=1)
        title = direction.replace("-", " → ") if "+" not in direction else "both directions"
        ax.set(title=title, xlim=(-0.35, 1.35), xticks=[0, 1])
        ax.set_xticklabels(["path through\nEnglish cut", "path through\nEnglish open"])
    axes[0, 0].set_ylabel("MRR of the true source among ten")
    axes[0, 0].annotate("chance", (-0.33, chance), xytext=(0, 3), textcoords="offset points", fontsize=8, color="0.4")
    axes[0, 0].legend(fontsize=8)
    return fig, axes


def forest(contrasts: pd.DataFrame, names: dict[str, str]) -> tuple[Figure, np.ndarray]:
    """Contrasts with 95 % intervals, a panel an outcome; the own translation filled, another concept's (the null) open.

    Args:
        contrasts: of ``factorial.contrasts`` with a column target (`own`, `foreign`), one direction.
        names: titles of the outcomes.
    """
    order = [c for c in CONTRAST_NAMES if c in set(contrasts.contrast)]
    fig, axes = plt.subplots(1, len(names), figsize=(2.2 + 2.7 * len(names), 0.34 * len(order) + 1.2), sharey=True, layout="constrained")
    for ax, (outcome, title) in zip(np.atleast_1d(axes), names.items()):
        for shift, target, fill, label in ((-0.13, "own", COLORS[0], "the concept's own translation"), (0.13, "foreign", "white", "another concept's (null)")):
            rows = contrasts[(contrasts.outcome == outcome) & (contrasts.target == target) & contrasts.contrast.isin(order)]
            y = rows.contrast.map(order.index) + shift
            color = COLORS[0] if target == "own" else "0.5"
            error = [rows.estimate - rows.ci_low, rows.ci_high - rows.estimate]
            ax.errorbar(rows.estimate, y, xerr=error, fmt="o", ms=5, mfc=fill, color=color, lw=1.3, label=label)
        ax.axvline(0, color="0.5", ls="--", lw=1)
        ax.set(xlabel=title, ylim=(len(order) - 0.5, -0.5))
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.ticklabel_format(axis="x", style="sci", scilimits=(-3, 3))
    np.atleast_1d(axes)[0].set_yticks(range(len(order)), [CONTRAST_NAMES[c] for c in order])
    fig.legend(*np.atleast_1d(axes)[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=8)
    return fig, axes


def development(contrasts: pd.DataFrame, names: tuple[str, ...] = ("direct", "pivot", "interaction", "pivot_only - none")) -> tuple[Figure, Axes]:
    """Contrasts of the reciprocal rank by tokens read, with 95 % intervals (``factorial.contrasts`` with a column tokens)."""
    fig, ax = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
    for k, name in enumerate(names):
        rows = contrasts[contrasts.contrast == name].sort_values("tokens")
        x = rows.tokens / 1e6 * (1 + 0.04 * (k - 1.5))
        error = [rows.estimate - rows.ci_low, rows.ci_high - rows.estimate]
        ax.errorbar(x, rows.estimate, yerr=error, marker="os^D"[k], ms=4.5, lw=1.3, color=COLORS[k], label=CONTRAST_NAMES[name])
    ax.axhline(0, color="0.5", ls="--", lw=1)
    ax.set(xscale="log", xlabel="million tokens read", ylabel="effect on MRR")
    ticks = sorted(contrasts.tokens.unique() / 1e6)
    ax.set_xticks(ticks, [f"{t:.3g}" for t in ticks])
    ax.minorticks_off()
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=8)
    return fig, ax


def english_by_layer(curves: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """What each layer says of the concept's English word and of the translation, beyond another concept's, by group.

    Args:
        curves: group, layer, measure (`english`, `target`), mean, low, high.
    """
    fig, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    for ax, (measure, title) in zip(axes, (("english", "the concept's English word"), ("target", "the translation"))):
        for group, (color, marker) in GROUP_STYLE.items():
            rows = curves[(curves.measure == measure) & (curves.group == group)].sort_values("layer")
            ax.plot(rows.layer + 1, rows["mean"], color=color, marker=marker, ms=4.5, lw=1.4, label=GROUP_NAMES[group])
            ax.fill_between(rows.layer + 1, rows.low, rows.high, color=color, alpha=0.12, lw=0)
        ax.axhline(0, color="0.5", ls="--", lw=1)
        ax.set(title=title, xlabel="after block")
    axes[0].set_ylabel("probability beyond another concept's")
    axes[0].legend(fontsize=8)
    return fig, axes
