"""Writes small random encoders, and GPT-2s, with the scores that transformers gives.

    python encoders.py directory [seed]

Each model is a directory: config.json, model.safetensors and golden.json, which has
sequences and their scores in float64. Sizes and switches are drawn by the seed. The
sequences of RoBERTa have its padding token inside, which its positions go by.
"""

import json
import random
import sys

import torch
from transformers import (
    AlbertConfig, AlbertForSequenceClassification,
    DebertaV2Config, DebertaV2ForSequenceClassification,
    DistilBertConfig, DistilBertForSequenceClassification,
    ElectraConfig, ElectraForSequenceClassification,
    GPT2Config, GPT2ForSequenceClassification,
    ModernBertConfig, ModernBertForSequenceClassification,
    RobertaConfig, RobertaForSequenceClassification,
    XLMRobertaConfig, XLMRobertaForSequenceClassification,
)

LENGTHS = [1, 3, 17, 33, 60, 61]


def randomize(model):
    """Draws weights large enough that every part of the model shows in a score."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() > 1:
                p.normal_(0, 0.9 / p[0].numel() ** 0.5)
            elif name.endswith("bias"):
                p.normal_(0, 0.1)
            else:
                p.normal_(1, 0.1)


def write(directory, draw, cls, config, padding=False, types=0):
    torch.manual_seed(draw.randrange(1 << 30))
    config.num_labels = 1
    config._attn_implementation = "eager"
    model = cls(config).eval()
    randomize(model)
    model.save_pretrained(directory)
    model = model.double()
    sequences, scores = [], []
    for n in LENGTHS:
        ids = [draw.randrange(5, config.vocab_size) for _ in range(n)]
        for _ in range(n // 5 if padding else 0):
            ids[draw.randrange(1, n)] = config.pad_token_id
        s = {"input_ids": ids}
        if types:
            s["token_type_ids"] = [draw.randrange(types) for _ in ids]
        tensors = {k: torch.tensor([v]) for k, v in s.items()}
        with torch.no_grad():
            y = model(**tensors, attention_mask=torch.ones(1, n, dtype=torch.long)).logits
        sequences.append(s)
        scores.append(y.reshape(-1)[0].item())
    with open(f"{directory}/golden.json", "w") as f:
        json.dump({"sequences": sequences, "scores_f64": scores}, f)


def main():
    out = sys.argv[1]
    draw = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    pick = lambda *a: draw.choice(a)
    for i in range(3):
        heads = pick(2, 3, 4)
        hidden = heads * pick(8, 12, 20)
        pad = pick(0, 1, 2, 3)
        base = dict(
            vocab_size=pick(90, 131), hidden_size=hidden, num_attention_heads=heads,
            num_hidden_layers=pick(2, 3, 4), intermediate_size=pick(50, 64, 99),
            max_position_embeddings=80, hidden_act=pick("gelu", "relu", "gelu_new"),
        )
        padded = {**base, "max_position_embeddings": 81 + pad, "pad_token_id": pad}

        def case(name, cls, config, **more):
            write(f"{out}/{name}-{i}", draw, cls, config, **more)

        case("roberta", RobertaForSequenceClassification,
             RobertaConfig(**padded, type_vocab_size=pick(1, 2)), padding=True)
        case("xlm-roberta", XLMRobertaForSequenceClassification,
             XLMRobertaConfig(**padded), padding=True)
        case("distilbert", DistilBertForSequenceClassification, DistilBertConfig(
            vocab_size=97, dim=hidden, n_heads=heads, n_layers=pick(1, 3), hidden_dim=70,
            max_position_embeddings=80, activation=pick("gelu", "relu"),
            sinusoidal_pos_embds=bool(i % 2)))
        case("electra", ElectraForSequenceClassification,
             ElectraConfig(**base, embedding_size=pick(hidden, 16, 24)), types=2)
        case("albert", AlbertForSequenceClassification, AlbertConfig(
            **{**base, "num_hidden_layers": pick(3, 4, 5)}, embedding_size=pick(16, hidden),
            num_hidden_groups=pick(1, 2, 3), inner_group_num=pick(1, 2)), types=2)
        case("gpt2", GPT2ForSequenceClassification, GPT2Config(
            vocab_size=99, n_embd=hidden, n_layer=pick(1, 3), n_head=heads, n_positions=70,
            n_inner=pick(None, 50), scale_attn_weights=pick(True, False),
            scale_attn_by_inverse_layer_idx=pick(True, False),
            activation_function=pick("gelu", "gelu_new", "relu"), pad_token_id=0))
        case("deberta", DebertaV2ForSequenceClassification, DebertaV2Config(
            **base, relative_attention=True, pos_att_type=pick(["c2p", "p2c"], ["p2c"], ["c2p"]),
            share_att_key=pick(True, False), norm_rel_ebd=pick("layer_norm", "none"),
            position_buckets=pick(-1, 7, 16, 32), max_relative_positions=pick(-1, 80, 100),
            position_biased_input=pick(True, False), type_vocab_size=pick(0, 2),
            pooler_hidden_act=pick("gelu", "tanh"), pooler_hidden_size=hidden))
        case("deberta-conv", DebertaV2ForSequenceClassification, DebertaV2Config(
            **base, relative_attention=True, pos_att_type="p2c|c2p", share_att_key=True,
            norm_rel_ebd="layer_norm", position_buckets=16, max_relative_positions=-1,
            position_biased_input=False, type_vocab_size=0, conv_kernel_size=pick(3, 5),
            conv_act=pick("gelu", "tanh"), pooler_hidden_size=hidden))
        case("deberta-plain", DebertaV2ForSequenceClassification, DebertaV2Config(
            **base, relative_attention=False, type_vocab_size=0, pooler_hidden_size=hidden))
        bias = pick(True, False)
        case("modernbert", ModernBertForSequenceClassification, ModernBertConfig(
            vocab_size=120, hidden_size=hidden, num_attention_heads=heads,
            num_hidden_layers=pick(2, 3, 5), intermediate_size=pick(40, 66),
            max_position_embeddings=90, local_attention=pick(4, 9, 20, 64),
            global_attn_every_n_layers=pick(1, 2, 3), classifier_pooling=pick("cls", "mean"),
            attention_bias=bias, mlp_bias=pick(True, False), norm_bias=pick(True, False),
            classifier_bias=bias, hidden_activation=pick("gelu", "silu"),
            pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2))


if __name__ == "__main__":
    main()
