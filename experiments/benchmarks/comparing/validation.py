"""The errors of a regressor on genomes outside its training set."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import kendalltau

from comparing.surrogate import Process
from comparing.table import Data

FOLDS = 10

Predict = Callable[[Data, np.ndarray, np.ndarray], np.ndarray]  # data, rows to fit to, rows to predict


class Errors(NamedTuple):
    """The errors of one output: root mean squared error, share of explained variance, and Kendall's tau-b with the
    truth."""

    rmse: float
    r2: float
    tau: float


def errors(truth: np.ndarray, predicted: np.ndarray) -> list[Errors]:
    """Return the errors of each column."""
    squares = ((truth - predicted) ** 2).mean(axis=0)
    taus = [kendalltau(one, other).statistic for one, other in zip(truth.T, predicted.T, strict=True)]
    return [
        Errors(float(square**0.5), float(1 - square / variance), float(tau))
        for square, variance, tau in zip(squares, truth.var(axis=0), taus, strict=True)
    ]


def predict(data: Data, fitted: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Predict with the Gaussian process that answers the searchers."""
    process = Process(data.features[fitted], data.qualities[fitted], data.blocks)
    return process.predict(data.features[asked])


def cross_predict(data: Data, predict: Predict = predict, folds: int = FOLDS) -> np.ndarray:
    """Return the prediction for every row (N, outputs) by cross-validation, with folds from a fixed seed."""
    fold = np.random.default_rng(0).permutation(len(data.features)) % folds
    predicted = np.zeros_like(data.qualities)
    for k in range(folds):
        predicted[fold == k] = predict(data, np.flatnonzero(fold != k), np.flatnonzero(fold == k))
    return predicted


def extrapolate(data: Data, predict: Predict = predict) -> list[Errors]:
    """Return the errors at evolved rows after a fit to uniform ones; empty if there are too few of either."""
    fitted, asked = np.flatnonzero(data.is_uniform), np.flatnonzero(~data.is_uniform)
    if min(len(fitted), len(asked)) < FOLDS:
        return []
    return errors(data.qualities[asked], predict(data, fitted, asked))


def rung_agreement(qualities: np.ndarray) -> list[float]:
    """Return Kendall's tau between the quality at each rung and at the end."""
    return [float(kendalltau(rung, qualities[:, -1]).statistic) for rung in qualities[:, :-1].T]
