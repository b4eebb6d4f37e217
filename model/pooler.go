package model

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader/jsonerr"
	"github.com/warmserve/warmserve/model/nn"
)

// pooler returns the layer between an encoder and its head, nil where the head reads the encoder's
// own output.
func (c *Config) pooler(bias bool) *nn.Linear {
	if c.NoPooler {
		return nil
	}
	return ptr(nn.NewLinear(c.Hidden, bias, c.Hidden))
}

// pooled applies such a layer.
func pooled(p *nn.Program, l *nn.Linear, x nn.Value, act nn.Activation) nn.Value {
	if l == nil {
		return x
	}
	return p.Activated(l, x, act)
}

// rawOwn is what this project's trainer adds to config.json about the network, and what users set there.
type rawOwn struct {
	Pooling string `json:"pooling"`
	Pooler  *bool  `json:"pooler"` // false: NoPooler
	Head    string `json:"head"`   // as in Settings
	Output  string `json:"output"`
}

// own reads what the trainer added.
func (c *Config) own(raw *rawConfig, a architecture) {
	c.NoPooler = a.encoder && !or(raw.Own.Pooler, true)
	c.Mean = c.NoPooler && Pooling(raw.Own.Pooling) == PoolMean
}

// sentencePooling reads the 1_Pooling/config.json of sentence-transformers: which tokens make a
// text's embedding. It is "" for the last token, which the head of a decoder reads anyway.
func sentencePooling(data []byte) (Pooling, error) {
	const file = "1_Pooling/config.json"
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return "", fmt.Errorf("%s: %w", file, jsonerr.WrongType(err))
	}
	var modes []string
	for key, value := range keys {
		if mode, ok := strings.CutPrefix(key, "pooling_mode_"); ok && string(value) == "true" {
			modes = append(modes, strings.TrimSuffix(strings.TrimSuffix(mode, "_tokens"), "_token"))
		}
	}
	var one string // as files since version 5 have it
	if json.Unmarshal(keys["pooling_mode"], &one) == nil && one != "" {
		modes = []string{one}
	}
	slices.Sort(modes)
	switch mode := strings.Join(modes, " and "); mode {
	case "mean":
		return PoolMean, nil
	case "cls":
		return PoolFirst, nil
	case "lasttoken":
		return "", nil
	default:
		return "", fmt.Errorf("%s: embeddings of %q are not supported, want mean, cls or lasttoken: remove the file to have the model's own way", file, mode)
	}
}
