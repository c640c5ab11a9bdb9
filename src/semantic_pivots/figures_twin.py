"""Figures of the synthetic twin. Plot functions take a table and return ``fig, axes``; nothing is computed here."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from .figures import COLORS
from .figures_causal import CONTRAST_NAMES, GROUP_NAMES, GROUP_STYLE

__all__ = ["learning", "effects"]

TITLES = {"factorial": "factorial: edges cut at random", "placebo": "placebo: no edge cut", "shuffled": "shuffled: others' translations"}


def learning(table: pd.DataFrame, chance: float) -> tuple[Figure, np.ndarray]:
    """MRR of the four groups while twins learn, a panel a world: means of its twins as thick lines, each twin as a thin one.

    At the right edge, open: the mean at the end with distractors of all groups.

    Args:
        table: of :func:`.twin_analysis.development`.
        chance: MRR by chance.
    """
    worlds = [w for w in TITLES if (table.world == w).any()]
    fig, axes = plt.subplots(1, len(worlds), figsize=(3.4 * len(worlds), 3.3), sharey=True, layout="constrained", squeeze=False)
    for ax, world in zip(axes[0], worlds):
        own, other = (table[(table.world == world) & (table.distractors == d)] for d in ("own group", "all groups"))
        for k, (group, (color, marker)) in enumerate(GROUP_STYLE.items()):
            for _, twin in own.groupby("twin"):
                ax.plot(twin.trained, twin[group], color=color, lw=0.6, alpha=0.5)
            mean = own.groupby("trained")[group].mean()
            ax.plot(mean.index, mean, color=color, marker=marker, ms=4.5, lw=1.6)
            ax.plot(1.05 + 0.025 * k, other[group].mean(), color=color, marker=marker, ms=5, mfc="white", ls="")
        ax.axhline(chance, color="0.5", ls="--", lw=1)
        ax.set(title=f"{TITLES[world]} (n = {own.twin.nunique()})", xlabel="share of training", ylim=(0, 1.05))
    axes[0, 0].set_ylabel("MRR among ten")
    axes[0, 0].annotate("chance", (own.trained.min(), chance), xytext=(0, -10), textcoords="offset points", fontsize=8, color="0.4")
    handles = [Line2D([], [], color=c, marker=m, ms=4.5, label=GROUP_NAMES[g]) for g, (c, m) in GROUP_STYLE.items()]
    handles += [Line2D([], [], color="0.3", marker="o", mfc="white", ls="", label="at the end, distractors of all groups")]
    fig.legend(handles=handles, loc="outside upper left", ncols=5, fontsize=8)
    return fig, axes[0]


def effects(
    table: pd.DataFrame,
    real: pd.DataFrame,
    level: tuple[float, float, float],
    detectable: dict[str, float],
    names: tuple[str, ...] = ("direct", "pivot_only - none"),
) -> tuple[Figure, np.ndarray]:
    """Effects on MRR by how well words that may meet are translated, in the twins of the world `factorial` and in the real experiment.

    Args:
        table: of :func:`.twin_analysis.development`.
        real: the table ``hypotheses`` of the real experiment.
        level: MRR of the real experiment's group `full`, with its interval.
        detectable: smallest effect that the real experiment finds with a power of .8, by contrast.
        names: contrasts, a panel each.
    """
    fig, axes = plt.subplots(1, len(names), figsize=(4.5 * len(names), 3.4), sharey=True, layout="constrained", squeeze=False)
    own = table[(table.world == "factorial") & (table.distractors == "own group")]
    for ax, name in zip(axes[0], names):
        ax.axhspan(-detectable[name], detectable[name], color="0.93", lw=0, label="too small for the real experiment (power < .8)")
        ax.axhline(0, color="0.5", ls="--", lw=1)
        for k, (_, twin) in enumerate(own.sort_values("trained").groupby("twin")):
            ax.plot(twin.full, twin[name], color=COLORS[0], marker="o", ms=4, lw=1, alpha=0.7, label="twins, each from stage to stage" if k == 0 else None)
        row = real.set_index("contrast").loc[name]
        error = [[[row.estimate - row.ci_low], [row.ci_high - row.estimate]], [[level[0] - level[1]], [level[2] - level[0]]]]
        ax.errorbar(level[0], row.estimate, *error, fmt="*", ms=11, color=COLORS[1], lw=1.5, capsize=2, zorder=4, label="real experiment, 95 % intervals")
        ax.set(title=CONTRAST_NAMES[name], xlabel="MRR of words that may meet (both ways)")
    axes[0, 0].set_ylabel("effect on MRR")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=3, fontsize=8)
    return fig, axes[0]
