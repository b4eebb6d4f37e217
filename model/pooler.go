package model

import (
	"encoding/json"
	"errors"
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
	return new(nn.NewLinear(c.Hidden, bias, c.Hidden))
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

// What the head of a body reads, as a user says it.
const (
	basePooler = "pooler" // what an encoder's class reads: for most the first token, through a layer of its own
	baseFirst  = "first"  // an encoder's first token, as the encoder leaves it
	baseMean   = "mean"   // the mean of all tokens, as the body leaves them
	baseLast   = "last"   // a decoder's last token
)

// BasePoolings are what [ResolveBase] takes for pooling, for people.
const BasePoolings = "pooler, first or mean of an encoder, last or mean of a decoder"

// ParseBasePooling reports a pooling that no body has; "" is the checkpoint's own.
func ParseBasePooling(s string) error {
	if slices.Contains([]string{"", basePooler, baseFirst, baseMean, baseLast}, s) {
		return nil
	}
	return fmt.Errorf("pooling: %q, want %s", s, BasePoolings)
}

// basePooling is what the head of a body reads: what a user says, else the 1_Pooling of
// sentence-transformers. told is false where that is the class's own way.
func basePooling(sentences []byte, said string, encoder bool) (read Pooling, told bool, err error) {
	switch {
	case said == "" && sentences == nil:
		return "", false, nil
	case said == "":
		if read, err = sentencePooling(sentences); err != nil {
			return "", false, err
		}
		if (read == PoolFirst) != encoder && read != PoolMean {
			err = errors.New("1_Pooling/config.json: embeddings of the first token of a decoder, or the last of an encoder, are not supported")
		}
		return read, true, err
	case said == baseMean:
		return PoolMean, true, nil
	case encoder && said == baseFirst:
		return PoolFirst, true, nil
	case encoder && said == basePooler, !encoder && said == baseLast:
		return "", false, nil
	}
	kind := "a decoder"
	if encoder {
		kind = "an encoder"
	}
	return "", false, fmt.Errorf("pooling: %q is not for %s, want %s", said, kind, BasePoolings)
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
