"""A trained model with what is needed to measure it: sizes, tokenizer, and the text that it was trained on."""

from dataclasses import dataclass, replace
from pathlib import Path

from star.architecture.description import KEY, read_description
from star.architecture.genome import decode, parse
from star.architecture.scales import Scale
from star.architecture.spec import Dimensions, Slot
from star.data.prepare import stored_tokenizer
from star.data.text_source import TextSource, find_shards
from star.data.tokenizer import TOKENIZER_FILES, Bytes, Tokenizer
from star.data.tokenizer import read_tokenizer as read_file
from star.data.vocabulary import BYTES, model_vocabulary
from star.errors import SettingError, UserError, located
from star.metrics.weights import build_model, from_arrays, opened
from star.model.language_model import LanguageModel
from star.records import Genome, Individual
from star.run.plan import RunPlan
from star.run.text import read_tokenizer
from star.run.vocabulary import text_source as source_of_run
from star.storage.places import CONFIG, MODEL, TEXT, TRAIN_CONFIG, WEIGHTS_FILE
from star.storage.run_directory import RunDirectory
from star.storage.training_directory import TrainingDirectory
from star.trainer.plan import plan_training
from star.trainer.settings import from_toml
from star.trainer.train import text_source as source_of_training


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedModel:
    """A trained model.

    Attributes:
        name: as a person named it.
        model: in evaluation mode, on the CPU, in float32.
        genome: of it.
        scale: its sizes, with its own vocabulary, and the recipe of its training where there is one.
        context: the tokens of a training sequence.
        tokenizer: the one that it was trained with.
        source: the text that it was trained on; None if that is not known.
        notes: sentences for a person.
    """

    name: str
    model: LanguageModel
    genome: Genome
    scale: Scale
    context: int
    tokenizer: Tokenizer
    source: TextSource | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.tokenizer.vocab_size > self.dims.vocab_size:
            raise UserError(
                f"{self.name} has a vocabulary of {self.dims.vocab_size:,}, and its tokenizer {self.tokenizer.name} "
                f"{self.tokenizer.vocab_size:,} tokens"
            )

    @property
    def dims(self) -> Dimensions:
        """Its sizes."""
        return self.scale.dims

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Its decoded genome."""
        return decode(self.genome)

    def check_context(self, setting: str, tokens: int) -> None:
        """Raise SettingError if the model has learned positions for fewer tokens."""
        if self.dims.style.positions == "learned" and tokens > self.dims.seq_len:
            most = f"{self.dims.seq_len:,}, the learned positions of {self.name}"
            raise SettingError(setting, f"must be at most {most}, not {tokens:,}")


def read_model(path: Path) -> TrainedModel:
    """Return the model of a training's directory, of an exported folder, or of the file of weights in it.

    Raises:
        UserError: it is none of these, is damaged, or has no weights yet.
    """
    if (path / TRAIN_CONFIG).is_file():
        return read_training(path)
    file = path / WEIGHTS_FILE if path.is_dir() else path
    if file.is_file():
        return read_export(file)
    if (path / CONFIG).is_file():
        raise UserError(f"{path} is a run of many models: name one as {path}:ID; `star front {path}` lists them")
    if inside := sorted(path.glob(f"*/{WEIGHTS_FILE}")):
        raise UserError(f"{path} holds several models: name one, such as {inside[0].parent}")
    raise UserError(
        f"{path} is no model: neither the directory of a training, nor an exported folder with its {WEIGHTS_FILE}, nor "
        "RUN:ID"
    )


def read_training(path: Path) -> TrainedModel:
    """Return the model of a training as of its latest checkpoint, or as it was exported if there is none."""
    directory = TrainingDirectory(path)
    settings = from_toml(directory.config_toml)
    plan = plan_training(settings)
    found = directory.find_weights()
    step, file = found or (plan.recipe.steps, path / MODEL / WEIGHTS_FILE)
    if not file.is_file():
        raise UserError(f"{path} has no weights yet: its first checkpoint comes after {plan.every:,} training steps")
    source = source_of_training(plan)
    tokenizer = stored_tokenizer(source, path / TEXT)
    vocabulary = model_vocabulary(settings.scale, plan.dims.vocab_size, tokenizer.name, tokenizer.vocab_size)
    dims = replace(plan.dims, vocab_size=vocabulary)
    with opened(file) as weights:
        model = build_model(plan.genome, dims, weights)
    unfinished = f"{path} is trained for {step:,} of {plan.recipe.steps:,} steps"
    return TrainedModel(
        name=str(path),
        model=model,
        genome=plan.genome,
        scale=Scale(
            name=Path(settings.scale).name.removesuffix(".toml"),
            num_slots=len(decode(plan.genome)),
            dims=dims,
            recipe=plan.recipe,
        ),
        context=plan.recipe.seq_len,
        tokenizer=tokenizer,
        source=_readable(source, path),
        notes=(*directory.new_warnings(), *((unfinished,) if step < plan.recipe.steps else ())),
    )


def read_member(run: RunDirectory, individual: Individual, plan: RunPlan) -> TrainedModel:
    """Return the model of a run whose weights it keeps: those of its front.

    Raises:
        UserError: it keeps none of this one, or the tokenizer is gone.
    """
    name = f"{run.path}:{individual.id}"
    assert plan.trained.recipe, "it was trained"
    arrays = run.load_weights(individual.hash)
    if arrays is None:
        raise UserError(f"the run keeps no weights of {name}, only those of its front")
    return TrainedModel(
        name=name,
        model=build_model(individual.genome, plan.trained.dims, from_arrays(arrays, name)),
        genome=individual.genome,
        scale=plan.trained,
        context=plan.trained.recipe.seq_len,
        tokenizer=read_tokenizer(plan.settings, run.path),
        source=_readable(source_of_run(plan.settings), run.path),
    )


def read_export(file: Path) -> TrainedModel:
    """Return the model in an exported file of weights, whose metadata say what it is; its tokenizer lies beside it.

    Raises:
        UserError: the file is truncated, describes no model, or holds the weights of another one.
    """
    with opened(file) as weights:
        if KEY not in weights.metadata:
            raise UserError(f"{file} does not tell which model it holds: no export of star wrote it")
        found = read_description(weights.metadata[KEY], str(file))
        with located(str(file)):
            scale, genome = found.read_scale(), parse(found.genome)
        model = build_model(genome, scale.dims, weights)
    return TrainedModel(
        name=str(file.parent if file.name == WEIGHTS_FILE else file),
        model=model,
        genome=genome,
        scale=scale,
        context=found.context,
        tokenizer=_tokenizer_beside(file, found.tokenizer, found.tokenizer_digest),
    )


def _readable(source: TextSource, path: Path) -> TextSource:
    """Return a source whose documents can be read: in place of shards, the folder of tokens in a directory."""
    is_shards = any(find_shards(Path(one)) for one in source.sources)
    return TextSource(sources=(str(path / TEXT),)) if is_shards else source


def _tokenizer_beside(file: Path, name: str, digest: str) -> Tokenizer:
    if name == BYTES:
        return Bytes()
    path = next((one for one in map(file.with_name, TOKENIZER_FILES) if one.is_file()), None)
    if path is None:
        raise UserError(f"{file} was trained with tokenizer {name:.60}, and beside it is no {TOKENIZER_FILES[0]}")
    tokenizer = read_file(path)
    if tokenizer.digest != digest:
        raise UserError(f"{path} is not the tokenizer that {file.name} was trained with")
    tokenizer.name = name
    return tokenizer
