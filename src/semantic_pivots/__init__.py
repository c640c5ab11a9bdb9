"""Semantic pivots: how language models come to translate between languages they were never taught to translate."""

__version__ = "0.1.0"
