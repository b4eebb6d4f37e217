"""Says whether PEFT reads the adapter of warm rl --lora as the policy that was merged.

    warm rl --policy BASE ... --lora 8,16,q_proj,v_proj --out OUT
    python policy_adapter.py OUT OUT-adapter

Compares logits of the base with the adapter and of the merged policy, in float32. Needs
transformers 5, PEFT 0.21 and PyTorch 2.
"""

import sys

import peft
import torch
import transformers

TOLERANCE = 2e-4  # of logits of order 10: weights that are rounded once, and in PEFT not merged


def main():
    merged, adapter = sys.argv[1:]
    tokenizer = transformers.AutoTokenizer.from_pretrained(merged)
    ids = torch.tensor([tokenizer("Once upon a time in a country far away there was")["input_ids"]])
    config = peft.PeftConfig.from_pretrained(adapter)
    base = transformers.AutoModelForCausalLM.from_pretrained(config.base_model_name_or_path, dtype=torch.float32).eval()
    with torch.no_grad():
        before = base(ids).logits
        with_adapter = peft.PeftModel.from_pretrained(base, adapter).eval()(ids).logits
        want = transformers.AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32).eval()(ids).logits
    off, changed = (with_adapter - want).abs().max().item(), (want - before).abs().max().item()
    print(f"logits: base with adapter and merged policy differ by {off:.2g}, the change is {changed:.2g}")
    if not off < TOLERANCE < changed:
        sys.exit("the adapter is not the policy's change")


if __name__ == "__main__":
    main()
