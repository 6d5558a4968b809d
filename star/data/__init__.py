"""Text to train on: the standard library's own source, or a person's files, as two arrays of bytes."""

from star.data.corpus import Corpus, load_corpus
from star.data.files import STDLIB

__all__ = ["STDLIB", "Corpus", "load_corpus"]
