"""Writes what transformers continues prompts with: 50 greedy tokens in float32.

    python greedy.py DIR > trainer/lm/testdata/greedy.json

DIR is SmolLM2-135M-Instruct as a Hugging Face directory. Needs transformers 5 and PyTorch 2.
The test that reads the result takes the directory from WARM_SMOLLM2.
"""

import json
import sys

import torch
import transformers

PROMPTS = [
    "The most important thing about reward models is",
    "Once upon a time",
    "The capital of France is",
    "def fibonacci(n):",
    "In 1969, the first people",
    "Water boils at",
    "A good answer is",
    "The cat sat on the",
    "Dear Sir or Madam,",
    "1, 2, 3, 4,",
    "Der Hund ist",
    "¿Dónde está",
    "Photosynthesis is the process by which",
    "To be or not to be,",
    "SELECT name FROM",
    "The opposite of hot is",
    "My favourite food is pizza because",
    "  Indented text begins",
    "Q: What is 2+2?\nA:",
    "Ünïcödé and emoji 🙂",
]
TOKENS = 50


def main():
    directory = sys.argv[1]
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    out = []

    def add(kind, prompt, ids):
        with torch.no_grad():
            whole = model.generate(torch.tensor([ids]), max_new_tokens=TOKENS, do_sample=False)
        out.append({"kind": kind, "prompt": prompt, "ids": ids, "answer": whole[0, len(ids) :].tolist()})

    for prompt in PROMPTS:
        add("text", prompt, tokenizer(prompt)["input_ids"])
    for prompt in PROMPTS[:3]:
        turn = [{"role": "user", "content": prompt}]
        ids = tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=True)["input_ids"]
        add("chat", prompt, ids)
    print("[\n" + ",\n".join(json.dumps(x) for x in out) + "\n]")


if __name__ == "__main__":
    main()
