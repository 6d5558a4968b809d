"""The command genes: a class from its codes, a genome integer by integer, with who shares what with whom."""

import json
import re

import pytest
from hypothesis import given, settings
from support.fake_run import write_run
from support.strategies import any_genomes

from star.architecture import catalogue
from star.architecture.genome import CLASSES, DECK, GENES_PER_SLOT, class_text, decode, genes_of, parse, split, to_text
from star.architecture.structures import feature_equations, operator_equation, rules_of
from star.cli.explain import genome_record
from star.cli.meanings import feature_gene_meaning
from star.run.settings import Settings


def explained(star, what):
    code, out, err = star("genes", what, "--json")
    assert (code, err) == (0, ""), err
    return json.loads(out), star("genes", what)[1]


@pytest.mark.parametrize("number", DECK)
def test_every_class_is_explained_by_number_name_and_codes(star, number):
    liv, row = DECK[number], CLASSES[number]
    record, text = explained(star, row.name)
    assert record == explained(star, str(number))[0]
    by_codes = explained(star, class_text(genes_of(liv)))[0]
    assert by_codes == record | {"name": by_codes["name"]} and by_codes["class"] == number
    assert (record["class"], record["operator_genome"], record["equation"]) == (
        number,
        list(row.codes),
        operator_equation(liv),
    )
    assert {one["group"]: one["equation"] for one in record["features"]} == feature_equations(liv)
    genes = [record["copies"]["code"], *(one["code"] for one in record["codes"])]
    genes += [one["code"] for feature in record["features"] for one in feature["genes"]]
    assert genes == list(genes_of(liv)[: len(genes)])
    for line in (row.name, f"class {number}", str(liv.structure), row.source, class_text(genes_of(liv))):
        assert line in text
    for feature in record["features"]:
        meanings = [one["meaning"] for one in feature["genes"]]
        assert all(meanings) and not any(re.search(r"\bn\b|\bfor [A-Z] ", meaning) for meaning in meanings)


def test_the_symbols_of_attention_are_query_key_and_value(star):
    _, text = explained(star, "SA-3")
    for words in (
        "operator genome 32123",
        "written out 12123,1211,1214,1214",
        "feature group C, query: 1211, which is x W, width d",
        "feature group B, key: 1214, which is x W, width d / 4",
        "feature group V, value: 1214",
        "nonlinearity: softmax over tokens",
        "share: first B, second V",
    ):
        assert words in text


def test_every_role_of_every_structure_has_a_name():
    for liv in DECK.values():
        names = [rules_of(liv).role_name(group.role) for group in liv.groups]
        assert all(names) and len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("gene", "role", "value", "meaning"),
    [
        ("expansion", "V", 1, "the feature is d wide"),
        ("expansion", "V", 4, "the feature is 4 d wide"),
        ("expansion", "V", 3, "8/3 d wide"),
        ("expansion", "K", 7, "the number of taps: 7"),
        ("expansion", "K", 3, "three taps"),
        ("expansion", "R", 8, "the number of experts: 8"),
        ("repeat", "R", 2, "the number of experts that a token goes through: 2"),
        ("repeat", "B", 1, "the width is not divided"),
        ("repeat", "B", 9, "one head serves every head"),
        ("token mixing", "K", 6, "a kernel as long as the context, a function of the position"),
        ("token mixing", "V", 3, "a short kernel of 3 taps"),
        ("token mixing", "K", 3, "a kernel that is a parameter"),
    ],
)
def test_a_gene_of_a_feature_group_means_what_it_does_there(gene, role, value, meaning):
    assert feature_gene_meaning(gene, role, value) == meaning


