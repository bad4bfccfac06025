"""How near a mixture-of-experts model's routing comes to ties. Needs torch.

A token whose K-th and (K + 1)-th experts score alike would test an engine's rounding; so would two
alike groups where only some are chosen from.
"""

import contextlib
import dataclasses

import torch


def routers(model):
    """The modules that choose experts, whatever a family calls their class."""
    return [m for m in model.modules() if type(m).__name__.lower().endswith("topkrouter")]


def _gap(scores, kept):
    """Smallest lead of the `kept`-th best over the next, over rows; infinite if all are kept."""
    if kept >= scores.shape[-1]:
        return float("inf")
    best = scores.topk(kept + 1, dim=-1).values
    return float((best[..., -2] - best[..., -1]).min())


def _margin(router, logits):
    """Smallest lead of a router's choices, in deviations of the scores that it compares."""
    bias = getattr(router, "e_score_correction_bias", None)
    scores = logits if bias is None else logits.sigmoid() + bias
    spread = float(scores.std())
    groups = getattr(router, "num_group", None) or 1
    limited = bias is not None or getattr(router, "topk_method", "") == "group_limited_greedy"
    gap = float("inf")
    if limited and groups > 1:
        grouped = scores.view(len(scores), groups, -1)
        of_group = grouped.max(-1).values if bias is None else grouped.topk(2, -1).values.sum(-1)
        gap = _gap(of_group, router.topk_group)
        kept = torch.zeros_like(of_group).scatter_(1, of_group.topk(router.topk_group).indices, 1)
        scores = grouped.masked_fill(kept[..., None] == 0, float("-inf")).flatten(1)
    return min(gap, _gap(scores, router.top_k)) / spread


@dataclasses.dataclass
class Margin:
    """The smallest lead seen."""

    smallest: float = float("inf")


@contextlib.contextmanager
def watched(model):
    """Within it, the Margin that it gives follows every choice of the model."""
    margin = Margin()

    def hook(router, _, output):
        margin.smallest = min(margin.smallest, _margin(router, output[0].detach()))

    handles = [router.register_forward_hook(hook) for router in routers(model)]
    try:
        yield margin
    finally:
        for handle in handles:
            handle.remove()
