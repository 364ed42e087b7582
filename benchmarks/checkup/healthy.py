"""Public models, built from configuration with random weights, each with data it could learn: the check-up must stay silent.

A builder returns (model, batches, loss_fn, optimizer). Those whose library is not installed are left out, and the table says so.
"""

from __future__ import annotations

from typing import Any

import torch
from benchmarks.checkup.data import pictures, short_texts, texts, waves
from benchmarks.checkup.making import F, Made, adamw, model, sgd
from torch import nn

# torchvision

VISION = {
    "resnet18": ({}, 32),
    "mobilenet_v3_small": ({}, 64),
    "shufflenet_v2_x0_5": ({}, 64),
    "efficientnet_b0": ({}, 64),
    "densenet121": ({}, 32),
    "squeezenet1_1": ({}, 64),
    "mnasnet0_5": ({}, 64),
    "regnet_y_400mf": ({}, 32),
    "convnext_tiny": ({}, 32),
    "swin_t": ({}, 32),
    "vgg11_bn": ({}, 32),
    "alexnet": ({}, 64),
}


def _vision(name: str, options: dict[str, Any], size: int) -> None:
    @model(f"torchvision {name}", "torchvision")
    def build() -> Made:
        import torchvision

        net = torchvision.models.get_model(name, weights=None, num_classes=10, **options)
        deep = name in ("convnext_tiny", "swin_t", "alexnet", "squeezenet1_1")
        if name == "regnet_y_400mf":
            return net, pictures(size), F.cross_entropy, sgd(net, 0.002)  # at 0.02 its loss rises to 17 in 40 steps
        return net, pictures(size), F.cross_entropy, adamw(net, 3e-4) if deep else sgd(net)


for _name, (_options, _size) in VISION.items():
    _vision(_name, _options, _size)


@model("torchvision vision transformer", "torchvision")
def _() -> Made:
    from torchvision.models.vision_transformer import VisionTransformer

    net = VisionTransformer(32, 8, 4, 4, 64, 128, num_classes=10)
    return net, pictures(32), F.cross_entropy, adamw(net)


@model("torchvision fcn, segmentation", "torchvision")
def _() -> Made:
    import torchvision

    net = torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4)
    batches = [(x, (x.mean(1) > 0).long()) for x, _ in pictures(64, rows=4)]
    return net, batches, lambda out, y: F.cross_entropy(out["out"], y), adamw(net)


@model("torchvision r3d_18, video", "torchvision")
def _() -> Made:
    import torchvision

    net = torchvision.models.video.r3d_18(weights=None, num_classes=10)
    batches = [(x[:, :, None].repeat(1, 1, 4, 1, 1), y) for x, y in pictures(32, rows=4)]
    return net, batches, F.cross_entropy, sgd(net, 0.01)


# timm

TIMM = {
    "vit_tiny_patch16_224": {"img_size": 32, "patch_size": 8},
    "deit_tiny_patch16_224": {"img_size": 32, "patch_size": 8},
    "mixer_s32_224": {"img_size": 64},
    "poolformer_s12": {},
    "mobilevit_xxs": {},
    "resnetv2_50": {},
    "ghostnet_050": {},
    "xcit_nano_12_p16_224": {"img_size": 64},
    "beit_base_patch16_224": {"img_size": 32, "patch_size": 8, "depth": 2, "embed_dim": 48, "num_heads": 4},
    "cait_xxs24_224": {"img_size": 32, "depth": 3, "patch_size": 8},
    "edgenext_xx_small": {},
    "nf_resnet50": {},
    "levit_128s": {},
}


def _timm(name: str, options: dict[str, Any]) -> None:
    @model(f"timm {name}", "timm")
    def build() -> Made:
        import timm

        net = timm.create_model(name, pretrained=False, num_classes=10, **options)
        size = options.get("img_size", 224 if name == "levit_128s" else 64)
        return net, pictures(size, rows=4 if size > 64 else 8), F.cross_entropy, adamw(net, 5e-4)


