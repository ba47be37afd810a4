"""Derivatives of operators that are linear in each of some arguments: sums of further calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from .definition import Arguments, Results, call, operator

Tensors = Sequence[Tensor | None]
Group = tuple[int, ...]


def _add(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return a if b is None else b
    return a + b


def _total(tensors: Sequence[Tensor | None]) -> Tensor | None:
    total = None
    for tensor in tensors:
        total = _add(total, tensor)
    return total


class Multilinear:
    """Derivatives of an operator f(t0, t1, t2, …) that is linear in each group of its tensors.

    The product rule: f changes by the sum, over the groups, of f with the group's tensors replaced
    by their tangents. The gradients in reverse mode are linear in the same groups, and in that from
    above, so that the rule serves them, too (`MultilinearBackward`), to any order.

    A tensor that is missing from a call (None) takes no part.

    Args:
        count: tensors that f is linear in; they come first.
        product: f, of these tensors and the other arguments.
        adjoint: the gradients of all of them, of that from above, the tensors, the other arguments
            and a mask of what is wanted; what is not may be anything.
        groups: indices of tensors that f is linear in when they change together, of the other
            arguments.
    """

    def __init__(
        self,
        count: int,
        product: Callable[[Sequence[Any], Arguments], Tensor],
        adjoint: Callable[[Tensor, Sequence[Any], Arguments, Sequence[bool]], Tensors],
        groups: Callable[[Arguments], Sequence[Group]],
    ) -> None:
        self.count = count
        self.product = product
        self.adjoint = adjoint
        self.groups = groups

    def split(self, arguments: Arguments) -> tuple[Arguments, Arguments]:
        return arguments[: self.count], arguments[self.count :]

    def replaced(
        self, tensors: Tensors, others: Arguments, by: Tensors
    ) -> list[tuple[Group, list[Tensor | None]]]:
        """For each group with a value in `by`: the tensors with the group's replaced by these."""
        found = []
        for whole in self.groups(others):
            group = tuple(i for i in whole if tensors[i] is not None)
            if any(by[i] is not None for i in group):
                changed = list(tensors)
                for i in group:
                    value, tensor = by[i], tensors[i]
                    assert tensor is not None
                    # A zero of no memory
                    zero = tensor.new_zeros(()).expand(tensor.shape)
                    changed[i] = zero if value is None else value
                found.append((group, changed))
        return found

    def directional(self, tensors: Tensors, others: Arguments, along: Tensors) -> Tensor | None:
        """The change of f as the tensors change by `along`."""
        calls = self.replaced(tensors, others, along)
        return _total([self.product(changed, others) for _, changed in calls])

    def masked_adjoint(
        self, upstream: Tensor, tensors: Tensors, others: Arguments, mask: Sequence[bool]
    ) -> list[Tensor | None]:
        if not any(mask):
            return [None] * self.count
        gradients = self.adjoint(upstream, tensors, others, mask)
        return [g if wanted else None for g, wanted in zip(gradients, mask, strict=True)]

    def adjoint_change(
        self,
        upstream: Tensor,
        tensors: Tensors,
        others: Arguments,
        along: Tensors,
        mask: Sequence[bool],
    ) -> list[Tensor | None]:
        """The change of the gradients that `mask` asks for, as the tensors change by `along`."""
        totals: list[Tensor | None] = [None] * self.count
        for group, changed in self.replaced(tensors, others, along):
            # The gradients of a group do not depend on it.
            rest = [wanted and i not in group for i, wanted in enumerate(mask)]
            parts = self.masked_adjoint(upstream, changed, others, rest)
            totals = [_add(a, b) for a, b in zip(totals, parts, strict=True)]
        return totals

    def gradients(
        self, arguments: Arguments, upstream: Tensors, needed: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        tensors, others = self.split(arguments)
        (above,) = upstream
        assert above is not None
        gradients = self.masked_adjoint(above, tensors, others, needed[: self.count])
        return [*gradients, *[None] * len(others)]

    def tangents(self, arguments: Arguments, tangents: Tensors) -> Results:
        change = self.directional(*self.split(arguments), tangents)
        assert change is not None
        return change


class MultilinearBackward:
    """Derivatives of the gradients of `forward`: of the operator (upstream, t0, t1, …, mask).

    The mask says which gradients are wanted. torch leaves it out where it is the default: all.

    Args:
        forward: of the operator itself.
    """

    def __init__(self, forward: Multilinear) -> None:
        self.forward = forward

    def _split(self, arguments: Arguments) -> tuple[Tensor, Arguments, Arguments, list[bool]]:
        mask = [True] * self.forward.count
        if isinstance(arguments[-1], (list, tuple)):
            mask, arguments = list(arguments[-1]), arguments[:-1]
        return arguments[0], *self.forward.split(arguments[1:]), mask

    def gradients(
        self, arguments: Arguments, upstream: Tensors, needed: Sequence[bool]
    ) -> Sequence[Tensor | None]:
        # <v, gradients> = <upstream, change of f along v>
        above, tensors, others, mask = self._split(arguments)
        along = [v if wanted else None for v, wanted in zip(upstream, mask, strict=True)]
        of_above = self.forward.directional(tensors, others, along) if needed[0] else None
        count = self.forward.count
        gradients = self.forward.adjoint_change(
            above, tensors, others, along, needed[1 : 1 + count]
        )
        return [of_above, *gradients, *[None] * (len(arguments) - 1 - count)]

    def tangents(self, arguments: Arguments, tangents: Tensors) -> Results:
        above, tensors, others, mask = self._split(arguments)
        along = tangents[1 : 1 + self.forward.count]
        totals = self.forward.adjoint_change(above, tensors, others, along, mask)
        if tangents[0] is not None:
            parts = self.forward.masked_adjoint(tangents[0], tensors, others, mask)
            totals = [_add(a, b) for a, b in zip(totals, parts, strict=True)]
        return tuple(
            total
            if total is not None
            else above.new_zeros(t.shape if wanted and t is not None else (0,))
            for total, t, wanted in zip(totals, tensors, mask, strict=True)
        )


def with_mask(
    name: str, groups: Callable[[Arguments], Sequence[Group]]
) -> tuple[Multilinear, MultilinearBackward]:
    """Of ddf_seg::`name`, linear in three tensors, and of `name`_backward, which takes a mask."""

    def product(tensors: Tensors, others: Arguments) -> Tensor:
        return call(operator(name), *tensors, *others)

    def adjoint(
        upstream: Tensor, tensors: Tensors, others: Arguments, mask: Sequence[bool]
    ) -> Tensors:
        return call(operator(f'{name}_backward'), upstream, *tensors, *others, list(mask))

    forward = Multilinear(3, product, adjoint, groups)
    return forward, MultilinearBackward(forward)
