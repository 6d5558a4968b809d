"""Settings that decide what comes out stay as they were when the run began; those that do not may change."""

import json
import re
import tomllib
from dataclasses import fields, replace

import pytest
from support.runs import Driver, Witness
from support.tiny import CONFIG, contents, invent, write_text

from star.errors import UserError
from star.run.evolve import Interrupted
from star.run.made_with import FREE, fixed_settings
from star.run.plan import plan_run, read_plan
from star.run.replay import replay
from star.run.retrain import retrain
from star.run.settings import Settings, from_toml
from star.storage.run_directory import RunDirectory

DRIVER = Driver(invent)
RACE = replace(CONFIG, tokens=320, rungs=3, generations=1)
# Another value for each setting, that a run with this configuration could have had.
OTHERS = {
    "population": "7",
    "offspring": "4",
    "seed": "1",
    "algorithm": '"nsga3"',
    "adaptive": "true",
    "mode": '"steady"',
    "slots": "4",
    "deck": '"extended"',
    "levels": '"all"',
    "backbone_mutation": "0.2",
    "operator_mutation": "0.2",
    "featurizer_mutation": "0.2",
    "operator_crossover": "0.2",
    "featurizer_crossover": "0.2",
    "scale": '"nano"',
    "scale_toml": None,
    "target": '"nano"',
    "target_toml": None,
    "context": "17",
    "dtype": '"fp32"',
    "batch": "2",
    "device": '"cuda"',
    "max_params": "1e9",
    "max_cache": "1e9",
    "max_memory": "1e9",
    "max_flops": "1e12",
    "constrain": '"llama"',
    "window": "5",
    "objectives": '["quality", "params"]',
    "seed_genomes": '["11111-11111-11111"]',
    "tokens": "640",
    "balance": '"loss"',
    "rungs": "2",
    "eta": "2",
    "warm_weights": "true",
    "early_loss": "true",
    "ranking": '"estimate"',
    "longer_share": "0.5",
    "proxy_seconds": '"5s"',
    "budget": '"10m"',
    "screening": "3",
    "text_field": '"body"',
    "tokenizer": '"bpe:300"',
    "vocab_size": "320",
}
HARMLESS = {
    "workers": "2",
    "timeout": "5.0",
    "tries": "2",
    "track": '["tensorboard"]',
    "worker_memory": "1e9",
    "generations": "1",
    "store": '""',
    "address": '""',
    "serial": "true",
    "gpus_per_worker": "0.0",
    "verify_tokens": "512",
    "verify_seeds": "1",
}


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(params=[2, 9], ids=["before the first generation", "after it"])
def stopped(request, tmp_path, text):
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(Interrupted):
        DRIVER.evolve(replace(RACE, corpus=(text,)), run, Witness(stop_at=request.param))
    assert bool(run.generations()) == (request.param == 9)
    return run


def edit(run: RunDirectory, key: str, value: str | None) -> None:
    """Change a key of run.toml, or delete it; the text of a scale's file inside it stays as it is."""
    path = run.path / "run.toml"
    before, scale, after = path.read_text().split("'''")
    line = f"{key} = {value}\n" if value else ""
    changed = [re.sub(rf"(?m)^{key} = .*\n", line, part) for part in (before, after)]
    path.write_text("'''".join((changed[0], scale, changed[1])))


def test_every_setting_is_either_compared_or_free():
    names = {field.name for field in fields(Settings)}
    assert names == OTHERS.keys() | FREE and not OTHERS.keys() & FREE
    assert HARMLESS.keys() | {"corpus"} == FREE


def test_each_changed_setting_is_refused_with_its_key_and_both_values(stopped):
    original = (stopped.path / "run.toml").read_text()
    then = tomllib.loads(original)
    before = contents(stopped, "evaluations")
    for key, value in OTHERS.items():
        if value is None:
            continue
        edit(stopped, key, value)
        now = tomllib.loads((stopped.path / "run.toml").read_text())[key]
        assert now != then[key]
        sentence = re.escape(
            f"run.toml has {key} = {now!r}, but the run was made with {key} = {then[key]!r}: set it back"
        )
        with pytest.raises(UserError, match=sentence):
            DRIVER.resume(stopped)
        (stopped.path / "run.toml").write_text(original)
    assert contents(stopped, "evaluations") == before
    assert DRIVER.resume(stopped).generation == 1, "set back, it goes on"


def test_what_cannot_change_a_result_may_differ(stopped, tmp_path, text):
    whole = RunDirectory(tmp_path / "whole")
    DRIVER.evolve(replace(RACE, corpus=(text,)), whole)
    for key, value in HARMLESS.items():
        edit(stopped, key, value)
    DRIVER.resume(stopped)
    assert contents(stopped) == contents(whole)


def test_replay_compares_them_too(star, tmp_path, text):
    run = RunDirectory(tmp_path / "run")
    DRIVER.evolve(replace(RACE, corpus=(text,)), run)
    number = str(run.generations()[0].individuals[0].id)
    edit(run, "tokens", "640")
    for again in (lambda: replay(run), lambda: retrain(run, number, print), lambda: DRIVER.resume(run)):
        with pytest.raises(UserError, match="tokens = 640, but the run was made with tokens = 320"):
            again()
    code, out, err = star("replay", run.path)
    assert code == 2 and "tokens = 640" in err and err.count("\n") == 1


