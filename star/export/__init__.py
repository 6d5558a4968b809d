"""Export: the genomes of a finished search as standalone code and weights."""

from star.export.front import export_front
from star.export.single_file import ExportHeader, export_model

__all__ = ["ExportHeader", "export_front", "export_model"]
