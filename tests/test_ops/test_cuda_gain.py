"""`weight_gain`: in plain torch, and its CUDA kernel, by emulation and on a GPU if there is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cuda_emulated import (
    BY_EMULATION,
    BY_GPU,
    Emulation,
    Request,
    in_each_dtype,
    run_program,
)
from on_gpu import need_kernels
from torch import Tensor
from torch.func import grad, vmap

from ddf_seg.ops.weight_gain import weight_gain

OPERATOR = torch.ops.ddf_seg.weight_gain
# Of a layer, and of the one after it: a gain below 1, above it, of 0; a weight without elements
WEIGHTS: dict[str, tuple[tuple[int, ...], tuple[int, ...] | None, float]] = {
    'one layer': ((9, 64, 1, 1), None, 0.1),
    'two layers': ((13, 64, 1, 1), (2304, 13, 1, 1), 0.02),
    'odd sizes': ((3, 7, 1, 1), (5, 1, 3, 3), 0.1),
    'strong': ((4, 300), None, 3),
    'zeros': ((5, 3), (4, 5), 0),
    'no inputs': ((9, 4), (3, 0), 0.1),
}


def weights_of(name: str, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(0)
    first, second, size = WEIGHTS[name]
    made = [
        None if n is None else (torch.randn(n, generator=generator) * size).to(dtype)
        for n in (first, second)
    ]
    assert made[0] is not None
    return made[0], made[1]


def formula(*weights: Tensor | None) -> float:
    """In float64."""
    product = 1.0
    for weight in weights:
        if weight is not None:
            norm = np.linalg.norm(weight.double().numpy().ravel())
            product *= np.clip(norm / np.sqrt(weight.shape[0]), 1e-12, 1)
    return product


Run = Callable[..., Tensor]


@pytest.fixture(
    params=[
        'plain torch',
        'operator',
        BY_EMULATION,
        BY_GPU,
    ]
)
def run(request: pytest.FixtureRequest) -> Run:
    if request.param == 'plain torch':
        return weight_gain
    if request.param == 'operator':
        return OPERATOR
    if request.param == 'GPU':
        need_kernels()
        return lambda *weights: weight_gain(*(w if w is None else w.cuda() for w in weights)).cpu()
    emulation = request.getfixturevalue('emulation')

    def emulated(weight: Tensor, after: Tensor | None) -> Tensor:
        (found,) = emulation.run(Request.of_gain(weight, after))
        return found

    return emulated


@in_each_dtype('plain torch', 'operator', BY_EMULATION, BY_GPU)
@pytest.mark.parametrize('name', WEIGHTS)
def test_agrees_with_the_formula(run: Run, name: str, dtype: torch.dtype) -> None:
    weights = weights_of(name, dtype)
    found = run(*weights)
    assert (found.dtype, found.shape) == (torch.float32, ())
    assert found.item() == pytest.approx(formula(*weights), rel=1e-5, abs=0)


@pytest.mark.parametrize('offset', [1, 2, 3])
def test_weights_off_the_alignment_of_vectors(run: Run, offset: int) -> None:
    weight = torch.randn(1 + 6 * 35)[offset : offset + 5 * 35].view(5, 35) * 0.1
    assert run(weight, None).item() == pytest.approx(formula(weight), rel=1e-5)


def test_a_nan_stays_one(run: Run) -> None:
    assert run(torch.full((2, 3), torch.nan), torch.ones(2, 2)).isnan()


def test_no_gradient_and_no_silent_0() -> None:
    weight = torch.randn(3, 4, requires_grad=True)
    assert not weight_gain(weight).requires_grad
    with pytest.raises(NotImplementedError, match='expected weights without gradient'):
        OPERATOR(weight, None).backward()


def test_under_transforms() -> None:
    """Of several layers' weights at once, and where their gradient is asked for."""
    weights = torch.randn(4, 3, 5) * 0.3
    want = torch.stack([weight_gain(w) for w in weights])
    for function in (weight_gain, lambda w: OPERATOR(w, None)):
        torch.testing.assert_close(vmap(function)(weights), want)
    got = grad(lambda w: (weight_gain(w) * w).sum())(weights[0])
    torch.testing.assert_close(got, weight_gain(weights[0]).expand(3, 5))
    torch.library.opcheck(OPERATOR.default, (weights[0], weights[1]))


@pytest.mark.parametrize(
    ('weights', 'error', 'message'),
    [
        ((torch.ones(()), None), ValueError, r'weight: expected at least one output, got .*\(\)'),
        ((torch.ones(2, 2), torch.ones(0, 2)), ValueError, 'after: expected at least one output'),
        ((torch.ones(2, 2), torch.ones(2, 2).double()), TypeError, 'after: expected'),
        ((torch.ones(2, 2).int(), None), TypeError, 'weight: expected one of float64'),
    ],
)
def test_bad_arguments(weights: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        OPERATOR(*weights)


# --- by emulation alone ---------------------------------------------------------------------------


def test_emulated_bits_do_not_depend_on_the_order_of_threads(emulation: Emulation) -> None:
    weights = weights_of('two layers', torch.float32)
    found = []
    for seed in (0, 1, 2):
        with emulation.options(seed=seed):
            found += emulation.run(Request.of_gain(*weights))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_emulation_shows_a_missing_barrier(emulation: Emulation) -> None:
    weights = weights_of('two layers', torch.float32)
    wrong = 0
    for seed in range(4):
        with emulation.options(seed=seed, dropped_barrier=0):
            (found,) = emulation.run(Request.of_gain(*weights))
            assert found is not None
            wrong += found.item() != pytest.approx(formula(*weights), rel=1e-6)
    assert wrong


@pytest.mark.slow
@pytest.mark.parametrize('tensor', [None, 0, 1, 2], ids=['whole', 'weight', 'after', 'gain'])
def test_sanitizer_finds_access_past_a_tensor_emulated(watched: Path, tensor: int | None) -> None:
    request = Request.of_gain(*weights_of('odd sizes', torch.float32))
    short = {} if tensor is None else {tensor: 1}
    finished = run_program(watched, request.line(short=short))
    assert ('heap-buffer-overflow' in finished.stderr) == (tensor is not None), finished.stderr
    assert (finished.returncode == 0) == (tensor is None)
