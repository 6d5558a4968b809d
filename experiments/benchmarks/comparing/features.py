"""The features of a genome for the surrogate, in blocks with one length scale each."""

from functools import lru_cache

import numpy as np

from star.architecture.codes import Structure
from star.architecture.genome import DECKS, decode
from star.records import Genome
from star.run.plan import plan_run
from star.run.settings import Settings

KINDS = {structure: i for i, structure in enumerate(Structure)}


class Features:
    """Feature vectors for the genomes of one run's space. `blocks` are ranges of their entries.

    classes     how often each class of the deck occurs
    kinds       how often each structure occurs, plain and as a difference of two copies; how many classes there are
    places      which class stands in which slot
    sharing     for each slot whether it uses the weights, and whether the features, of another; the sums of both
    costs       logarithms of parameters and cache
    """

    def __init__(self, config: Settings) -> None:
        config = plan_run(config).settings
        self._classes = {number: i for i, number in enumerate(DECKS[config.deck])}
        self._num_slots = config.slots
        self._target = plan_run(config).target
        self.vector = lru_cache(65_536)(self._vector)
        lengths = [len(self._classes), 2 * len(KINDS) + 1, config.slots * len(self._classes), 2 * config.slots + 2, 2]
        ends = np.cumsum(lengths).tolist()
        self.blocks = tuple(slice(end - length, end) for end, length in zip(ends, lengths, strict=True))

    def matrix(self, genomes: list[Genome]) -> np.ndarray:
        """Return one row per genome."""
        return np.array([self.vector(genome) for genome in genomes])

    def costs(self, genome: Genome) -> tuple[float, float]:
        """Return the exact parameters and cache bytes."""
        cost = self._target.count(genome)
        return float(cost.params), float(cost.cache_bytes)

    def _vector(self, genome: Genome) -> np.ndarray:
        classes = np.zeros(len(self._classes))
        kinds = np.zeros(2 * len(KINDS) + 1)
        places = np.zeros((self._num_slots, len(self._classes)))
        sharing = np.zeros((2, self._num_slots))
        for i, slot in enumerate(decode(genome)):
            column = self._classes[slot.class_id]
            classes[column] += 1
            places[i, column] = 1
            kinds[2 * KINDS[slot.liv.structure] + slot.liv.differential] += 1
            sharing[:, i] = [sum(one != i for one in sources) / len(sources) for sources in slot[2:]]
        kinds[-1] = np.count_nonzero(classes)
        return np.concatenate(
            [classes, kinds, places.ravel(), sharing.ravel(), sharing.sum(axis=1), np.log(self.costs(genome))]
        )
