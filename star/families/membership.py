"""Membership of genomes in a family at some sizes, as a search asks for it."""

from functools import lru_cache

from star.architecture.genome import DECKS, EMPTY, decode
from star.architecture.spec import Dimensions
from star.architecture.structures import specify
from star.errors import SettingError, UserError
from star.families.family import EVERYWHERE, Obstacle
from star.families.table import family_named, tell
from star.records import Genome

CACHED = 1 << 16
COUNTED = ("slots is",)  # of the model, what another genome may have otherwise


class Membership:
    """A test whether genomes lie in a family at some sizes.

    Raises:
        UserError: there is no family with the name.
    """

    def __init__(self, name: str, dims: Dimensions) -> None:
        self.name = name
        self._family = family_named(name)
        self._dims = dims
        self._obstacles = lru_cache(CACHED)(self._find)

    def share(self, genome: Genome) -> float:
        """Return 0 for a genome that lies in the family, else the share of its slots that keep it out, the model
        around them counting as one slot, above 0.
        """
        slots = {one.slot for one in self._obstacles(genome)}
        return 1.0 if EVERYWHERE in slots else len(slots) / (len(decode(genome)) + 1)

    def reason(self, genome: Genome) -> str:
        """Return what keeps a genome out, in a few words; empty if it lies in the family."""
        return tell(self._obstacles(genome))

    def check(self, deck: str) -> None:
        """Raise SettingError if the model around the slots keeps genomes of every class of a deck out."""
        common: set[str] | None = None
        for number in DECKS[deck]:
            if number != EMPTY:
                found = {one.text for one in self._obstacles((number, 1, 1, 1, 1) * 2) if one.slot < 1}
                common = found if common is None else common & found
        if texts := [text for text in sorted(common or ()) if not text.startswith(COUNTED)]:
            raise SettingError("constrain", f"{self.name} has no model of these sizes: {texts[0]}")

    def _find(self, genome: Genome) -> tuple[Obstacle, ...]:
        try:
            return tuple(self._family.obstacles(specify(decode(genome), self._dims)))
        except UserError as error:
            return (Obstacle(EVERYWHERE, str(error)),)
