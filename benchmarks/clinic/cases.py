"""The labelled cases: healthy networks, and the same ones with one fault planted."""

from __future__ import annotations

from benchmarks.clinic import patients as p
from benchmarks.clinic.plants import (
    CASES,
    Detached,
    Log,
    Root,
    ascend,
    behind,
    constant,
    deep,
    evaluated_once,
    few_examples,
    fill_bias,
    healthy,
    in_order,
    keep_gradients,
    last_input,
    leave_out,
    next_class,
    one_huge_step,
    poison,
    random_targets,
    rate,
    scale,
    sick,
    sigmoid_first,
    slow_norm,
    softmax_first,
    target_in_context,
    target_in_vector,
    tiny_batches,
    unused,
    with_loss,
    wrap,
    wrong_held_out,
)
from torch import nn

__all__ = ["CASES"]

NORMS = "body.1 body.4 body.7 body.10"
TANHS = "body.1 body.3 body.5 body.7"
relu5, sigmoid8, tanh_conv = (
    deep(p.mlp_relu, layers=5),
    deep(p.mlp_tanh, activation=nn.Sigmoid, layers=8),
    deep(p.conv, activation=nn.Tanh),
)
sigmoid_conv = deep(p.conv, activation=nn.Sigmoid, layers=6)

healthy(p.mlp_tanh, quick=True)
healthy(p.mlp_tanh, gain=1.0)
healthy(p.mlp_batchnorm, quick=True)
healthy(p.mlp_relu, quick=True)
healthy(p.mlp_gelu)
healthy(p.mlp_dropout)
healthy(p.conv)
healthy(p.resnet)
healthy(p.lstm)
healthy(p.transformer)
healthy(p.transformer, dropout=0.1)
for make in (p.gru, p.encoder, p.mlp_selu, p.mlp_sigmoid, p.mlp_leaky, p.regression, p.conv_sgd):
    healthy(make)
for make in (p.mlp_layernorm, p.separable, p.elman, p.autoencoder, p.binary):
    healthy(make, part="held-out")

