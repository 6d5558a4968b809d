"""The loss of a model on documents: nats and perplexity per token, bits per byte, and the loss by position."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from star.data.synthetic import IGNORED
from star.errors import UserError
from star.metrics.documents import Document
from star.metrics.interval import ratio_interval
from star.metrics.windows import Batch, Windowing, cut, gather
from star.model.language_model import LanguageModel

PASS_TOKENS = 16_384  # of one forward pass, about
PASS_LOGITS = 1 << 26  # numbers of its result, at most


class Stretch(NamedTuple):
    """The tokens that are predicted from `first` to `last` tokens of their window, and their mean loss in nats."""

    first: int
    last: int
    tokens: int
    loss: float


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """The sum of nats and the number of tokens, by how many tokens of its window a prediction sees: 1, 2, ..."""

    nats: np.ndarray
    tokens: np.ndarray

    def stretch(self, first: int, last: int) -> Stretch:
        """Return the mean over predictions from `first` to `last` tokens; it is NaN if there are none."""
        tokens = int(self.tokens[first - 1 : last].sum())
        return Stretch(first, last, tokens, float(self.nats[first - 1 : last].sum()) / tokens if tokens else math.nan)

    def doublings(self) -> list[Stretch]:
        """Return the stretches 1, 2 to 3, 4 to 7, ..., those without any token left out."""
        firsts = (1 << i for i in range(self.tokens.size.bit_length()))
        found = (self.stretch(first, min(2 * first - 1, self.tokens.size)) for first in firsts)
        return [one for one in found if one.tokens]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextLoss:
    """The loss on a text.

    Attributes:
        documents, tokens, num_bytes: of the text.
        nats: the sum over all tokens of -ln p(token | the tokens before it in its window).
        interval: the 95 % interval of bits per byte over documents; None for fewer than two.
        positions: of all windows.
        full_windows, full_positions: of those that are as long as the context, and predict no token again.
    """

    documents: int
    tokens: int
    num_bytes: float
    nats: float
    interval: tuple[float, float] | None
    positions: Positions
    full_windows: int
    full_positions: Positions

    @property
    def loss(self) -> float:
        """Nats per token."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        """The exponential of the loss; infinite beyond what a number holds."""
        return math.exp(self.loss) if self.loss < math.log(np.finfo(float).max) else math.inf

    @property
    def bits_per_byte(self) -> float:
        """The sum of bits over all tokens, divided by the bytes of the text."""
        return self.nats / math.log(2) / self.num_bytes


def measure_loss(model: LanguageModel, documents: Iterable[Document], start: int, windowing: Windowing) -> TextLoss:
    """Return the loss of a model in evaluation mode on documents, each after the token `start`.

    `star.metrics.windows` says which tokens a prediction sees.

    Raises:
        UserError: there are no tokens, or the loss is not finite.
    """
    sums = _Sums(windowing.context)
    windows = cut(sums.counted(documents), start, windowing)
    for batch in gather(windows, count_rows(model, windowing.context)):
        sums.add(batch, nats_of(predict(model, batch.inputs), batch.targets))
    return sums.total()


def count_rows(model: LanguageModel, context: int) -> int:
    """Return the windows of so many tokens that one forward pass takes."""
    return max(1, min(PASS_TOKENS, PASS_LOGITS // model.embedding.num_embeddings) // context)


@torch.no_grad()
def predict(model: LanguageModel, inputs: np.ndarray) -> Tensor:
    """Return the logits (B, T, V) in float32 of the tokens after integers (B, T), on the device of the model."""
    return model(torch.from_numpy(inputs).to(model.embedding.weight.device)).float()


def nats_of(logits: Tensor, targets: np.ndarray) -> np.ndarray:
    """Return -ln p of each target (B, T) by logits (B, T, V), float64 of shape (B, T); 0 where it is IGNORED."""
    wanted = torch.from_numpy(targets).to(logits.device)
    nats = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="none")
    return nats.view(wanted.shape).double().cpu().numpy()


class _Sums:
    """Sums over the windows of a text."""

    def __init__(self, context: int) -> None:
        self._context = context
        self._tokens: list[int] = []
        self._bytes: list[float] = []
        self._nats: dict[int, float] = {}
        self._all, self._full = ((np.zeros(context), np.zeros(context, dtype=np.int64)) for _ in range(2))
        self._full_windows = 0

    def counted(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents, and note their sizes."""
        for one in documents:
            self._tokens.append(one.tokens.size)
            self._bytes.append(one.num_bytes)
            yield one

    def add(self, batch: Batch, nats: np.ndarray) -> None:
        """Add the nats (B, T) of a batch."""
        counts = batch.targets != IGNORED
        for document, total in zip(batch.documents.tolist(), nats.sum(axis=1).tolist(), strict=True):
            self._nats[document] = self._nats.get(document, 0.0) + total
        is_full = counts.sum(axis=1) == self._context
        self._full_windows += int(is_full.sum())
        for sums, rows in ((self._all, slice(None)), (self._full, is_full)):
            sums[0][: nats.shape[1]] += nats[rows].sum(axis=0)
            sums[1][: nats.shape[1]] += counts[rows].sum(axis=0)

    def total(self) -> TextLoss:
        """Return what all windows say together."""
        if not sum(self._tokens):
            raise UserError("the text has no tokens to measure the loss on")
        nats = np.array([self._nats.get(number, 0.0) for number in range(len(self._tokens))])
        if not np.isfinite(nats).all():
            raise UserError("the loss of the model on this text is not finite")
        num_bytes = np.array(self._bytes)
        return TextLoss(
            documents=nats.size,
            tokens=sum(self._tokens),
            num_bytes=float(num_bytes.sum()),
            nats=float(nats.sum()),
            interval=ratio_interval(nats / math.log(2), num_bytes),
            positions=Positions(*self._all),
            full_windows=self._full_windows,
            full_positions=Positions(*self._full),
        )
