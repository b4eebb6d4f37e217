package rm

import (
	"fmt"
	"strings"

	"github.com/warmserve/warmserve/model"
)

// cardFile is the model card of Hugging Face's hub.
const cardFile = "README.md"

// card says how the result is read where transformers' class of its name would read it otherwise;
// nil where that reads it as it was trained.
func card(c *model.Config) map[string][]byte {
	mean := c.Reading.Pooling == model.PoolMean
	switch {
	case c.NoPooler, c.Causal() && mean:
	default:
		return nil
	}
	reads, pooled := "the encoder's first token, without the layer that the class has before its head", "states[:, 0]"
	if mean {
		reads = "the mean of all tokens of the last layer"
		pooled = "(states * mask).sum(1) / mask.sum(1)"
	}
	head := c.HeadTensors()
	reward := fmt.Sprintf("pooled @ weights[%q].T", head[0])
	if len(head) > 1 {
		reward += fmt.Sprintf(" + weights[%q]", head[1])
	}
	return map[string][]byte{cardFile: []byte(strings.NewReplacer("READS", reads, "CLASS", c.Architecture,
		"POOLED", pooled, "REWARD", reward).Replace(cardText))}
}

const cardText = `---
library_name: transformers
pipeline_tag: text-classification
tags:
- reward-model
---

# Reward model

The score head reads READS, as config.json says under ` + "`warmserve`" + `. CLASS of transformers reads another
token and gives other rewards; this gives those that the model was trained for:

` + "```python" + `
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

tokenizer, body = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()
weights = load_file(path + "/model.safetensors")
inputs = tokenizer(texts, padding=True, return_tensors="pt")
with torch.no_grad():
    states = body(**inputs).last_hidden_state
mask = inputs["attention_mask"][..., None]
pooled = POOLED
rewards = REWARD
` + "```" + `
`
