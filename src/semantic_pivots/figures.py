"""Figures: one style for all, Chinese and Japanese glyphs, and saving as PDF, PNG and CSV.

Plot functions take a table and return ``fig, ax``; nothing is computed here.
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .artifacts import atomic_path, figures_folder
from .report import short_name
from .task import LANGUAGES

__all__ = ["COLORS", "drawable", "use_style", "save", "zipf_histograms", "ability_matrices", "ability_points", "strata"]

# Okabe and Ito's palette: told apart with any colour vision, and by lightness in print
COLORS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
NATIVE = {"fr": "français", "zh": "中文", "ja": "日本語"}
FONT_PACKAGE, FONT_FILE, FONT_NAME = "noto-cjk-sans-jp-regular", "NotoSansCJKjp-Regular.otf", "packaged Noto Sans CJK JP"


@functools.cache
def _cjk_font() -> str | None:
    """Name of a font with Chinese and Japanese glyphs: the packaged one, else one of the system's."""
    try:
        files = [f for f in importlib.metadata.files(FONT_PACKAGE) or () if f.name == FONT_FILE]
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        # under a name of its own: a system with the same family would draw what is bold with its bold, another one with this regular
        font_manager.fontManager.ttflist.append(font_manager.FontEntry(fname=str(file.locate()), name=FONT_NAME, weight=400))
        return FONT_NAME
    known = {f.name for f in font_manager.fontManager.ttflist}
    return next((n for n in ("Noto Sans CJK JP", "Noto Sans CJK SC", "Hiragino Sans", "Yu Gothic", "Microsoft YaHei") if n in known), None)


@functools.cache
def drawable() -> frozenset[int]:
    """Code points that the figures' fonts can draw."""
    files = [font_manager.findfont(name) for name in plt.rcParams["font.family"]]
    return frozenset().union(*(font_manager.get_font(f).get_charmap() for f in files))


def use_style() -> None:
    """Set the style of all figures, and how wide a table is as plain text (else as wide as the terminal that started the run, or cut to it)."""
    pd.set_option("display.width", 160, "display.max_columns", None)
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # the CJK font has one weight: no word on missing bold
    sns.set_theme(context="notebook", style="ticks", palette=COLORS, font_scale=0.85)
    family = ["DejaVu Sans"] + ([_cjk_font()] if _cjk_font() else [])
    plt.rcParams.update(
        {
            "font.family": family,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.dpi": 100,
            "savefig.dpi": 200,
            "savefig.bbox": "tight",
            "pdf.fonttype": 3,  # outlines of the glyphs used, also from an OpenType font
            "axes.titlelocation": "left",
            "legend.frameon": False,
            "axes.titleweight": "bold",
        }
    )


def save(figure: Figure, name: str, data: pd.DataFrame, profile: str, model: str = "") -> None:
    """Save a figure as NAME.pdf and NAME.png with the data it draws as NAME.csv.

    Args:
        model: id of the model that the figure is about, written into a corner where no title or legend names it.
    """
    folder = figures_folder(profile)
    if model:
        figure.text(1, 1, short_name(model), ha="right", va="bottom", fontsize=7.5, color="0.45")
    with atomic_path(folder / f"{name}.csv") as path:
        data.to_csv(path, index=False, float_format="%.6g")
    # no date and no version in the files: the same figure gives the same bytes
    for suffix, metadata in ((".pdf", {"CreationDate": None, "Creator": None, "Producer": None}), (".png", {"Software": None})):
        with atomic_path(folder / f"{name}{suffix}") as path:
            figure.savefig(path, metadata=metadata)


