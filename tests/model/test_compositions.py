"""Every structure with every value of every gene of its feature groups, one gene changed at a time, plain and
differential: it builds, is priced as built, is causal, trains and decodes."""

import pytest
from support.decoding import assert_decodes
from support.soundness import assert_sound

from star.architecture.genome import join
from star.architecture.genome.operator import MAX_GROUPS, UNUSED, repair_class
from star.architecture.structures import MEANINGS

pytestmark = pytest.mark.usefixtures("double_precision")


def classes_of(codes):
    """The class with the smallest genes, and those that differ from it in one gene of one group."""
    smallest = repair_class((1, *map(int, codes), *UNUSED * MAX_GROUPS))
    found = {smallest, (2, *smallest[1:])}
    for number, choice in enumerate(MEANINGS[codes].choices(codes[2])):
        for gene, allowed in enumerate(choice.allowed()):
            place = 5 + 4 * number + gene
            found |= {repair_class((*smallest[:place], value, *smallest[place + 1 :])) for value in allowed}
    return sorted(found)


@pytest.mark.parametrize("codes", MEANINGS, ids=lambda codes: "".join(map(str, map(int, codes))))
def test_every_value_of_every_gene(codes):
    for genes in classes_of(codes):
        genome = join((genes,), (1, 1, 1, 1, 4, 1, 1, 1, 1, 4))  # two slots that share what can be shared
        assert_sound(genome)
        assert_decodes(genome, [5, 1, 1, 1])
