"""Writes the small models of model/testdata/transformers: a random checkpoint of most
architectures, with the scores that transformers gives.

    python subset.py directory

Everything in them is drawn here: no weight, token or text comes from elsewhere. Each is a
directory as encoders.py writes it. model/testdata/transformers/README.md says by which
versions the files there were made.
"""

import random
import sys

import torch
import transformers
from transformers import (
    AlbertConfig, AlbertForSequenceClassification,
    BertConfig, BertForSequenceClassification,
    DebertaV2Config, DebertaV2ForSequenceClassification,
    Gemma2Config, Gemma2ForSequenceClassification,
    GPTNeoXConfig, GPTNeoXForSequenceClassification,
    LlamaConfig, LlamaForSequenceClassification,
    MistralConfig, MistralForSequenceClassification,
    ModernBertConfig, ModernBertForSequenceClassification,
    Phi3Config, Phi3ForSequenceClassification,
    Qwen2Config, Qwen2ForSequenceClassification,
    Qwen3Config, Qwen3ForSequenceClassification,
    RobertaConfig, RobertaForSequenceClassification,
)

from encoders import write

DECODER = dict(
    vocab_size=96, hidden_size=48, num_hidden_layers=2, num_attention_heads=6,
    num_key_value_heads=2, intermediate_size=64, max_position_embeddings=64,
    pad_token_id=0, bos_token_id=1, eos_token_id=2,
)
ENCODER = dict(
    vocab_size=96, hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
    intermediate_size=64, max_position_embeddings=64, pad_token_id=0,
)


def main():
    out, draw = sys.argv[1], random.Random(1)
    deberta = dict(
        **ENCODER, relative_attention=True, pos_att_type=["c2p", "p2c"], share_att_key=True,
        norm_rel_ebd="layer_norm", position_buckets=16, max_relative_positions=-1,
        position_biased_input=False, type_vocab_size=0, pooler_hidden_size=48)
    for name, cls, config, more in [
        ("llama", LlamaForSequenceClassification, LlamaConfig(**DECODER), {}),
        ("mistral", MistralForSequenceClassification, MistralConfig(**DECODER, sliding_window=16), {}),
        ("qwen2", Qwen2ForSequenceClassification, Qwen2Config(**DECODER), {}),
        ("qwen3", Qwen3ForSequenceClassification, Qwen3Config(**DECODER, head_dim=12), {}),
        ("gemma2", Gemma2ForSequenceClassification, Gemma2Config(
            **DECODER, head_dim=8, query_pre_attn_scalar=12, sliding_window=16), {}),
        ("phi3", Phi3ForSequenceClassification, Phi3Config(
            **DECODER, original_max_position_embeddings=64), {}),
        ("gptneox", GPTNeoXForSequenceClassification, GPTNeoXConfig(
            vocab_size=96, hidden_size=48, num_hidden_layers=2, num_attention_heads=6,
            intermediate_size=64, max_position_embeddings=64, pad_token_id=0), {}),
        ("bert", BertForSequenceClassification, BertConfig(**ENCODER), dict(types=2)),
        ("roberta", RobertaForSequenceClassification, RobertaConfig(
            **{**ENCODER, "max_position_embeddings": 66, "pad_token_id": 1}, type_vocab_size=1),
         dict(padding=True)),
        ("albert", AlbertForSequenceClassification, AlbertConfig(**ENCODER, embedding_size=16), dict(types=2)),
        ("deberta", DebertaV2ForSequenceClassification, DebertaV2Config(**deberta), {}),
        ("modernbert", ModernBertForSequenceClassification, ModernBertConfig(
            **ENCODER, local_attention=16, global_attn_every_n_layers=2, bos_token_id=1,
            eos_token_id=2, cls_token_id=1, sep_token_id=2), {}),
    ]:
        write(f"{out}/{name}", draw, cls, config, **more)
    print("transformers", transformers.__version__, "torch", torch.__version__)


if __name__ == "__main__":
    main()
