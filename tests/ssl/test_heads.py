"""Heads as data: what `mlp` says, and what is built of it."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from stages.ssl.heads import Layer, build_head, mlp
from tests.ssl.tiny import new


def kinds(spec) -> list[type[nn.Module]]:
    return [type(module) for module in build_head(spec).layers]


def test_hidden_layers_have_batch_norm_and_relu_and_the_last_has_neither():
    expected = [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear]
    assert kinds(mlp(7, 16, 12, 8)) == expected
    assert kinds(mlp(7, 8)) == [nn.Linear]


def test_layers_go_from_each_size_to_the_next():
    head = build_head(mlp(7, 16, 12, 8))
    shapes = [tuple(m.weight.shape) for m in head.layers if isinstance(m, nn.Linear)]
    assert shapes == [(16, 7), (12, 16), (8, 12)]
    assert head(torch.randn(5, 7)).shape == (5, 8)


def test_norm_and_activation_are_those_asked_for():
    assert kinds(mlp(7, 16, 8, norm=None)) == [nn.Linear, nn.ReLU, nn.Linear]
    assert kinds(mlp(7, 16, 8, norm=None, activation="gelu")) == [nn.Linear, nn.GELU, nn.Linear]
    assert kinds(mlp(7, 16, 8, activation=None)) == [nn.Linear, nn.BatchNorm1d, nn.Linear]


def test_the_last_layers_norm_has_no_activation_after_it():
    hidden = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert kinds(mlp(7, 16, 8, last_norm="batch")) == [*hidden, nn.Linear, nn.BatchNorm1d]
    assert kinds(mlp(7, 8, last_norm="plain")) == [nn.Linear, nn.BatchNorm1d]


def test_only_a_batch_norm_that_is_not_plain_learns_scale_and_shift():
    layers = build_head(mlp(7, 16, 8, last_norm="plain")).layers
    assert [norm.affine for norm in layers if isinstance(norm, nn.BatchNorm1d)] == [True, False]
    assert not list(layers[-1].parameters())


def test_a_norm_of_scale_alone_keeps_its_shift_at_zero():
    head = build_head(mlp(7, 8, last_norm="scale"))
    norm = head.layers[-1]
    assert [p.requires_grad for p in (norm.weight, norm.bias)] == [True, False]
    norm.weight.data = torch.linspace(0.5, 2, 8)
    rows = torch.randn(5, 7)
    z = (rows @ head.layers[0].weight.T).detach()
    expected = (z - z.mean(0)) / (z.var(0, unbiased=False) + 1e-5).sqrt() * norm.weight.detach()
    torch.testing.assert_close(head(rows), expected)


@pytest.mark.parametrize("name", ["simclr", "fnc"])
def test_simclr_and_fnc_end_in_a_norm_of_scale_alone(name):
    """As google-research/simclr and fnc have it: neither bias nor shift in the last layer."""
    last = new(name).projection_spec()[-1]
    assert (last.norm, last.activation) == ("scale", None)


def test_a_layer_has_a_bias_unless_a_norm_takes_it_away():
    biases = [
        [m.bias is not None for m in build_head(spec).layers if isinstance(m, nn.Linear)]
        for spec in (
            mlp(7, 16, 8),
            mlp(7, 16, 8, norm=None),
            mlp(7, 16, 8, last_norm="batch"),
            mlp(7, 16, 8, norm="plain"),
        )
    ]
    assert biases == [[False, True], [True, True], [False, False], [False, True]]


@pytest.mark.parametrize(
    "spec",
    [
        mlp(7, 16, 8, last_norm="plain"),
        mlp(7, 16, 12, 8, norm=None, activation="gelu"),
        [Layer(7, 8, "batch", "gelu"), Layer(8, 8, None, "relu")],
    ],
)
def test_a_head_is_the_same_from_lists_as_json_gives_them(spec):
    torch.manual_seed(0)
    head = build_head(spec)
    torch.manual_seed(0)
    again = build_head(json.loads(json.dumps(spec)))
    assert repr(again) == repr(head)
    rows = torch.randn(5, 7)
    assert torch.equal(again(rows), head(rows))
