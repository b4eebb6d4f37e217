"""Writes what transformers makes of tokenizer_config.json beside tokenizer.json.

Run it once with each version, into the same file:

    python tokenizer_config.py ../../model/tokenizer/testdata/tokenizer_config.json

Each case is a small tokenizer of the given kind, a tokenizer_config.json, and by
version of transformers the ids of some texts with special tokens. A version
that cannot open the case has no ids.
"""

import json
import logging
import os
import sys
import tempfile

import transformers
from transformers import AutoTokenizer

logging.disable(logging.CRITICAL)

TEXTS = ["ab", " a b", "  a", "Áb AB 你a", "a</s>b<s>", "a [PAD] b", "<new>a"]
PAIR = ["a", "b"]


def added(content, id, **flags):
    entry = {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return entry | flags


def template(before, after, ids):
    def special(token, kind):
        return {"SpecialToken": {"id": token, "type_id": kind}}

    single = [special(t, 0) for t in before] + [{"Sequence": {"id": "A", "type_id": 0}}] + [special(t, 0) for t in after]
    second = [special(t, 1) for t in before] + [{"Sequence": {"id": "B", "type_id": 1}}] + [special(t, 1) for t in after]
    used = {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in before + after}
    return {"type": "TemplateProcessing", "single": single, "pair": single + second, "special_tokens": used}


def document(**members):
    doc = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
           "pre_tokenizer": None, "post_processor": None, "decoder": None}
    return doc | members


