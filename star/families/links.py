"""Names of weights, ours and theirs, with the rearrangement between them, which can be undone.

A link joins tensors of ours along an axis, permutes the rows of that axis, and then flips, transposes or shifts by a
number; it may end as one tensor for each index of the first axis. All of it but the shift moves numbers as they are.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from star.errors import UserError
from star.records import Arrays

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class Step:
    """One change of an array that can be undone: what it does to a shape, to an array, and back to a former shape."""

    shape: Callable[[Shape], Shape]
    forward: Callable[[np.ndarray], np.ndarray]
    backward: Callable[[np.ndarray, Shape], np.ndarray]


def _same(shape: Shape) -> Shape:
    return shape


FLIP = Step(_same, lambda array: array[::-1], lambda array, _: array[::-1])
SWAP = Step(
    lambda shape: (*shape[:-2], shape[-1], shape[-2]),
    lambda array: array.swapaxes(-1, -2),
    lambda array, _: array.swapaxes(-1, -2),
)
LESS_ONE = Step(_same, lambda array: array - 1, lambda array, _: array + 1)
MIDDLE = Step(  # an axis of 1 before the last
    lambda shape: (*shape[:-1], 1, shape[-1]),
    lambda array: np.expand_dims(array, -2),
    lambda array, shape: array.reshape(shape),
)
FIRST = Step(lambda shape: (1, *shape), lambda array: array[None], lambda array, shape: array.reshape(shape))
KERNEL = (FLIP, SWAP, MIDDLE)  # (taps, channels), present token first, as a depthwise convolution (channels, 1, taps)


def by_parts(parts: int) -> Step:
    """Return the step that takes the first axis apart into so many parts, one after the other."""
    return Step(
        lambda shape: (parts, shape[0] // parts, *shape[1:]),
        lambda array: array.reshape(parts, -1, *array.shape[1:]),
        lambda array, shape: array.reshape(shape),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Link:
    """Tensors of ours that hold the numbers of one tensor of theirs, or of one for each index of the first axis.

    Attributes:
        theirs: names; several if the first axis is taken apart.
        ours: names.
        axis: along which ours are joined.
        rows: order of the rows of that axis, as theirs have them; None: as they are.
        steps: what follows.
        apart: the first axis is taken apart.
    """

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    axis: int = 0
    rows: np.ndarray | None = None
    steps: tuple[Step, ...] = ()
    apart: bool = False

    def shape(self, own: Shapes) -> Shape:
        """Return the shape of each tensor of theirs, from those of ours."""
        shape = self._joined(own)
        for step in self.steps:
            shape = step.shape(shape)
        return shape[1:] if self.apart else shape

    def forward(self, own: Mapping[str, np.ndarray]) -> Arrays:
        """Return the tensors of theirs."""
        array = np.concatenate([own[name] for name in self.ours], axis=self.axis)
        if self.rows is not None:
            array = array.take(self.rows, axis=self.axis)
        for step in self.steps:
            array = step.forward(array)
        return dict(zip(self.theirs, array if self.apart else [array], strict=True))

    def backward(self, their: Mapping[str, np.ndarray], own: Shapes) -> Arrays:
        """Return the tensors of ours, which have the shapes `own`."""
        found = [their[name] for name in self.theirs]
        array = np.stack(found) if self.apart else found[0]
        shapes = [self._joined(own)]
        for step in self.steps:
            shapes.append(step.shape(shapes[-1]))
        for step, shape in zip(reversed(self.steps), reversed(shapes[:-1]), strict=True):
            array = step.backward(array, shape)
        if self.rows is not None:
            array = array.take(np.argsort(self.rows), axis=self.axis)
        ends = np.cumsum([own[name][self.axis] for name in self.ours])[:-1]
        return dict(zip(self.ours, np.split(array, ends, axis=self.axis), strict=True))

    def _joined(self, own: Shapes) -> Shape:
        shape = list(own[self.ours[0]])
        shape[self.axis] = sum(own[name][self.axis] for name in self.ours)
        return tuple(shape)


class Links:
    """The links of one model, made one after the other.

    Attributes:
        own: shapes of our weights.
        links: in the order in which they were added.
        zeros: our tensors that theirs have none for and that must be zero.
        constants: tensors of theirs with a value that is no weight.
    """

    def __init__(self, own: Shapes) -> None:
        self.own = own
        self.links: list[Link] = []
        self.zeros: list[str] = []
        self.constants: Arrays = {}

    def add(self, theirs: str | Sequence[str], *ours: str, rows: np.ndarray | None = None, axis: int = 0, **more):
        """Link tensors; `steps` and `apart` as in Link."""
        names = (theirs,) if isinstance(theirs, str) else tuple(theirs)
        self.links.append(Link(theirs=names, ours=ours, rows=rows, axis=axis, **more))

    def module(self, theirs: str, *ours: str, rows: np.ndarray | None = None, steps: tuple[Step, ...] = ()) -> None:
        """Link the weights of modules, and their biases if they have any; `steps` are those of weights."""
        for end, then in (("weight", steps), ("bias", ())):
            if f"{ours[0]}.{end}" in self.own:
                self.add(f"{theirs}.{end}", *(f"{one}.{end}" for one in ours), rows=rows, steps=then)

    def modules(self, prefix: str, names: Mapping[str, str], steps: tuple[Step, ...] = ()) -> None:
        """Link modules one by one: theirs, after a prefix, to ours."""
        for theirs, ours in names.items():
            self.module(f"{prefix}{theirs}", ours, steps=steps)

    def zero(self, name: str) -> None:
        """Say that a tensor of ours has no counterpart."""
        if name in self.own:
            self.zeros.append(name)

    def finish(self) -> "Links":
        """Return itself. Raise AssertionError unless every tensor of ours is linked once and no name comes twice."""
        ours = [name for link in self.links for name in link.ours] + self.zeros
        theirs = [name for link in self.links for name in link.theirs] + list(self.constants)
        assert sorted(ours) == sorted(self.own), sorted(set(ours) ^ set(self.own))
        assert len(set(theirs)) == len(theirs), sorted(theirs)
        return self

    def shapes(self) -> dict[str, Shape]:
        """Return the shapes of all tensors of theirs."""
        found = {name: link.shape(self.own) for link in self.links for name in link.theirs}
        return found | {name: array.shape for name, array in self.constants.items()}

    def export(self, own: Mapping[str, np.ndarray]) -> Arrays:
        """Return the tensors of theirs. Raise UserError if a tensor that has no counterpart is not zero."""
        for name in self.zeros:
            if own[name].any():
                raise UserError(f"{name} is not zero, and its checkpoint has no place for it")
        found: Arrays = dict(self.constants)
        for link in self.links:
            found |= link.forward(own)
        return found

    def restore(self, read: Callable[[str], np.ndarray]) -> Iterable[tuple[str, np.ndarray]]:
        """Yield our tensors by name; `read` returns one of theirs. Raise UserError if a constant is another one."""
        for name, value in self.constants.items():
            if not np.allclose(read(name), value, rtol=1e-3, atol=0):
                raise UserError(f"{name} is {read(name)!s:.40}, and only {value!s:.40} is understood")
        for link in self.links:
            yield from link.backward({name: read(name) for name in link.theirs}, self.own).items()
        for name in self.zeros:
            yield name, np.zeros(self.own[name], dtype=np.float32)


def count(shapes: Shapes) -> int:
    """Return the numbers in all tensors."""
    return sum(map(prod, shapes.values()))


def by_head(heads: int, *widths: int) -> np.ndarray:
    """Return the rows of parts of these widths, each of `heads` equal pieces, with the pieces of a head in a row."""
    rows, pieces, start = np.arange(sum(widths)), [], 0
    for width in widths:
        pieces.append(rows[start : start + width].reshape(heads, -1))
        start += width
    return np.concatenate(pieces, axis=1).ravel()


def paired(heads: int, head_dim: int, rotated: int, start: int = 0) -> np.ndarray:
    """Return the rows of heads, of whose channels `rotated` ones from `start` on are pairs half a part away from each
    other, with the members of a pair beside each other.
    """
    rows = np.arange(heads * head_dim).reshape(heads, head_dim)
    middle = rows[:, start : start + rotated].reshape(heads, 2, -1).swapaxes(1, 2).reshape(heads, -1)
    return np.concatenate((rows[:, :start], middle, rows[:, start + rotated :]), axis=1).ravel()


def halves_swapped(heads: int, head_dim: int) -> np.ndarray:
    """Return the rows of heads whose halves change places."""
    return np.arange(heads * head_dim).reshape(heads, 2, -1)[:, ::-1].ravel()
