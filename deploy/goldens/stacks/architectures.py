"""Tiny random models of every architecture of transformers that warm opens, for trainers to begin with."""

import transformers

SMALL = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=256)
GROUPED = dict(SMALL, num_key_value_heads=2)
EXPERTS = dict(GROUPED, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24, decoder_sparse_step=1)

# The prefix of the classes' names, the configuration's keys, and whether a trainer begins with a language model: an encoder's
# classifier has layers that no language model has.
ARCHITECTURES = {
    "llama": ("Llama", GROUPED, True),
    "mistral": ("Mistral", dict(GROUPED, sliding_window=16), True),
    "qwen2": ("Qwen2", GROUPED, True),
    "qwen3": ("Qwen3", dict(GROUPED, head_dim=8), True),
    "mixtral": ("Mixtral", dict(GROUPED, num_local_experts=4), True),
    "qwen2-moe": ("Qwen2Moe", dict(EXPERTS, shared_expert_intermediate_size=24), True),
    "qwen3-moe": ("Qwen3Moe", dict(EXPERTS, head_dim=8), True),
    "gemma": ("Gemma", dict(GROUPED, head_dim=8), True),
    "gemma2": ("Gemma2", dict(GROUPED, head_dim=8, sliding_window=16, query_pre_attn_scalar=12), True),
    "gemma3": ("Gemma3Text", dict(GROUPED, head_dim=8, sliding_window=16, query_pre_attn_scalar=12), True),
    "phi3": ("Phi3", GROUPED, True),
    "olmo2": ("Olmo2", GROUPED, True),
    "gptneox": ("GPTNeoX", SMALL, True),
    "gpt2": ("GPT2", dict(n_embd=32, n_layer=2, n_head=4, n_positions=256), True),
    "bert": ("Bert", SMALL, False),
    "roberta": ("Roberta", dict(SMALL, max_position_embeddings=1024), False),  # positions begin behind the padding token's id
    "xlm-roberta": ("XLMRoberta", dict(SMALL, max_position_embeddings=1024), False),
    "distilbert": ("DistilBert", dict(dim=32, hidden_dim=48, n_layers=2, n_heads=4, max_position_embeddings=256), False),
    "electra": ("Electra", dict(SMALL, embedding_size=24), False),
    "albert": ("Albert", dict(SMALL, embedding_size=24), False),
    "deberta-v2": ("DebertaV2", dict(SMALL, relative_attention=True, position_buckets=16, pos_att_type=["p2c", "c2p"], norm_rel_ebd="layer_norm", share_att_key=True, position_biased_input=False), False),
    "modernbert": ("ModernBert", dict(SMALL, local_attention=16), False),
}


def make(name, where, tokenizer):
    """Saves a random model to train: a language model, or an encoder with a score head."""
    import torch

    prefix, keys, causal = ARCHITECTURES[name]
    special = dict(pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None, cls_token_id=None, sep_token_id=None)
    config = getattr(transformers, prefix + "Config")(vocab_size=len(tokenizer), num_labels=1, **keys, **special)
    torch.manual_seed(len(name))
    language = {"GPT2": "GPT2LMHeadModel", "Gemma3Text": "Gemma3ForCausalLM"}.get(prefix, prefix + "ForCausalLM")
    model = getattr(transformers, language if causal else prefix + "ForSequenceClassification")(config)
    with torch.no_grad():
        for p in model.parameters():  # large enough that every part shows in a score
            if p.dim() > 1:
                p.normal_(0, 0.7 / p[0].numel() ** 0.5)
    model.save_pretrained(where)
    tokenizer.save_pretrained(where)