def test_the_text_of_a_target_is_compared_line_by_line(tmp_path, text):
    path = tmp_path / "mine.toml"
    sizes = "[scale]\nd_model = 16\nhead_dim = 4\nvocab_size = 256\nseq_len = 16\nslots = {}\n"
    path.write_text('title = "A"\ncitation = "B"\n' + sizes.format(4))
    run = RunDirectory(tmp_path / "run")
    DRIVER.evolve(replace(RACE, corpus=(text,), target=str(path)), run)
    file = run.path / "run.toml"
    file.write_text(file.read_text().replace("slots = 4", "slots = 6"))
    with pytest.raises(UserError, match="target_toml = 'slots = 6', but .* target_toml = 'slots = 4'"):
        DRIVER.resume(run)


def test_a_key_that_was_deleted_stands_for_its_default(stopped):
    for key in ("eta", "balance", "slots"):
        edit(stopped, key, None)
    DRIVER.resume(stopped)  # the defaults of these are what the run was made with
    edit(stopped, "population", None)
    with pytest.raises(UserError, match="population = 64, but the run was made with population = 6"):
        DRIVER.resume(stopped)


def test_a_setting_that_came_after_the_run_stood_at_its_default(stopped):
    values = stopped.made_with()
    del values["settings"]["balance"], values["settings"]["slots"]
    with stopped.resume():
        stopped.write_made_with(values)
    read_plan(stopped)
    edit(stopped, "balance", '"loss"')
    with pytest.raises(UserError, match="balance = 'loss', but the run was made with balance = 'bias'"):
        read_plan(stopped)


def test_a_run_from_before_there_was_a_record_goes_on_and_has_one(stopped, tmp_path, text):
    (stopped.path / "made_with.json").unlink()
    notes = Witness()
    DRIVER.resume(stopped, progress=notes)
    assert notes.notes == []
    config = replace(RACE, corpus=(text,))
    assert stopped.made_with()["settings"] == json.loads(json.dumps(fixed_settings(plan_run(config).settings)))
    edit(stopped, "seed", "3")
    with pytest.raises(UserError, match="seed = 3, but the run was made with seed = 0"):
        DRIVER.resume(stopped)


@pytest.mark.parametrize("mode", ["generations", "steady"])
def test_other_objectives_of_a_run_without_a_record_are_refused(tmp_path, text, mode):
    """Of the same number, too."""
    run = RunDirectory(tmp_path / "run")
    DRIVER.evolve(replace(CONFIG, corpus=(text,), mode=mode, generations=1), run)
    (run.path / "made_with.json").unlink()
    for names in ('["quality", "params"]', '["quality", "params", "memory"]'):
        edit(run, "objectives", names)
        with pytest.raises(UserError, match="but the run was made with cache_bytes, params, quality_bpb"):
            DRIVER.resume(run, 1)


def test_a_damaged_record_is_told_of(stopped):
    path = stopped.path / "made_with.json"
    path.write_bytes(path.read_bytes().replace(b"320", b"640"))
    notes = Witness()
    DRIVER.resume(stopped, progress=notes)
    assert any("made_with.json is torn" in one for one in notes.notes)
    assert any("still has the settings of the run could not be checked" in one for one in notes.notes)


def test_no_flipped_bit_of_run_toml_changes_a_result(stopped):
    """Either it is refused, or it is in something that may differ."""
    path = stopped.path / "run.toml"
    data = path.read_bytes()
    fixed = fixed_settings(read_plan(stopped).settings)
    for bit in range(0, 8 * len(data), 7):
        path.write_bytes(data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :])
        try:
            found = fixed_settings(read_plan(stopped).settings)
        except UserError:
            continue
        assert found == fixed, bit


@pytest.mark.parametrize("moved", [True, False])
def test_text_that_moved_is_known_by_its_digest(tmp_path, moved):
    text = write_text(tmp_path)
    run = RunDirectory(tmp_path / "run")
    DRIVER.evolve(replace(CONFIG, corpus=(text,), generations=1), run)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "text.txt").rename(elsewhere / "words.txt")
    with pytest.raises(UserError, match="text.txt does not exist.*; if the text of a run has moved: star resume RUN"):
        DRIVER.resume(run, 1)
    place = (str(elsewhere / "words.txt"),)
    if not moved:
        (elsewhere / "words.txt").write_text("another text, as long as one wants it to be\n" * 200)
        with pytest.raises(UserError, match="the corpus is not the one that this run began with"):
            DRIVER.resume(run, 1, places={"corpus": place})
        assert from_toml(run.config_toml).corpus == (text,)
        return
    assert DRIVER.resume(run, 1, places={"corpus": place}).generation == 2
    assert from_toml(run.config_toml).corpus == place, "and is found there from now on"
    assert DRIVER.resume(run, 1).generation == 3
