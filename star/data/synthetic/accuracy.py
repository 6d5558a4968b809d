"""Score the answers to synthetic tasks."""

import numpy as np

IGNORED = -100


def macro_accuracy(predicted: np.ndarray, targets: np.ndarray, num_classes: int) -> float:
    """Return the mean over classes c of the share of targets c that were predicted as c, in [0, 1].

    Args:
        predicted: integers of any shape, in [0, num_classes) wherever the target is not IGNORED.
        targets: of the same shape.

    The mean is over classes that occur among targets or predictions: one that is predicted and never right to predict
    counts as 0, one that is in neither does not count. 0 if nothing is asked. This is what MulticlassAccuracy of
    torchmetrics computes by default (average="macro").
    """
    asked = targets != IGNORED
    wanted, given = targets[asked], predicted[asked]
    support = np.bincount(wanted, minlength=num_classes)
    hits = np.bincount(wanted[wanted == given], minlength=num_classes)
    occurs = (support + np.bincount(given, minlength=num_classes)) > 0
    assert occurs.size == num_classes, "a class beyond the vocabulary"
    return float(np.mean(hits[occurs] / np.maximum(support[occurs], 1))) if occurs.any() else 0.0


def epoch_accuracy(predicted: np.ndarray, targets: np.ndarray, num_classes: int, batch_size: int) -> float:
    """Return the mean over batches of examples (N, T) of their macro accuracies; it differs from that over all examples
    at once.
    """
    starts = range(0, len(targets), batch_size)
    parts = [(predicted[start : start + batch_size], targets[start : start + batch_size]) for start in starts]
    return float(np.mean([macro_accuracy(given, wanted, num_classes) for given, wanted in parts]))


def micro_accuracy(predicted: np.ndarray, targets: np.ndarray) -> float:
    """Return the share of targets that were predicted right, in [0, 1]."""
    asked = targets != IGNORED
    return float(np.mean(predicted[asked] == targets[asked]))
