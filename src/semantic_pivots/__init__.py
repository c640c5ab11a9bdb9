"""Semantic pivots: how language models come to translate between languages they were never taught to translate."""

import warnings

__version__ = "0.1.0"

# progress bars without widgets are what we want: a notebook is read on a page, too
warnings.filterwarnings("ignore", message="IProgress not found")