def llama(before=("<s>",), after=()):
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + ["▁", "a", "b", "▁a"]
    vocab = {t: i for i, t in enumerate(tokens)}
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None,
             "fuse_unk": True, "byte_fallback": True, "ignore_merges": False, "vocab": vocab, "merges": [["▁", "a"]]}
    return document(model=model, added_tokens=[added(t, vocab[t]) for t in tokens[:3]],
                    pre_tokenizer={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
                    post_processor=template(list(before), list(after), vocab))


def llama2():
    """Llama 2's own file: the prefix space is the normalizer's."""
    doc = llama()
    doc["pre_tokenizer"] = None
    doc["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    return doc


def bert(lowercase=True, accents=None, chinese=True):
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "b", "A", "##B", "B", "á", "Á", "你", "ab", "你a", "<", ">", "/", "s", "[", "]"]
    vocab = {t: i for i, t in enumerate(tokens)}
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocab}
    cls, sep = ("[CLS]", 2), ("[SEP]", 3)
    post = template([cls[0]], [sep[0]], vocab)
    post["pair"] = post["single"] + [{"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}]
    return document(model=model, added_tokens=[added(t, vocab[t]) for t in tokens[:5]], pre_tokenizer={"type": "BertPreTokenizer"},
                    normalizer={"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": chinese,
                                "strip_accents": accents, "lowercase": lowercase}, post_processor=post,
                    decoder={"type": "WordPiece", "prefix": "##", "cleanup": True})


def gpt2(prefix=False, special=("<|endoftext|>",)):
    from tokenizers.pre_tokenizers import ByteLevel
    tokens = sorted(ByteLevel.alphabet()) + ["ab", "Ġa", "</s>"]
    vocab = {t: i for i, t in enumerate(tokens)}
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
             "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": [["a", "b"], ["Ġ", "a"]]}
    byte_level = {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": True}
    return document(model=model, added_tokens=[added(t, len(vocab) + i, normalized=True) for i, t in enumerate(special)],
                    pre_tokenizer=byte_level, decoder=byte_level)


def roberta(prefix):
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    doc = gpt2(prefix, tokens)
    ids = {a["content"]: a["id"] for a in doc["added_tokens"]}
    ids["</s>"] = doc["model"]["vocab"]["</s>"]
    doc["added_tokens"] = [added(t, i) for t, i in sorted(ids.items(), key=lambda e: e[1]) if t != "</s>"]
    for i, a in enumerate(doc["added_tokens"]):
        a["id"] = ids[a["content"]] = len(doc["model"]["vocab"]) + i
    doc["added_tokens"].append(added("</s>", ids["</s>"]))
    doc["added_tokens"].sort(key=lambda a: a["id"])
    doc["post_processor"] = {"type": "RobertaProcessing", "sep": ["</s>", ids["</s>"]], "cls": ["<s>", ids["<s>"]],
                             "trim_offsets": True, "add_prefix_space": prefix}
    return doc


def decoder(**entries):
    """added_tokens_decoder of token → (id, flags)."""
    out = {}
    for name, (id, flags) in entries.items():
        entry = added(name, id, **flags)
        del entry["id"]
        out[str(id)] = entry
    return out


LLAMA = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
BERT = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
GPT2 = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
ROBERTA = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>",
           "unk_token": "<unk>", "mask_token": "<mask>"}
NEOX = ("<|endoftext|>", "<|padding|>")
CASES = {}


def case(name, doc, **config):
    CASES[name] = (doc, config)


for cls in ["LlamaTokenizerFast", "LlamaTokenizer", "PreTrainedTokenizerFast"]:
    for bos in [True, False]:
        for eos in [True, False]:
            case(f"{cls} bos {bos} eos {eos}", llama(), tokenizer_class=cls, add_bos_token=bos, add_eos_token=eos, **LLAMA)
case("LlamaTokenizerFast says nothing", llama(), tokenizer_class="LlamaTokenizerFast", **LLAMA)
case("LlamaTokenizerFast legacy", llama(), tokenizer_class="LlamaTokenizerFast", legacy=True, **LLAMA)
case("LlamaTokenizerFast no prefix space", llama(), tokenizer_class="LlamaTokenizerFast", add_prefix_space=False, **LLAMA)
case("LlamaTokenizerFast eos alone", llama(), tokenizer_class="LlamaTokenizerFast", add_eos_token=True, **LLAMA)
case("LlamaTokenizerFast splits special tokens", llama(), tokenizer_class="LlamaTokenizerFast", split_special_tokens=True, **LLAMA)
case("LlamaTokenizerFast a pad token of its own", llama(), tokenizer_class="LlamaTokenizerFast", pad_token="[PAD]", **LLAMA)
case("[PAD] only in added_tokens_decoder", llama(), tokenizer_class="LlamaTokenizerFast", pad_token="[PAD]",
     added_tokens_decoder=decoder(**{"[PAD]": (263, {})}), **LLAMA)
case("a token only in added_tokens_decoder that is not special", llama(), tokenizer_class="PreTrainedTokenizerFast",
     added_tokens_decoder=decoder(**{"<new>": (263, {"special": False})}), **LLAMA)
case("added_tokens_decoder with other flags", llama(), tokenizer_class="PreTrainedTokenizerFast",
     added_tokens_decoder=decoder(**{"</s>": (2, {"lstrip": True, "rstrip": True})}), **LLAMA)
case("added_tokens_decoder with an id that is not the next", llama(), tokenizer_class="PreTrainedTokenizerFast",
     added_tokens_decoder=decoder(**{"<new>": (300, {})}), **LLAMA)
case("additional_special_tokens", llama(), tokenizer_class="PreTrainedTokenizerFast", additional_special_tokens=["<new>"], **LLAMA)
case("extra_special_tokens", llama(), tokenizer_class="PreTrainedTokenizerFast", extra_special_tokens={"new_token": "<new>"}, **LLAMA)
for cls in ["LlamaTokenizer", "LlamaTokenizerFast", "CodeLlamaTokenizerFast", "PreTrainedTokenizerFast"]:
    case(f"{cls} Llama 2's file", llama2(), tokenizer_class=cls, **LLAMA)
case("LlamaTokenizerFast Llama 2's file, legacy", llama2(), tokenizer_class="LlamaTokenizerFast", legacy=True, **LLAMA)
case("LlamaTokenizerFast Llama 2's file, no prefix space", llama2(), tokenizer_class="LlamaTokenizerFast", add_prefix_space=False, **LLAMA)
case("LlamaTokenizerFast over bytes", gpt2(), tokenizer_class="LlamaTokenizerFast", **GPT2)
for prefix in [True, False]:
    case(f"GPTNeoXTokenizerFast add_prefix_space {prefix}", gpt2(not prefix, NEOX), tokenizer_class="GPTNeoXTokenizerFast", add_prefix_space=prefix, **GPT2)
    case(f"GPTNeoXTokenizerFast says nothing, prefix {prefix}", gpt2(prefix, NEOX), tokenizer_class="GPTNeoXTokenizerFast", **GPT2)
    case(f"Qwen2TokenizerFast add_prefix_space {prefix}", gpt2(not prefix), tokenizer_class="Qwen2TokenizerFast", add_prefix_space=prefix, **GPT2)
case("a class that is not known", llama(), tokenizer_class="NoSuchTokenizer", add_eos_token=True, **LLAMA)
for cls in ["BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer", "ElectraTokenizerFast"]:
    for lower in [True, False]:
        case(f"{cls} cased file, do_lower_case {lower}", bert(False), tokenizer_class=cls, do_lower_case=lower, **BERT)
        case(f"{cls} uncased file, do_lower_case {lower}", bert(True), tokenizer_class=cls, do_lower_case=lower, **BERT)
for accents in [True, False, None]:
    for lower in [True, False]:
        case(f"BertTokenizer do_lower_case {lower} strip_accents {accents}", bert(lower), tokenizer_class="BertTokenizer",
             do_lower_case=lower, strip_accents=accents, **BERT)
case("BertTokenizer tokenize_chinese_chars", bert(), tokenizer_class="BertTokenizer", tokenize_chinese_chars=False, **BERT)
case("BertTokenizer says nothing over a cased file", bert(False), tokenizer_class="BertTokenizer", **BERT)
case("BertTokenizer says nothing of accents", bert(True, accents=False), tokenizer_class="BertTokenizer", do_lower_case=True, **BERT)
case("PreTrainedTokenizerFast do_lower_case", bert(False), tokenizer_class="PreTrainedTokenizerFast", do_lower_case=True, **BERT)
case("BertTokenizer add_bos_token", bert(), tokenizer_class="BertTokenizer", add_bos_token=True, **BERT)
for cls in ["GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast"]:
    for prefix in [True, False]:
        case(f"{cls} plain file, add_prefix_space {prefix}", gpt2(), tokenizer_class=cls, add_prefix_space=prefix, **GPT2)
        case(f"{cls} prefix file, add_prefix_space {prefix}", gpt2(True), tokenizer_class=cls, add_prefix_space=prefix, **GPT2)
    case(f"{cls} prefix file, says nothing", gpt2(True), tokenizer_class=cls, **GPT2)
for prefix in [True, False]:
    case(f"RobertaTokenizerFast add_prefix_space {prefix}", roberta(not prefix), tokenizer_class="RobertaTokenizerFast", add_prefix_space=prefix, **ROBERTA)
case("GPT2Tokenizer add_bos_token", gpt2(), tokenizer_class="GPT2Tokenizer", add_bos_token=True, **GPT2)
case("PreTrainedTokenizerFast an eos token of the model's vocabulary", gpt2(), tokenizer_class="PreTrainedTokenizerFast",
     eos_token="</s>", bos_token="<|endoftext|>")
case("PreTrainedTokenizerFast a named token that is not special in the file", document(**(gpt2() | {
    "added_tokens": [added("<|endoftext|>", 259), added("<new>", 260, special=False, normalized=True)]})),
    tokenizer_class="PreTrainedTokenizerFast", pad_token="<new>")


def run(doc, config):
    with tempfile.TemporaryDirectory() as d:
        for name, value in [("tokenizer.json", doc), ("tokenizer_config.json", config)]:
            with open(os.path.join(d, name), "w") as f:
                json.dump(value, f)
        try:
            t = AutoTokenizer.from_pretrained(d)
            out = {"texts": [t(s)["input_ids"] for s in TEXTS], "pair": t(*PAIR)["input_ids"],
                   "special": sorted(i for i, a in t.added_tokens_decoder.items() if a.special)}
        except Exception as e:  # noqa: BLE001: whatever it is, the version does not open it
            return {"error": f"{type(e).__name__}: {e}"[:100]}
        return out


def main():
    path = sys.argv[1]
    old = {}
    if os.path.exists(path):
        with open(path) as f:
            old = json.load(f)["cases"]
    version = transformers.__version__.split(".")[0]
    docs, cases = [], {}
    for name, (doc, config) in CASES.items():
        if doc not in docs:
            docs.append(doc)
        got = {k: v for k, v in old.get(name, {}).get("transformers", {}).items() if k != version}
        got[version] = run(doc, config) | {"version": transformers.__version__}
        cases[name] = {"tokenizer": docs.index(doc), "config": config, "transformers": dict(sorted(got.items()))}
    with open(path, "w") as f:
        f.write('{"texts":' + json.dumps(TEXTS, ensure_ascii=False) + ',"pair":' + json.dumps(PAIR) + ',\n"tokenizers":[\n')
        f.write(",\n".join(json.dumps(d, ensure_ascii=False, separators=(",", ":")) for d in docs))
        f.write('],\n"cases":{\n')
        f.write(",\n".join(json.dumps(n) + ":" + json.dumps(c, ensure_ascii=False, separators=(",", ":")) for n, c in cases.items()))
        f.write("\n}}\n")


main()