sick("initial-loss", p.mlp_tanh, scale("head", 30), "head", quick=True)
sick("initial-loss", p.transformer, scale("head", 60), "head")
sick("initial-loss", p.lstm, scale("head", 80), "head")
sick("saturation", p.mlp_tanh, scale("*", 4), TANHS, also=("gradient-scale",), quick=True)
sick("saturation", tanh_conv, scale("*", 10), "body.1 body.3 body.5")
sick("saturation", sigmoid8, scale("*", 30), TANHS, also=("gradient-scale",))
sick("dead-units", p.mlp_relu, fill_bias("body.2", -8), "body.3", also=("no-learning",), quick=True)
sick("dead-units", p.conv, fill_bias("body.2", -6), "body.3", also=("no-learning",))
sick("dead-units", p.mlp_gelu, fill_bias("body.0", -12), "body.1", also=("no-learning",))
sick("dead-units", p.mlp_dropout, fill_bias("body.3", -20), "body.4", also=("no-learning",))
sick(
    "activation-scale", relu5, scale("*", 5), "body.1", also=("initial-loss", "gradient-scale", "update-too-large", "non-finite")
)
sick("activation-scale", p.mlp_selu, scale("*", 0.15), "body.1 body.3", also=("gradient-scale", "no-learning"), quick=True)
sick("activation-scale", p.mlp_leaky, scale("*", 10), "body.1", also=("initial-loss", "gradient-scale"))
sick("gradient-scale", sigmoid8, scale("*", 1), f"{TANHS} body.0 embedding", also=("no-learning",), quick=True)
sick("gradient-scale", sigmoid_conv, scale("*", 1), "body.1 body.0", also=("no-learning",))
sick("gradient-data", p.mlp_batchnorm, scale("body.3", 15), "body.3.weight", quick=True)
sick("gradient-data", p.resnet, scale("blocks.1.conv1", 30), "blocks.1.conv1.weight")
sick("gradient-data", p.transformer, scale("layers.1.mlp.0", 200), "layers.1.mlp.0.weight")
sick("update-too-large", p.mlp_tanh, rate(60), "body.0.weight", also=("saturation", "divergence", "no-learning"), quick=True)
sick("update-too-large", p.transformer, rate(100), "head.weight", also=("divergence", "no-learning"))
sick("update-too-large", p.resnet, rate(100), "head.weight", also=("divergence", "no-learning"))
sick("update-too-large", p.lstm, rate(100), "rnn.weight_hh_l0", also=("divergence", "no-learning"))
sick("update-too-small", p.mlp_tanh, rate(1e-3), also=("no-learning",), quick=True)
sick("update-too-small", p.transformer, rate(1e-4), also=("no-learning",))
sick("update-too-small", p.resnet, rate(1e-4), also=("no-learning",))
sick("no-gradient", p.mlp_tanh, wrap("body.4", Detached), "body.0.weight embedding.weight", quick=True)
sick("no-gradient", p.conv, wrap("body.2", Detached), "body.0.weight")
sick("no-gradient", p.lstm, unused, "spare.weight")
sick("no-gradient", p.transformer, unused, "spare.weight")
sick("not-optimised", p.mlp_tanh, leave_out("body"), "body.0.weight", quick=True)
sick("not-optimised", p.transformer, leave_out("head"), "head.weight")
sick("not-optimised", p.resnet, leave_out("blocks"), "blocks.0.conv1.weight")
sick("symmetry", p.mlp_tanh, constant(0.05, only="body"), "body.2.weight", also=("no-learning",), quick=True)
sick("symmetry", p.mlp_relu, constant(0.0), "body.0.weight", also=("no-learning", "no-gradient"))
sick("symmetry", p.conv, constant(0.1, only="body"), "body.0.weight", also=("no-learning",))
sick("symmetry", p.lstm, constant(0.1), "rnn.weight_hh_l0")
sick("non-finite", p.mlp_relu, behind("body.3", Log), "body.3.1", variant="-log", quick=True)
sick("non-finite", p.conv, behind("body.3", Root), "body.3.0 body.2", variant="-root")
sick("non-finite", p.mlp_relu, poison(150, lambda x: x * float("nan")), variant="-data")
sick("non-finite", p.mlp_relu, poison(150, lambda x: x * float("nan")), "body.0", variant="-data-every-step", every=1)
sick("non-finite", p.mlp_leaky, poison(200, lambda x: x * float("inf")))
sick("divergence", p.mlp_tanh, ascend, also=("update-too-large", "saturation", "non-finite"), quick=True)
sick("divergence", p.lstm, ascend, also=("update-too-large",))
sick("divergence", p.conv, ascend, also=("update-too-large", "non-finite"))
sick("oscillation", p.mlp_gelu, in_order(6), also=("no-learning",), quick=True)
sick("oscillation", p.mlp_leaky, in_order(4), also=("no-learning", "dead-units"))
sick("no-learning", p.mlp_tanh, random_targets, quick=True)
sick("no-learning", p.conv, random_targets)
sick("no-learning", p.lstm, random_targets)
sick("no-learning", p.encoder, random_targets)
sick("leak", p.mlp_gelu, target_in_vector, quick=True)
sick("leak", p.lstm, target_in_context)
sick("leak", p.transformer, target_in_context)
sick("leak", p.mlp_relu, target_in_vector)
sick("overfitting", p.mlp_gelu, few_examples, quick=True)
sick("overfitting", p.conv, few_examples)
sick("overfitting", p.mlp_batchnorm, few_examples)
sick("held-out-labels", p.mlp_tanh, wrong_held_out(last_input), quick=True)
sick("held-out-labels", p.mlp_relu, wrong_held_out(next_class))
sick("bias-before-norm", deep(p.mlp_batchnorm, bias=True), scale("head", 1), "body.0", quick=True)
sick("bias-before-norm", deep(p.resnet, bias=True), scale("head", 1), "stem")
sick("norm-statistics", p.mlp_batchnorm, slow_norm(1e-4), NORMS, quick=True, variant="-slow")
sick("norm-statistics", p.resnet, slow_norm(1e-4, offset=3.0), "bn", variant="-slow")
sick("norm-statistics", p.mlp_batchnorm, tiny_batches(2), NORMS, variant="-batch-of-2", also=("no-learning",))
sick("probabilities-as-logits", p.mlp_tanh, with_loss(softmax_first), "head", quick=True)
sick("probabilities-as-logits", p.conv, with_loss(sigmoid_first), "head")
sick("probabilities-as-logits", p.transformer, behind("head", lambda: nn.Softmax(-1)), "head head.1")
sick("wrong-mode", p.mlp_dropout, lambda patient: patient.model.eval(), "body.2", quick=True)
sick("wrong-mode", p.resnet, evaluated_once(60), "bn")
sick("wrong-mode", p.encoder, evaluated_once(100), "encoder.layers.0.dropout")
sick("missing-zero-grad", p.mlp_tanh, keep_gradients, quick=True)
sick("missing-zero-grad", p.resnet, keep_gradients)
sick("missing-zero-grad", p.lstm, keep_gradients)
sick("spike", p.mlp_tanh, one_huge_step(200, 3_000), quick=True, also=("saturation", "divergence"))
sick("spike", p.mlp_relu, poison(200, lambda x: 300 * x), also=("dead-units", "divergence", "non-finite"), variant="-batch")
sick("spike", p.mlp_selu, one_huge_step(250, 1_000), also=("dead-units", "divergence", "non-finite"))