def zipf_histograms(lexicon: pd.DataFrame) -> tuple[Figure, np.ndarray, pd.DataFrame]:
    """How frequent the words are, a panel a language; also returns the counts drawn."""
    edges = np.arange(1.5, 7.51, 0.25)
    fig, axes = plt.subplots(1, len(LANGUAGES), figsize=(9, 2.2), sharey=True, layout="constrained")
    counts = pd.DataFrame({"zipf_from": edges[:-1], "zipf_to": edges[1:]})
    for ax, (code, name) in zip(axes, LANGUAGES.items()):
        counts[name] = np.histogram(lexicon[f"zipf_{code}"].clip(edges[0], edges[-1]), edges)[0]
        ax.bar(edges[:-1], counts[name], width=0.25, align="edge", color=COLORS[0], edgecolor="white", lw=0.5)
        ax.axvline(lexicon[f"zipf_{code}"].median(), color=COLORS[1], lw=1.5, ls="--")
        ax.set(title=name, xlabel="Zipf frequency", xlim=(edges[0], edges[-1]))
    axes[0].set_ylabel("concepts")
    axes[0].set_ylim(0, 1.2 * counts[list(LANGUAGES.values())].to_numpy().max())  # room for the word
    axes[0].annotate(
        "median", (lexicon.zipf_en.median(), 1), xycoords=("data", "axes fraction"), xytext=(3, -8), textcoords="offset points", color=COLORS[1], fontsize=8
    )
    return fig, axes, counts


def ability_matrices(tables: list[pd.DataFrame]) -> tuple[Figure, np.ndarray]:
    """Heat maps of the mean score by source (rows) and target (columns), each cell with its interval; a panel a model.

    Args:
        tables: for each model a table with model, source_lang, target_lang, n, mean_score, ci_low, ci_high.
    """
    n_rows, n_columns = -(-len(tables) // 2), min(len(tables), 2)
    fig, axes = plt.subplots(n_rows, n_columns, figsize=(5.3 * n_columns, 3.7 * n_rows), layout="constrained", squeeze=False)
    vmax = max(t.mean_score.max() for t in tables)
    for ax, table in zip(axes.flat, tables):
        image = _ability_matrix(ax, table, max(vmax, 1e-9))
    for ax in axes.flat[len(tables) :]:
        ax.axis("off")
        ax.text(0, 1, "In each cell: mean score\nand its 95 % interval\nover concepts", ha="left", va="top", fontsize=10, color="0.35", transform=ax.transAxes)
    fig.colorbar(image, ax=axes, label="mean score (difference of probabilities)", shrink=0.9)
    return fig, axes


def _ability_matrix(ax: Axes, ability: pd.DataFrame, vmax: float):
    cells = ability.set_index(["source_lang", "target_lang"])
    order = list(LANGUAGES)
    grid = np.array([[cells.mean_score.get((a, b), np.nan) for b in order] for a in order])
    image = ax.imshow(grid, cmap="cividis", vmin=0, vmax=vmax, aspect="auto")
    for (i, a), (j, b) in ((x, y) for x in enumerate(order) for y in enumerate(order)):
        if (a, b) in cells.index:
            row = cells.loc[(a, b)]
            digits = 2 if row.ci_high >= 0.02 else 4  # what lies above zero is not to read as zero
            text = f"{row.mean_score:.{digits}f}\n[{row.ci_low:.{digits}f}, {row.ci_high:.{digits}f}]"
            color = "white" if row.mean_score < 0.55 * vmax else "black"
        else:
            text, color = "" if a == b else "not run", "0.55"
        ax.text(j, i, text, ha="center", va="center", color=color, fontsize=8.5 if len(text) < 20 else 7)
    names = [LANGUAGES[la] + (f"\n{NATIVE[la]}" if la in NATIVE else "") for la in order]
    ax.set(
        xticks=range(len(order)),
        yticks=range(len(order)),
        xlabel="to",
        ylabel="from",
        title=f"{short_name(ability.model.iloc[0])}, n = {ability.n.min()} concepts",
    )
    ax.set_xticklabels(names)
    ax.set_yticklabels(names)
    ax.tick_params(length=0)
    sns.despine(ax=ax, left=True, bottom=True)
    return image


MEASURES = {
    "mean_score": ("score", "ci", 0.0),
    "log_ratio": ("log-ratio (nats per token)", "log_ratio", 0.0),
    "mrr": ("MRR of the true source among ten", "mrr", float(np.mean(1 / np.arange(1, 11)))),
    "first_token_accuracy": ("first-token accuracy", "first_token_accuracy", None),
}


def ability_points(ability: pd.DataFrame) -> tuple[Figure, np.ndarray]:
    """Measures of ability by direction with 95 % intervals, models beside each other; a dashed line marks chance."""
    directions, n_models = list(dict.fromkeys(ability.source_lang + " → " + ability.target_lang)), ability.model.nunique()
    fig, axes = plt.subplots(1, len(MEASURES), figsize=(12, 0.3 * len(directions) + 1.3), sharey=True, layout="constrained")
    for ax, (measure, (label, prefix, chance)) in zip(axes, MEASURES.items()):
        for k, (name, rows) in enumerate(ability.groupby("model", sort=False)):
            y = (rows.source_lang + " → " + rows.target_lang).map(directions.index) + (k - (n_models - 1) / 2) * 0.24
            error = [rows[measure] - rows[f"{prefix}_low"], rows[f"{prefix}_high"] - rows[measure]]
            ax.errorbar(rows[measure], y, xerr=error, fmt="os^"[k % 3], ms=4.5, color=COLORS[k], lw=1.2, label=f"{short_name(name)} (n = {rows.n.min()})")
        if chance is not None:
            ax.axvline(chance, color="0.5", ls="--", lw=1)
            ax.annotate(
                "chance", (chance, 1), xycoords=("data", "axes fraction"), xytext=(3, -2), textcoords="offset points", va="top", fontsize=8, color="0.4"
            )
        ax.set(xlabel=label)
        if measure in ("mrr", "first_token_accuracy"):
            ax.set_xlim(-0.03, 1.03)
    axes[0].set_yticks(range(len(directions)), directions)
    axes[0].invert_yaxis()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=n_models, title="95 % intervals over concepts", alignment="left")
    return fig, axes