for _name, _given in TIMM.items():
    _timm(_name, _given)


# transformers

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 41,
}
CAUSAL: dict[str, tuple[str, dict[str, Any]]] = {
    "GPT2": ("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 41, "n_positions": 32}),
    "Llama": ("Llama", {**SMALL, "num_key_value_heads": 2}),
    "Mistral": ("Mistral", {**SMALL, "num_key_value_heads": 2}),
    "Qwen2": ("Qwen2", {**SMALL, "num_key_value_heads": 2}),
    "GPTNeoX": ("GPTNeoX", SMALL),
    "OPT": (
        "OPT",
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 64,
            "vocab_size": 41,
            "word_embed_proj_dim": 32,
        },
    ),
    "Phi": ("Phi", SMALL),
    "Gemma": ("Gemma", {**SMALL, "num_key_value_heads": 2, "head_dim": 8}),
    "Bloom": ("Bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 41}),
    "Mamba": ("Mamba", {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 41, "state_size": 8}),
    "Mixtral": ("Mixtral", {**SMALL, "num_key_value_heads": 2, "num_local_experts": 4}),
}


def _causal(name: str, kind: str, options: dict[str, Any]) -> None:
    @model(f"transformers {name}, causal", "transformers")
    def build() -> Made:
        import transformers

        config = getattr(transformers, f"{kind}Config")(**options, pad_token_id=0, bos_token_id=1, eos_token_id=2)
        net = transformers.AutoModelForCausalLM.from_config(config)
        batches = [{"input_ids": x, "labels": x.clone()} for x in texts()]
        return net, batches, lambda model, batch: model(**batch).loss, adamw(net)


for _name, (_kind, _more) in CAUSAL.items():
    _causal(_name, _kind, _more)

CLASSIFY: dict[str, dict[str, Any]] = {
    "Bert": SMALL,
    "Roberta": SMALL,
    "DistilBert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": 41},
    "Electra": {**SMALL, "embedding_size": 16},
    "Albert": {**SMALL, "embedding_size": 16},
    "DebertaV2": {**SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "XLNet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64, "vocab_size": 41},
}


def _classify(name: str, options: dict[str, Any]) -> None:
    @model(f"transformers {name}, classes of padded texts", "transformers")
    def build() -> Made:
        import transformers

        config = getattr(transformers, f"{name}Config")(**options, pad_token_id=0, num_labels=3)
        net = transformers.AutoModelForSequenceClassification.from_config(config)
        # XLNet reads its answer at the last place, and so has its padding before the text, as its tokenizer puts it.
        side = (lambda each: each.flip(1)) if name == "XLNet" else (lambda each: each)
        batches = [({"input_ids": side(x), "attention_mask": side(mask)}, y) for x, mask, y in short_texts()]
        return net, batches, lambda out, y: F.cross_entropy(out.logits, y), adamw(net)


for _name, _more in CLASSIFY.items():
    _classify(_name, _more)


@model("transformers Bert, masked words", "transformers")
def _() -> Made:
    import transformers

    net = transformers.BertForMaskedLM(transformers.BertConfig(**SMALL, pad_token_id=0))
    g = torch.Generator().manual_seed(6)
    batches = []
    for x in texts():
        hidden = torch.rand(x.shape, generator=g) < 0.2
        hidden[:, 3] = True
        batches.append({"input_ids": x.masked_fill(hidden, 40), "labels": x.masked_fill(~hidden, -100)})
    return net, batches, lambda model, batch: model(**batch).loss, adamw(net)


@model("transformers T5", "transformers")
def _() -> Made:
    import transformers

    config = transformers.T5Config(
        d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=41, decoder_start_token_id=0
    )
    net = transformers.T5ForConditionalGeneration(config)
    batches = [{"input_ids": x, "labels": x.flip(1)} for x in texts(length=12)]
    return net, batches, lambda model, batch: model(**batch).loss, adamw(net)


@model("transformers Bart", "transformers")
def _() -> Made:
    import transformers

    sizes = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2, "forced_eos_token_id": 2}
    config = transformers.BartConfig(d_model=32, encoder_ffn_dim=64, decoder_ffn_dim=64, vocab_size=41, **sizes, **ids)
    net = transformers.BartForConditionalGeneration(config)
    batches = [{"input_ids": x, "labels": x.flip(1)} for x in texts(length=12)]
    return net, batches, lambda model, batch: model(**batch).loss, adamw(net)


