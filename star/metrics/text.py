"""The loss of a model on a corpus, by context too, as the settings of an evaluation ask for it."""

from collections.abc import Iterator
from typing import NamedTuple

from star.data.text_source import TextSource
from star.errors import SettingError, UserError
from star.metrics.documents import Document, Reading, read_documents, start_token
from star.metrics.loss import Stretch, TextLoss, measure_loss
from star.metrics.settings import EvalSettings
from star.metrics.trained_model import TrainedModel
from star.metrics.windows import Windowing


class TextResult(NamedTuple):
    """The loss on a corpus.

    Attributes:
        loss: in windows of `windowing`.
        contexts: by context C of the settings, the loss of the tokens that see more than C / 2 and at most C tokens.
        full_windows: of the longest of these contexts, in which alone these tokens lie; 0 without contexts.
    """

    loss: TextLoss
    windowing: Windowing
    contexts: list[Stretch]
    full_windows: int


def measure_text(trained: TrainedModel, source: TextSource, settings: EvalSettings) -> TextResult:
    """Return the loss of a model on a corpus.

    The loss by context is measured in windows of the longest context, which do not overlap, and of these in the full
    ones alone: so each context has tokens of the same windows.

    Raises:
        SettingError: a context that is longer than the learned positions, or a stride longer than the context.
        UserError: the corpus cannot be read, or has no document as long as the longest context.
    """
    context = settings.context or trained.context
    windowing = Windowing(context, settings.stride or context)
    if windowing.stride > context:
        raise SettingError("stride", f"must be at most the {context:,} tokens of a window, not {windowing.stride:,}")
    trained.check_context("context", context)
    longest = max(settings.contexts, default=0)
    trained.check_context("contexts", longest)
    reading = Reading(source=source, side=settings.side, tokens=int(settings.tokens))
    start = start_token(trained.tokenizer)

    def documents() -> Iterator[Document]:
        return read_documents(reading, trained)

    by_context, full_windows = [], 0
    if longest:
        found = measure_loss(trained.model, documents(), start, Windowing(longest, longest))
        full_windows = found.full_windows
        if not full_windows:
            raise UserError(f"no document of the text has the {longest:,} tokens of the longest of the contexts")
        lengths = sorted(set(settings.contexts))
        by_context = [found.full_positions.stretch(length // 2 + 1, length) for length in lengths]
    return TextResult(measure_loss(trained.model, documents(), start, windowing), windowing, by_context, full_windows)
