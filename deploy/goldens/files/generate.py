"""Writes tiny reward models in the files that transformers and torch make of them, with their scores.

    python generate.py .

Each directory has the weights in another form: pytorch_model.bin, its shards, a
body under another prefix, the text part of a model that sees. expected.json has
sequences of token ids and the float64 scores of transformers' own classes.
"""

import json
import os
import shutil
import sys

import torch
import transformers
from safetensors.torch import save_file

out = sys.argv[1]
SMALL = dict(vocab_size=40, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=64, num_labels=1,
             attn_implementation="eager")
LENGTHS = (1, 2, 7, 23, 40)
UNNAMED = ["bert-other-prefix", "bert-mean", "bert-first"]  # config.json without a class, as a body's own configuration is


def build(seed, make, config):
    torch.manual_seed(seed)
    model = make(config).eval()
    for p in model.parameters():  # small models of the library's initialisation score almost the same for all
        torch.nn.init.normal_(p, 1.0 if p.dim() == 1 and p.numel() > 1 and float(p.detach().mean()) > 0.5 else 0.0, 0.2)
    return model


def scores(model, sequences):
    model = model.double()
    with torch.no_grad():
        return [float(model(input_ids=torch.tensor([s])).logits[0, 0]) for s in sequences]


def write(name, model, files, dtype=torch.float32):
    """files makes of a state_dict what lies in the directory: name of the file → dict of tensors."""
    where = os.path.join(out, name)
    shutil.rmtree(where, ignore_errors=True)
    os.makedirs(where)
    model = model.to(dtype)
    if name not in UNNAMED:
        model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(where)
    state = {k: v.detach().clone().contiguous() for k, v in model.state_dict().items()}
    for file, tensors in files(state).items():
        if file.endswith(".bin"):
            torch.save(tensors, os.path.join(where, file))
        elif file.endswith(".json"):
            with open(os.path.join(where, file), "w") as f:
                json.dump(tensors, f)
        else:
            save_file(tensors, os.path.join(where, file), metadata={"format": "pt"})
    generator = torch.Generator().manual_seed(7)
    sequences = [torch.randint(5, 40, (n,), generator=generator).tolist() for n in LENGTHS]
    expected = [{"ids": s, "score": v} for s, v in zip(sequences, scores(model, sequences))]
    with open(os.path.join(where, "expected.json"), "w") as f:
        f.write("[" + ",\n".join(json.dumps(e) for e in expected) + "]\n")


def whole(file):
    return lambda state: {file: state}


def shards(state):
    names = list(state)
    half = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    index = {"metadata": {"total_size": 0}, "weight_map": {n: f for f, ns in half.items() for n in ns}}
    return {f: {n: state[n] for n in ns} for f, ns in half.items()} | {"pytorch_model.bin.index.json": index}


def prefixed(old, new, file="model.safetensors"):
    return lambda state: {file: {(new + k[len(old):] if k.startswith(old) else k): v for k, v in state.items()}}


t = transformers
deberta = t.DebertaV2Config(**SMALL, relative_attention=True, pos_att_type=["p2c", "c2p"], share_att_key=True, norm_rel_ebd="layer_norm",
                            position_buckets=8, position_biased_input=False, type_vocab_size=0)
write("deberta-bin", build(1, t.DebertaV2ForSequenceClassification, deberta), whole("pytorch_model.bin"))
llama = t.LlamaConfig(**SMALL, num_key_value_heads=1, pad_token_id=0)
write("llama-bin-shards-bf16", build(2, t.LlamaForSequenceClassification, llama), shards, torch.bfloat16)
write("llama-no-prefix", build(3, t.LlamaForSequenceClassification, llama), prefixed("model.", ""))
gpt2 = t.GPT2Config(vocab_size=40, n_embd=8, n_inner=12, n_layer=2, n_head=2, n_positions=64, num_labels=1, pad_token_id=0, attn_implementation="eager")
write("gpt2-no-prefix-bin", build(4, t.GPT2ForSequenceClassification, gpt2), prefixed("transformer.", "", "pytorch_model.bin"))
bert = t.BertConfig(**SMALL)
write("bert-other-prefix", build(5, t.BertForSequenceClassification, bert), prefixed("bert.", "encoder_model.", "pytorch_model.safetensors"))
class Pooled(torch.nn.Module):
    """A body whose head reads the mean of all tokens, or the first, as sentence-transformers has it."""

    def __init__(self, body, pooling):
        super().__init__()
        self.bert, self.classifier, self.config, self.pooling = body, torch.nn.Linear(8, 1), body.config, pooling
        self.config.warmserve = {"pooling": pooling, "pooler": False}

    def forward(self, input_ids):
        x = self.bert(input_ids=input_ids).last_hidden_state
        return t.modeling_outputs.SequenceClassifierOutput(logits=self.classifier(x.mean(1) if self.pooling == "mean" else x[:, 0]))


for pooling in ("mean", "first"):
    write(f"bert-{pooling}", build(8, lambda c: Pooled(t.BertModel(c, add_pooling_layer=False), pooling), t.BertConfig(**SMALL)), whole("model.safetensors"))
text = dict(SMALL, num_key_value_heads=1, head_dim=4, sliding_window=4, pad_token_id=0, query_pre_attn_scalar=8)
del text["num_labels"], text["attn_implementation"]
vision = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=14, patch_size=7)
gemma3 = t.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=1, num_labels=1, attn_implementation="eager")
write("gemma3-sees", build(6, t.Gemma3ForSequenceClassification, gemma3), whole("model.safetensors"))
write("gemma3-sees-as-saved", build(6, t.Gemma3ForSequenceClassification, gemma3),
      lambda state: prefixed("model.language_model.", "language_model.model.")({k.replace("model.vision_tower.", "vision_tower.").replace("model.multi_", "multi_"): v for k, v in state.items()}))