@model("transformers ViT", "transformers")
def _() -> Made:
    import transformers

    sizes = {key: value for key, value in SMALL.items() if key != "vocab_size"}
    net = transformers.ViTForImageClassification(transformers.ViTConfig(**sizes, image_size=32, patch_size=8, num_labels=10))
    return net, pictures(32), lambda out, y: F.cross_entropy(out.logits, y), adamw(net)


@model("transformers CLIP, contrastive", "transformers")
def _() -> Made:
    import transformers

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text = {**sizes, "vocab_size": 41, "max_position_embeddings": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.CLIPConfig(
        text_config=text, vision_config={**sizes, "image_size": 32, "patch_size": 8}, projection_dim=16
    )
    net = transformers.CLIPModel(config)
    batches = [{"input_ids": t, "pixel_values": x} for t, (x, _) in zip(texts(), pictures(32), strict=True)]
    return net, batches, lambda model, batch: model(**batch, return_loss=True).loss, adamw(net)


@model("transformers Wav2Vec2, classes of sounds", "transformers")
def _() -> Made:
    import transformers

    config = transformers.Wav2Vec2Config(
        **SMALL,
        conv_dim=(16, 16),
        conv_stride=(5, 2),
        conv_kernel=(10, 3),
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        num_labels=4,
        classifier_proj_size=16,
        mask_time_prob=0.0,
    )
    net = transformers.Wav2Vec2ForSequenceClassification(config)
    batches = [(x[:, :, 0], y) for x, y in waves(length=400, channels=1, rows=8)]
    return net, batches, lambda out, y: F.cross_entropy(out.logits, y), adamw(net)


# PyTorch Geometric


def _graph() -> tuple[Any, Any, Any]:
    g = torch.Generator().manual_seed(7)
    y = torch.randint(3, (60,), generator=g)
    same = y[:, None] == y[None]
    adjacency = torch.rand(60, 60, generator=g) < torch.where(same, 0.2, 0.02)
    x = torch.randn(60, 12, generator=g)
    x[torch.arange(60), y] += 1.0
    return x, adjacency.nonzero().T.contiguous(), y


def _nodes(name: str) -> None:
    @model(f"torch_geometric {name}, nodes", "torch_geometric")
    def build() -> Made:
        import torch_geometric.nn as pyg

        net = getattr(pyg, name)(12, 16, 2, 3)
        x, edges, y = _graph()
        return net, [((x, edges), y)] * 4, F.cross_entropy, adamw(net, 1e-2)


for _name in ("GCN", "GAT", "GraphSAGE", "GIN"):
    _nodes(_name)


@model("torch_geometric GIN, whole graphs", "torch_geometric")
def _() -> Made:
    import torch_geometric.nn as pyg
    from torch_geometric.data import Batch, Data

    class Graphs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.out = pyg.GIN(4, 16, 2), nn.Linear(16, 2)

        def forward(self, data: Any) -> torch.Tensor:
            return self.out(pyg.global_mean_pool(self.body(data.x, data.edge_index), data.batch))

    g = torch.Generator().manual_seed(8)
    batches = []
    for _ in range(8):
        y = torch.randint(2, (8,), generator=g)
        graphs = []
        for each in y.tolist():
            nodes = 6 + int(torch.randint(4, (1,), generator=g))
            ring = torch.arange(nodes)
            edges = torch.stack([ring, (ring + 1 + each) % nodes])
            graphs.append(Data(x=torch.randn(nodes, 4, generator=g) + each, edge_index=edges))
        batches.append((Batch.from_data_list(graphs), y))
    net = Graphs()
    return net, batches, lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]), adamw(net, 1e-2)
