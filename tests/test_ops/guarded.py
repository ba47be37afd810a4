"""Tensors in memory whose neighbours on both sides must not be touched: a fault where they are."""

from __future__ import annotations

import ctypes
import mmap

import torch
from torch import Tensor

_libc = ctypes.CDLL(None, use_errno=True)
_NO_ACCESS = 0


def guarded(x: Tensor, at_end: bool) -> Tensor:
    """A copy of `x`, strides included, in a block of exactly the bytes that its elements span.

    A page that may neither be read nor written lies before the block and one after it; the block
    touches the one after it (`at_end`) or the one before it. The other end lies within a page.
    """
    span = 1 + sum((n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True))
    if not x.numel():
        return x
    page, size = mmap.PAGESIZE, span * x.element_size()
    room = -(-size // page) * page
    memory = mmap.mmap(-1, room + 2 * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for guard in (address, address + page + room):
        if _libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), _NO_ACCESS):
            raise OSError(ctypes.get_errno(), 'mprotect')
    first = page + (room - size if at_end else 0)
    block = torch.frombuffer(memory, dtype=x.dtype, count=span, offset=first)
    block.copy_(x.detach().as_strided((span,), (1,), x.storage_offset()))
    return block.as_strided(x.shape, x.stride(), block.storage_offset())