def strata(ability_by: pd.DataFrame, names: dict[str, str]) -> tuple[Figure, np.ndarray]:
    """Mean score by stratum with 95 % intervals, a panel a stratum, models beside each other.

    Args:
        ability_by: model, stratum, level, n, mean_score, ci_low, ci_high.
        names: title of each stratum.
    """
    fig, axes = plt.subplots(1, len(names), figsize=(12, 3.2), sharey=True, layout="constrained")
    for ax, (stratum, title) in zip(axes, names.items()):
        part = ability_by[ability_by.stratum == stratum]
        levels = list(dict.fromkeys(part.level))
        for k, (name, rows) in enumerate(part.groupby("model", sort=False)):
            x = rows.level.map(levels.index) + (k - (ability_by.model.nunique() - 1) / 2) * 0.2
            ax.errorbar(
                x,
                rows.mean_score,
                yerr=[rows.mean_score - rows.ci_low, rows.ci_high - rows.mean_score],
                fmt="os^"[k % 3],
                ms=5,
                color=COLORS[k],
                lw=1.3,
                label=short_name(name),
            )
        ax.set(title=title, xticks=range(len(levels)), xlim=(-0.5, len(levels) - 0.5))
        counts = {level: "/".join(str(n) for n in rows.n) for level, rows in part.groupby("level", sort=False)}
        ax.set_xticklabels([f"{level}\n{counts[level]}" for level in levels], fontsize=8)
        ax.axhline(0, color="0.5", ls="--", lw=1)
    axes[0].set_ylabel("mean score")
    legend = fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    legend.set_title("95 % intervals; below each level its number of concepts, by model in this order", prop={"size": 8})
    legend.set_alignment("left")
    return fig, axes