sick("initial-loss", p.mlp_layernorm, scale("head", 30), "head", part="held-out")
sick("saturation", p.binary, scale("*", 12), "body.1 body.3", part="held-out")
sick("dead-units", p.separable, fill_bias("body.4", -9), "body.5", part="held-out", also=("no-learning",))
sick("update-too-large", p.separable, rate(100), "head.weight", part="held-out", also=("divergence", "no-learning"))
sick("update-too-large", p.elman, rate(100), "rnn.weight_hh_l0", part="held-out", also=("divergence", "no-learning"))
sick("update-too-small", p.mlp_layernorm, rate(1e-4), part="held-out", also=("no-learning",))
sick("no-gradient", p.mlp_layernorm, wrap("body.6", Detached), "body.0.weight", part="held-out")
sick("not-optimised", p.autoencoder, leave_out("encoder"), "encoder.1.weight", part="held-out")
sick("symmetry", p.mlp_layernorm, constant(0.1), "body.3.weight", part="held-out", also=("no-learning", "no-gradient"))
sick("non-finite", p.separable, poison(70, lambda x: x * float("nan")), part="held-out")
sick("divergence", p.separable, ascend, part="held-out", also=("update-too-large", "non-finite"))
sick("oscillation", p.mlp_layernorm, in_order(5), part="held-out", also=("no-learning",))
sick("no-learning", p.binary, random_targets, part="held-out")
sick("no-learning", p.separable, random_targets, part="held-out")
sick("leak", p.elman, target_in_context, part="held-out")
sick("overfitting", p.separable, few_examples, part="held-out")
sick("held-out-labels", p.mlp_layernorm, wrong_held_out(next_class), part="held-out")
sick("wrong-mode", p.separable, evaluated_once(50), "body.1", part="held-out")
sick("missing-zero-grad", p.autoencoder, keep_gradients, part="held-out")
sick("spike", p.elman, one_huge_step(200, 300), part="held-out", also=("divergence",))
sick("probabilities-as-logits", p.mlp_layernorm, with_loss(softmax_first), "head", part="held-out")