def test_a_genome_is_decoded_integer_by_integer(star):
    record, text = explained(star, "31212-31112-31213-01111-31213")
    assert [[one["value"] for one in slot["genes"]] for slot in record["slots"]] == [
        [3, 1, 2, 1, 2],
        [3, 1, 1, 1, 2],
        [3, 1, 2, 1, 3],
        [0, 1, 1, 1, 1],
        [3, 1, 2, 1, 3],
    ]
    assert [slot["slot"] for slot in record["slots"]] == [1, 2, 3, 4, 5]
    assert [slot["features_from"] for slot in record["slots"]] == [{}, {"B": 1}, {}, {}, {"V": 3}]
    assert [slot["weights_from"] for slot in record["slots"]] == [
        {},
        {},
        dict.fromkeys("CBV", 1),
        {},
        dict.fromkeys("CB", 1),
    ]
    first, fifth = (text.split(f"slot {number}: ")[1].split("\nslot ")[0] for number in (1, 5))
    assert "-> gives B to slot 2" in first and "-> lends the weights of C, B and V to slot 3" in first
    assert "-> takes V from slot 3" in fifth and "-> makes C and B with the weights of slot 1" in fifth
    assert "slot 4: 01111\n    0  class: nothing stands here\n" in text


@settings(max_examples=100)
@given(any_genomes())
def test_what_is_told_of_sharing_is_what_decoding_says(genome):
    record = genome_record(genome)
    _, backbone = split(genome)
    filled = [i for i, number in enumerate(backbone[::GENES_PER_SLOT], start=1) if number]
    assert len(record["slots"]) == len(backbone) // GENES_PER_SLOT and parse(record["genome"]) == parse(to_text(genome))
    for place, slot in zip(filled, decode(genome), strict=True):
        told = record["slots"][place - 1]
        assert told["name"] == slot.liv.name
        for i, group in enumerate(slot.liv.groups):
            assert told["features_from"].get(group.role, place) == filled[slot.features_from[i]]
            own = filled[slot.features_from[i]] == place
            assert told["weights_from"].get(group.role, place) == (filled[slot.weights_from[i]] if own else place)


def test_a_deck_of_its_own_is_explained_class_by_class(star):
    record, text = explained(star, "12123,3211,1214,1214+11142,1231,1231/11111-21111")
    assert [one["written_out"] for one in record["deck"]] == ["12123,3211,1214,1214", "11142,1231,1231"]
    assert "class 1 of its own deck" in text and "class 2 of its own deck" in text


def test_names_files_and_individuals_are_genomes_too(star, tmp_path):
    assert len(explained(star, "llama-3-8b")[0]["slots"]) == 2, "one period"
    assert explained(star, "mamba")[0]["genome"] == to_text(catalogue.load("mamba").genome)
    assert explained(star, "Mamba")[0]["class"] == 27, "a class where the letters are its own"
    assert explained(star, "sa-3")[0]["class"] == 3
    (tmp_path / "x.toml").write_text('genome = "2*(11111-91111)"\n')
    assert len(explained(star, tmp_path / "x.toml")[0]["slots"]) == 4
    run = write_run(tmp_path / "run", Settings(population=4, generations=0, slots=3), failing=0)
    individual = run.latest_generation().individuals[0]
    assert explained(star, f"{run.path}:{individual.id}")[0]["genome"] == to_text(individual.genome)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("SA-33", ["unknown class or genome 'SA-33'; did you mean 'SA-3'?"]),
        ("transfomer-pp", ["did you mean 'transformer-pp'?"]),
        ("77", ["there is no class 77: classes are 1 to 57"]),
        ("0", ["0 leaves a slot empty"]),
        ("2111", ["slot 1 ('2111')", "not five genes but 4"]),
        ("12123,1211,1211", ["number of feature groups is 2"]),
        ("(11111)*4", ["the count comes first, as in 4*(11111)"]),
        ("no/such.toml", ["no/such.toml"]),
        ("no/such/run:3", ["not a run"]),
        ("SA-3 --markdown", ["--markdown"]),
        ("SA-3 SA-4", ["SA-4"]),
    ],
)
def test_what_is_neither_class_nor_genome_is_refused(refused, command, words):
    refused(["genes", *command.split()], *words)
