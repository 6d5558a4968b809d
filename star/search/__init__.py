"""The search: several algorithms over genomes, asked and told together or one by one; fronts and their hypervolume."""

from star.search.algorithms import ALGORITHMS
from star.search.front import (
    front_mask,
    hypervolume,
    is_sound,
    objective_matrix,
    reference_box,
)
from star.search.plan import Plan, Proposal
from star.search.racing import going_on
from star.search.search import Search
from star.search.space import space_of

__all__ = [
    "ALGORITHMS",
    "Plan",
    "Proposal",
    "Search",
    "front_mask",
    "going_on",
    "hypervolume",
    "is_sound",
    "objective_matrix",
    "reference_box",
    "space_of",
]
