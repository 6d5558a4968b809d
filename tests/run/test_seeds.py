"""A search may begin with known genomes: from names, files, texts and runs to genomes of its space."""

from dataclasses import replace

import numpy as np
import pytest
from support.fake_run import write_run
from support.runs import Driver, Witness
from support.tiny import CONFIG, contents, invent, write_text

from star.architecture import catalogue
from star.architecture.genome import Space, canonical, genome_hash, parse, split, tile, to_text
from star.errors import UserError
from star.records import Status
from star.run.evolve import Interrupted
from star.run.plan import plan_run
from star.run.progress import Progress
from star.run.seeds import choose_seeds, lineage, resolve_seeds, seed_names, seed_results
from star.run.settings import Settings, from_toml
from star.search.plan import Plan
from star.search.search import Search
from star.storage.run_directory import RunDirectory

OWN = "12123,1211,1214,1214+11142,1231,1231/11111-21111"  # grouped-query attention and SwiGLU
NEW = "12123,3211,1214,3214/11111"  # grouped-query attention with short convolutions of some features: in no table

DRIVER = Driver(invent)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Directories of invented runs, over plain backbones and over decks of their own."""
    folder = tmp_path_factory.mktemp("runs")
    plain = write_run(folder / "plain", Settings(population=6, generations=1))
    own = write_run(folder / "own", Settings(population=6, generations=1, deck="extended", levels="all"))
    return {"plain": plain.path, "own": own.path}


@pytest.fixture
def config(tmp_path):
    return replace(CONFIG, corpus=(write_text(tmp_path),), slots=4, generations=2)


def seeds(*names, **settings):
    return list(resolve_seeds(plan_run(Settings(seed_genomes=names, **settings))))


def front_of(path):
    members = RunDirectory(path).latest_generation().front
    return [one.genome for one in sorted(members, key=lambda one: one.objectives["quality_bpb"])]


def test_names_files_and_texts_take_the_depth_of_the_run(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('title = "A"\ncitation = "B"\ngenome = "11111-91111"\n')
    found = seeds("transformer-pp", str(path), "31111-91111-91111", slots=5)
    named = catalogue.load("transformer-pp")
    assert found == [named.at(5), tile(parse("31111-91111-91111"), 5)], "the file holds the same one"
    assert seeds(str(path), slots=5) == [tile(parse("11111-91111"), 5)]


@pytest.mark.parametrize("slots", [8, 5, 12])
def test_a_run_stands_for_its_front_and_one_of_it_for_itself(runs, slots):
    expected = list(dict.fromkeys(canonical(tile(genome, slots)) for genome in front_of(runs["plain"])))
    assert seeds(str(runs["plain"]), slots=slots) == expected
    one = RunDirectory(runs["plain"]).latest_generation().front[0]
    assert seeds(f"{runs['plain']}:{one.id}") == [canonical(one.genome)]


@pytest.mark.parametrize(
    "name", ["transformer-pp", "mamba", "01111-11111", "11111-01111-482121-482122-91111", OWN, NEW]
)
@pytest.mark.parametrize("slots", [2, 3, 8])
@pytest.mark.parametrize("settings", [{"deck": "extended"}, {"deck": "extended", "levels": "all"}, {"levels": "all"}])
def test_what_is_found_is_a_genome_of_the_space_and_stays_so(name, slots, settings):
    config = Settings(seed_genomes=(name,), slots=slots, **settings)
    space = plan_run(config).search.space
    try:
        ((genome, called),) = resolve_seeds(plan_run(config)).items()
    except UserError as refusal:
        assert ("holds" if "levels" in settings else "in no deck") in str(refusal)
        assert "levels" in settings and slots < 8 or name == NEW
        return
    assert called == name and space.repair(genome) == genome and len(genome) == space.length
    again = replace(config, seed_genomes=(to_text(genome),))
    assert list(resolve_seeds(plan_run(again))) == [genome] == [parse(to_text(genome))], (
        "what is stored is what was found"
    )


@pytest.mark.parametrize(
    "space", [Space(6, "extended"), Space(6, "extended", "all"), Space(6, "paper", "all"), Space(6)]
)
def test_any_genome_of_a_space_is_a_seed_of_it_and_the_same_architecture(space):
    rng = np.random.default_rng(4)
    for _ in range(20):
        genome = space.sample(rng)
        settings = {"slots": 6, "deck": space.deck, "levels": space.levels}
        (found,) = seeds(to_text(genome), **settings)
        assert genome_hash(found) == genome_hash(genome) and space.repair(found) == found


def test_a_named_genome_brings_a_deck_of_its_own_where_operators_evolve(runs):
    (genome,) = seeds("transformer-pp", levels="all")
    classes, _ = split(genome)
    assert len(classes) == 4 and genome_hash(genome) == genome_hash(catalogue.load("transformer-pp").at(8))
    assert seeds(str(runs["own"]), deck="extended", levels="all")
    (spelled,) = seeds(OWN, slots=4)
    assert split(spelled)[0] == (), "all of its classes are in the table"


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("291111-91111", {}, ["class 29 (GDN)", "not in deck paper", "--deck extended"]),
        ("01111-01111", {}, ["class 0 (empty)", "--deck extended"]),
        (NEW, {"deck": "extended"}, ["in no deck", "--levels all"]),
        ("11111-21111-31111", {"slots": 3, "levels": "all"}, ["3 classes", "3 slots holds 1", "--slots"]),
        ("transformr-pp", {}, ["seed genome 'transformr-pp'", "did you mean 'transformer-pp'"]),
        ("11111-9", {}, ["seed genome '11111-9'", "five genes"]),
        ("no/such.toml", {}, ["no/such.toml"]),
        ("no/such/run:3", {}, ["no/such/run", "not a run"]),
        ("{plain}:9999", {}, ["keeps no individual 9999"]),
        ("{own}", {}, ["not in deck paper; --deck extended has it"]),
        ("{tmp}", {}, ["no front yet"]),
    ],
)
def test_refusals(runs, tmp_path, name, settings, words):
    RunDirectory(tmp_path / "empty").create("seed = 1\n").close()
    name = name.format(**runs, tmp=tmp_path / "empty")
    with pytest.raises(UserError) as refusal:
        seeds(name, **settings)
    assert "\n" not in str(refusal.value)
    for word in words:
        assert word in str(refusal.value)


def test_seeds_come_before_random_genomes_and_only_once():
    given = tuple(map(parse, ("11111-91111-11111", "11111-91112-11211", "51111-51111-71111")))
    search = Search(Plan(population=4, space=Space(3), num_objectives=3, seed=0), seeds=given)
    proposals = search.ask(4)
    assert [one.genome for one in proposals[:2]] == [given[0], given[2]], "the second is the first, spelled otherwise"
    assert [one.id for one in proposals] == [0, 1, 2, 3] and all(one.parents == () for one in proposals)
    assert len({canonical(one.genome) for one in proposals}) == 4


def test_an_infeasible_seed_is_kept_untrained():
    class Odd:
        num_constraints = 1

        def violations(self, genome):
            return (float(genome[0] % 2),)

    search = Search(Plan(population=4, space=Space(3), num_objectives=3, seed=0), Odd(), (parse("11111-91111-11111"),))
    proposals = search.ask(4)
    assert [one.genome[0] % 2 for one in proposals] == [1, 0, 0, 0] and search.rejected_infeasible > 0


def test_a_run_begins_with_its_seeds_and_resumes_without_what_they_came_from(tmp_path, config, runs):
    named = ("transformer-pp", f"{runs['plain']}", "lfm2-like")
    run, config = RunDirectory(tmp_path / "run"), replace(config, seed_genomes=named, population=16)
    DRIVER.evolve(config, run)
    written = from_toml(run.config_toml).seed_genomes
    expected = list(resolve_seeds(plan_run(config)))
    assert [parse(text) for text in written] == expected and len(written) > 3
    first = {one.hash: one for one in run.generations()[0].individuals}
    born = [hash for hash, one in run.history().items() if one.order.generation == 0]
    assert {genome_hash(genome) for genome in expected} <= set(born)
    ids = {genome_hash(genome): number for number, genome in enumerate(expected)}
    assert all(first[hash].id == number for hash, number in ids.items() if hash in first)
    whole = contents(run)
    for path in (run.path / "generations").iterdir():
        path.unlink()
    DRIVER.resume(run)
    assert contents(run) == whole


@pytest.mark.parametrize("mode", ["generations", "steady"])
def test_what_every_seed_came_to_is_known_whatever_became_of_it(tmp_path, config, mode):
    """On the front, dominated, failed: by the names that a person gave, from the directory alone."""
    named = ("transformer-pp", "lfm2-like", "31111-91111-91111", "51111-51111-71111", "mamba", "71111-91111")
    run = RunDirectory(tmp_path / "run")
    assert seed_results_of(config, run, named, mode) == []
    DRIVER.resume(run)
    found = seed_results(RunDirectory(run.path).open())
    genomes = resolve_seeds(plan_run(replace(config, seed_genomes=named)))
    assert [(one.name, one.id) for one in found] == [(name, i) for i, name in enumerate(genomes.values())]
    known, columns = run.evaluations(), {"quality_bpb", "params", "cache_bytes"}
    for one, genome in zip(found, genomes, strict=True):
        evaluation = known[genome_hash(genome)]
        assert (one.status, one.objectives) == (evaluation.status, evaluation.objectives)
        assert (one.objectives.keys() == columns) == (one.status is Status.OK)
    front = {one.id for one in run.latest_generation().front}
    assert {one.id in front for one in found} == {True, False} and len({one.status for one in found}) == 2
    born = {one.id: one for generation in run.generations() for one in generation.individuals}
    assert all(born[one.id].hash == genome_hash(genome) for one, genome in zip(found, genomes, strict=True))
    (run.path / "made_with.json").unlink()
    names = [one.name for one in seed_results(run)]
    assert names[0] == catalogue.load("transformer-pp").title and names[2] == to_text(list(genomes)[2])


def seed_results_of(config, run, named, mode):
    """What is known of the seeds of a run that was stopped before anything landed."""

    class Stopped(Progress):
        def generation_started(self, number, proposals, proxies):
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        DRIVER.evolve(replace(config, seed_genomes=named, mode=mode), run, Stopped())
    return seed_results(run)


def test_more_seeds_than_places_are_told_of(tmp_path, config):
    notes, texts = Witness(), ("11111", "21111", "31111", "41111", "51111", "61111", "71111")
    run = RunDirectory(tmp_path / "run")
    DRIVER.evolve(replace(config, seed_genomes=texts), run, notes)
    told, corpus = notes.notes
    assert told == "of 7 seed genomes the first 6 fit into the population" and corpus.startswith("the corpus has ")
    assert len(from_toml(run.config_toml).seed_genomes) == 6


def test_seeds_beyond_a_limit_give_their_places_to_others(tmp_path, config):
    texts = ("11111", "21111", "41111", "51111", "91111")
    costs = {text: plan_run(config).target.count(tile(parse(text), 4)).params for text in texts}
    limit = float(sorted(costs.values())[2])
    config = replace(config, seed_genomes=tuple(costs), max_params=limit, population=2, offspring=2)
    run, notes = RunDirectory(tmp_path / "run"), Witness()
    DRIVER.evolve(config, run, notes)
    fitting, beyond = [], []
    for text, cost in costs.items():
        (beyond if cost > limit else fitting).append(text)
    assert len(beyond) == 2 and len(fitting) == 3
    assert notes.notes.pop().startswith("the corpus has ")
    assert notes.notes == [
        *(f"seed genome {text} is left out: params {costs[text]:,} > max_params {limit:,.0f}" for text in beyond),
        "of 3 seed genomes the first 2 fit into the population",
    ]
    assert from_toml(run.config_toml).seed_genomes == tuple(to_text(tile(parse(text), 4)) for text in fitting[:2])
    born = {hash for hash, one in run.history().items() if one.order.generation == 0}
    assert born == {genome_hash(tile(parse(text), 4)) for text in fitting[:2]}
    whole = contents(run)
    for path in (run.path / "generations").iterdir():
        path.unlink()
    notes.notes.clear()
    DRIVER.resume(run, progress=notes)
    assert contents(run) == whole and notes.notes == [], "what the file holds is not chosen from again"


def test_a_seed_that_cannot_be_built_at_the_target_is_left_out(tmp_path, runs):
    path = tmp_path / "six.toml"
    path.write_text("[scale]\nslots = 4\nd_model = 48\nhead_dim = 8\nvocab_size = 256\nseq_len = 64\n")
    notes, config = [], Settings(target=str(path), seed_genomes=("31111", "11111"), slots=4)
    assert list(choose_seeds(plan_run(config), notes.append)) == [tile(parse("11111"), 4)]
    assert notes == [f"seed genome 31111 is left out: {plan_run(config).screen().refusal(tile(parse('31111'), 4))}"]
    assert "SA-3" in notes[0]
    config = Settings(max_params=1.0, seed_genomes=(str(runs["plain"]),))
    notes.clear()
    assert list(choose_seeds(plan_run(config), notes.append)) == []
    assert all(note.startswith(f"seed genome {runs['plain']}:"[:72]) for note in notes) and len(notes) > 1


def test_seeds_from_the_command_line(star, tmp_path, monkeypatch):
    seen = []

    def stop(config, run, watcher):
        seen.append(config.seed_genomes)
        raise UserError("enough")

    monkeypatch.setattr("star.run.evolve.evolve", stop)
    star("evolve", "--seed-genomes", "mamba, transformer-pp", "--seed-genomes", OWN, "--seed-genomes", "11111,21111")
    assert seen == [("mamba", "transformer-pp", OWN, "11111", "21111")]


def test_a_wrong_seed_is_one_line_and_leaves_nothing(refused, tmp_path):
    command = ["evolve", "--out", tmp_path / "run", "--seed-genomes"]
    refused([*command, "mamba,transformr-pp"], "did you mean 'transformer-pp'")
    refused([*command, "291111"], "--deck extended")
    refused([*command, ""], "seed genome ''")
    assert not (tmp_path / "run").exists()


def test_a_run_tells_its_seeds_from_samples_and_children(tmp_path, config):
    own = "31111-91111-91111-91111"
    config = replace(config, seed_genomes=("transformer-pp", own), generations=1)
    run = RunDirectory(tmp_path / "run")
    DRIVER.evolve(config, run)
    recorded = from_toml(run.open().config_toml)
    names = seed_names(recorded)
    assert sorted(names.values()) == [own, "Transformer++"]
    first, last = run.generations()
    told = [lineage(one, names) for one in sorted(first.individuals, key=lambda one: one.id)]
    assert told == ["as seed: Transformer++", f"as seed: {own}", *["by sampling"] * (len(told) - 2)] and len(told) > 2
    children = [one for one in last.individuals if one.parents]
    assert children and all(lineage(one, names) == f"of {' and '.join(map(str, one.parents))}" for one in children)
    later = replace(first.individuals[0], hash=next(iter(names)), generation=1, parents=())
    assert lineage(later, names) == "by sampling", "only the first generation has seeds"
    assert seed_names(replace(recorded, seed_genomes=())) == {}
