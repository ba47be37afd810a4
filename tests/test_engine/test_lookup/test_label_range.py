"""How many classes a model has, and which id it ignores."""

from __future__ import annotations

from torch import nn

from ddf_seg.engine.lookup.models import label_range


def make_model(**head: int | None) -> nn.Module:
    model = nn.Module()
    model.decode_head = nn.Module()
    for name, value in head.items():
        setattr(model.decode_head, name, value)
    return model


def test_the_range_is_the_last_heads() -> None:
    cascade = nn.Module()
    heads = [make_model(num_classes=5).decode_head, make_model(num_classes=7).decode_head]
    cascade.decode_head = nn.ModuleList(heads)  # type: ignore[arg-type]
    assert label_range(cascade) == (7, 255)
    assert label_range(make_model(num_classes=3, ignore_index=0)) == (3, 0)
    wrapper = nn.Module()
    wrapper.module = make_model(num_classes=3, ignore_index=None)
    assert label_range(wrapper) == (3, 255)
    assert label_range(nn.Linear(1, 1))[0] is None
