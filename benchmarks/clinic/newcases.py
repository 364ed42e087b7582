"""The labelled cases of the newcomers: each healthy with two optimisers, and every fault planted in two of them at least."""

from __future__ import annotations

from functools import partial

from benchmarks.clinic import cases as earlier
from benchmarks.clinic import newcomers as n
from benchmarks.clinic import plants as f
from torch import nn
from torch.nn import functional

CASES = earlier.CASES
healthy, sick, deep = partial(f.healthy, part="newcomer"), partial(f.sick, part="newcomer"), f.deep

for make in (
    n.mixer,
    n.convnext,
    n.deep_relu,
    n.unet,
    n.bag,
    n.gated,
    n.vit,
    n.postnorm,
    n.bilstm,
    n.forecast,
    n.factors,
    n.logistic,
    n.labels,
    n.thousand,
    n.words,
):
    for optimiser in ("sgd", "adamw"):
        healthy(make, optimiser=optimiser)
healthy(n.conv_autoencoder)
healthy(n.one_cycle)

sigmoid_relu, tanh_autoencoder = deep(n.deep_relu, activation=nn.Sigmoid), deep(n.conv_autoencoder, activation=nn.Tanh)
broken = ("divergence", "no-learning")

sick("initial-loss", n.mixer, f.scale("head", 40), "head")
sick("initial-loss", n.bilstm, f.scale("head", 40), "head")
sick("initial-loss", n.thousand, f.scale("head", 20), "head", also=("no-learning",))
sick("saturation", tanh_autoencoder, f.scale("*", 12), "down.1 down.3 down.5 up.1 up.3", also=("no-learning",))
sick("saturation", deep(n.labels, optimiser="sgd"), f.swap(nn.GELU, nn.Tanh, 8), "body.1 body.4")
sick("dead-units", n.deep_relu, f.fill_bias("body.6", -20), "body.7", also=("no-learning",))
sick("dead-units", n.unet, f.fill_bias("middle.4", -12), "middle.5")
sick("dead-units", n.convnext, f.fill_bias("blocks.1.up", -25), "blocks.1.act")
sick(
    "activation-scale",
    deep(n.deep_relu, optimiser="sgd"),
    f.scale("*", 4),
    "body.1",
    also=("initial-loss", "gradient-scale", "update-too-large", "non-finite"),
)
sick("activation-scale", n.conv_autoencoder, f.shrink(0.05), "down.1", also=("gradient-scale", "no-learning"))
sick("gradient-scale", sigmoid_relu, f.scale("*", 1), "body.1 body.0", also=("no-learning",))
sick(
    "gradient-scale",
    deep(n.deep_relu, activation=nn.Sigmoid, optimiser="sgd"),
    f.scale("*", 1),
    "body.1 body.0",
    also=("no-learning",),
)
sick("gradient-data", deep(n.unet, optimiser="sgd"), f.scale("middle.0", 30), "middle.0.weight")
sick("gradient-data", n.mixer, f.scale("blocks.1.channels.0", 200), "blocks.1.channels.0.weight")
sick("update-too-large", n.mixer, f.rate(100), also=broken)
sick("update-too-large", n.gated, f.rate(100), also=(*broken, "saturation"))
sick("update-too-large", deep(n.unet, optimiser="sgd"), f.rate(100), also=broken)
sick("update-too-large", deep(n.vit, optimiser="sgd"), f.rate(100), also=(*broken, "non-finite"))
sick("update-too-small", n.vit, f.rate(1e-4), also=("no-learning",))
sick("update-too-small", deep(n.unet, optimiser="sgd"), f.rate(1e-4), also=("no-learning",))
sick("update-too-small", n.bilstm, f.rate(1e-4), also=("no-learning",))
sick("no-gradient", n.unet, f.wrap("merge", f.Detached), "down.0.weight")
sick("no-gradient", n.vit, f.wrap("encoder", f.Detached), "patches.weight")
sick("no-gradient", n.gated, f.unused, "spare.weight")
sick("not-optimised", n.mixer, f.leave_out("blocks"), "blocks.0.places.0.weight")
sick("not-optimised", n.bag, f.leave_out("bag"), "bag.weight")
sick("not-optimised", n.unet, f.leave_out("up"), "up.weight")
sick("symmetry", n.mixer, f.constant(0.05, only="blocks"), "blocks.0.channels.0.weight", also=("no-learning",))
sick("symmetry", n.gated, f.constant(0.1, only=("filters", "gates", "mixes")), "filters.0.weight")
sick("symmetry", n.deep_relu, f.constant(0.0), "body.0.weight", also=("no-learning", "no-gradient"))
sick("non-finite", n.labels, f.with_loss(f.log_of_sigmoid), variant="-log-sigmoid")
sick("non-finite", n.vit, f.poison(120, lambda x: x * float("nan")), variant="-data")
sick("non-finite", n.unet, f.poison(90, lambda x: x / 0.0), variant="-data")
sick("divergence", n.mixer, f.ascend, also=("update-too-large",))
sick("divergence", n.bag, f.ascend, also=("update-too-large",))
sick("divergence", n.forecast, f.ascend, also=("update-too-large",))
sick("oscillation", n.convnext, f.in_order(5), also=("no-learning",))
sick("oscillation", n.bag, f.in_order(6), also=("no-learning",))
sick("no-learning", n.mixer, f.shuffled)
sick("no-learning", n.bilstm, f.shuffled)
sick("no-learning", deep(n.vit, optimiser="sgd"), f.shuffled)
sick("no-learning", n.forecast, f.shuffled)
sick("no-learning", n.words, f.shuffled)
sick("no-learning", deep(n.words, optimiser="sgd"), f.shuffled)
sick("leak", n.gated, f.target_in_context)
sick("leak", n.deep_relu, f.target_in_vector)
sick("leak", n.bilstm, f.target_in_context)
sick("overfitting", n.mixer, f.few_examples)
sick("overfitting", n.bag, f.few_examples)
sick("held-out-labels", n.bag, f.wrong_held_out(f.next_class))
sick("held-out-labels", n.vit, f.wrong_held_out(f.opposite_class))
sick("bias-before-norm", deep(n.unet, bias=True), f.scale("head", 1), "down.0")
sick("bias-before-norm", deep(n.unet, optimiser="sgd", bias=True), f.scale("head", 1), "middle.0")
sick("norm-statistics", n.one_cycle, f.slow_norm(1e-4, offset=2.0), "bn0", variant="-slow")
sick("norm-statistics", n.unet, f.slow_norm(1e-4, offset=2.0), "down.1", variant="-slow")
sick("norm-statistics", n.one_cycle, f.tiny_batches(2), "bn2", variant="-batch-of-2", also=("no-learning",))
sick("probabilities-as-logits", n.vit, f.with_loss(f.softmax_first), "head")
sick(
    "probabilities-as-logits",
    n.labels,
    f.with_loss(lambda y, t: functional.binary_cross_entropy_with_logits(y.sigmoid(), t)),
    "head",
)
sick("wrong-mode", n.deep_relu, f.evaluated_once(80), "body.2")
sick("wrong-mode", n.unet, f.evaluated_once(50), "down.1")
sick("wrong-mode", n.postnorm, f.evaluated_once(80), "encoder.layers.0.dropout")
sick("missing-zero-grad", n.vit, f.keep_gradients)
sick("missing-zero-grad", deep(n.bag, optimiser="sgd"), f.keep_gradients)
sick("missing-zero-grad", n.unet, f.keep_gradients)
sick("spike", deep(n.mixer, optimiser="sgd"), f.one_huge_step(150, 3_000), also=("divergence", "saturation"))
sick("spike", deep(n.bilstm, optimiser="sgd"), f.one_huge_step(150, 1_000), also=("divergence",))
sick("spike", deep(n.deep_relu, optimiser="sgd"), f.one_huge_step(200, 1_000), also=("divergence", "dead-units", "non-finite"))
