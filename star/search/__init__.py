"""The search: NSGA-II over genomes, asked and told one generation at a time; fronts and their hypervolume."""

from star.search.front import (
    front_mask,
    hypervolume,
    is_sound,
    objective_matrix,
    reference_box,
)
from star.search.nsga2 import Proposal, Search
from star.search.space import space_of

__all__ = [
    "Proposal",
    "Search",
    "front_mask",
    "hypervolume",
    "is_sound",
    "objective_matrix",
    "reference_box",
    "space_of",
]
