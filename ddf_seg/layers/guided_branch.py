"""The branch of upsampling filters that start as interpolation: it sees a finer map, the guide."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from ..ops.checks import check_upsampled
from ..ops.torch_internals import is_known
from .branches import PhaseSpatialBranch, few_outputs, separable

# Kept whole by torch.fx, whose stand-ins for tensors have no sizes to decide on.
for _name in ('fitted', 'few_outputs'):
    torch.fx.wrap(_name)


class GuidedBranch(nn.Module):
    """What logits of upsampling filters are made of: what the guide says, and a query and a key.

    The logits are l_i(p) = (W g(p))_i + ⟨Q g(p), K x(i)⟩ / √d for guide g at fine pixel p and the
    features x at tap i (`InterpolationSoftmax.filters`). W and Q start at 0, and with them all
    logits. The guide alone cannot tell to which of the coarse pixels around it a fine one belongs;
    the products with these can, as in local attention.

    With context, g is the guide after a depthwise 3×3 convolution, which starts as the identity,
    and the branches of DDF-Up without a guide, which see 3×3 features, are added to the logits.
    They start at 0. Weights of a branch without context load, too, and give what they gave.

    Args:
        guide_channels: channels of the guide.
        in_channels: channels of the features.
        kernel_size: side k of the filters.
        groups: filters a pixel.
        scale_factor: how many times finer the guide is.
        affinity_channels: d, the length of the vectors compared; 0: the guide alone.
        context: whether neighbours in the guide and the features are seen.
    """

    def __init__(
        self,
        guide_channels: int,
        in_channels: int,
        kernel_size: int,
        groups: int,
        scale_factor: int,
        affinity_channels: int,
        context: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.groups = groups
        self.scale_factor = scale_factor
        self.affinity_channels = affinity_channels
        self.logits = groups * kernel_size**2
        # W and Q in one: the guide is large, and read once.
        self.guide = nn.Conv2d(guide_channels, self.logits + groups * affinity_channels, 1)
        if affinity_channels:
            self.key = nn.Conv2d(in_channels, groups * affinity_channels, 1, bias=False)
        self.around: nn.Conv2d | None = None
        self.coarse: PhaseSpatialBranch | None = None
        if context:
            self.around = nn.Conv2d(
                guide_channels, guide_channels, 3, padding=1, groups=guide_channels
            )
            self.coarse = PhaseSpatialBranch(
                in_channels,
                kernel_size,
                groups,
                scale_factor,
                normalization='none',
                zero_start=True,
            )
        self.reset_parameters()
        self.register_load_state_dict_pre_hook(_add_context)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.guide.weight)
        nn.init.zeros_(cast(Tensor, self.guide.bias))
        if self.affinity_channels:
            self.key.reset_parameters()
        self.reset_context()

    def reset_context(self) -> None:
        """Sets what sees neighbours to what changes nothing."""
        if self.around is not None and self.coarse is not None:
            nn.init.dirac_(self.around.weight, self.around.groups)
            nn.init.zeros_(cast(Tensor, self.around.bias))
            self.coarse.reset_parameters()

    def add_context(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Adds to weights of a branch without context parts that change nothing, in place.

        This branch's own are set to the same. Nothing happens where it has no context either, or
        where the weights have a part of it, or lack another.

        Args:
            state_dict: of a network.
            prefix: of this branch in it.
        """
        context, others = {}, set()
        for name, parameter in self.named_parameters():
            if name.startswith(('around.', 'coarse.')):
                context[f'{prefix}{name}'] = parameter
            else:
                others.add(f'{prefix}{name}')
        # On meta there are no values to give: what is missing is missing.
        is_whole = others <= state_dict.keys() and context.keys().isdisjoint(state_dict)
        if is_whole and not any(parameter.is_meta for parameter in context.values()):
            self.reset_context()
            state_dict.update({key: value.detach().clone() for key, value in context.items()})

    def forward(self, guide: Tensor, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Logits without the products, Q g and K x / √d, these None where nothing is compared.

        Args:
            guide: (B, guide_channels, H', W').
            x: (B, in_channels, H, W).

        Returns:
            (B, groups·k², H', W'), (B, groups·d, H', W') and (B, groups·d, H, W).
        """
        of_guide = self._of_guide(guide)
        logits, key = of_guide[:, : self.logits], self._key(x)
        if self.coarse is not None:
            logits = logits + fitted(self.coarse(x), x, guide, self.scale_factor)
        return logits, None if key is None else of_guide[:, self.logits :], key

    def parts(
        self, guide: Tensor, x: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """What the logits are made of, each at its own size; arguments as for `forward`.

        Returns:
            What the guide says of the logits, (B, groups·k², H', W'); Q g, (B, groups·d, H', W');
            with context what the features say, (B, r²·groups·k², H, W); K x / √d. Q g and K x are
            None where nothing is compared.
        """
        by_phase = None if self.coarse is None else self.coarse.by_phase(x)
        seen = guide if self.around is None else self.around(guide)
        # A convolution for each: runtimes take longer to split the result of one.
        weight, bias, n = self.guide.weight, cast(Tensor, self.guide.bias), self.logits
        of_guide = few_outputs(seen, weight[:n], bias[:n])
        query = few_outputs(seen, weight[n:], bias[n:]) if self.affinity_channels else None
        return of_guide, query, by_phase, self._key(x)

    def _of_guide(self, guide: Tensor) -> Tensor:
        if self.around is None:
            return few_outputs(guide, self.guide.weight, self.guide.bias)
        return separable(guide, self.around, self.guide)

    def _key(self, x: Tensor) -> Tensor | None:
        if not self.affinity_channels:
            return None
        return few_outputs(x, self.key.weight, None) * self.affinity_channels**-0.5


def _add_context(branch: GuidedBranch, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    branch.add_context(state_dict, prefix)


def fitted(upsampled: Tensor, x: Tensor, joint_x: Tensor, scale_factor: int) -> Tensor:
    """What was made of x at a whole multiple of its size, at the guide's, about as large.

    Rows and columns past the multiple belong to the last pixel's phases, as in `ddf_upsample`.

    Args:
        upsampled: (B, C, r·H, r·W).
        x: of size H, W.
        joint_x: the guide, of size H', W', from r·H − (r − 1) to r·H + (r − 1) and alike.
        scale_factor: r.

    Returns:
        (B, C, H', W').

    Raises:
        ValueError: the guide has another size.
    """
    for axis in (2, 3):
        length, multiple = joint_x.shape[axis], scale_factor * x.shape[axis]
        if is_known(length == multiple):
            continue
        check_upsampled('joint_x', joint_x, x, scale_factor)
        index = torch.arange(length, device=x.device)
        upsampled = upsampled.index_select(
            axis, index.where(index < multiple, index - scale_factor)
        )
    return upsampled
