package lm

import (
	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/chat"
	"github.com/warmserve/warmserve/model/tokenizer"
)

// Policy is a causal language model on disk, opened by those that sample from it
// or train it by other means than [Train].
type Policy struct {
	Config    *model.Config // of the reward model with the same backbone, as package model wants it
	Tied      bool          // the output layer is the embedding
	Source    model.Source  // the weights
	Tokenizer *tokenizer.Tokenizer
	Template  *chat.Template // nil without one
	BOS       int32          // begins a text, -1 without
	Ends      []int32        // tokens that end an answer
	// Contents are the files beside the weights, for whoever writes a changed model.
	Contents loader.Contents
	// Hash names weights and configuration.
	Hash string

	base *base
}

// Open opens the language model of a directory, or what open makes of its name when it is
// not nil. Close it when it is no longer read.
func Open(dir string, open func(dir string) (*loader.Checkpoint, error)) (*Policy, error) {
	b, err := (&Config{Base: dir, Open: open}).open()
	if err != nil {
		return nil, err
	}
	return &Policy{
		Config: b.config, Tied: b.tied, Source: b.ckpt, Tokenizer: b.tokenizer, Template: b.template,
		BOS: b.bos, Ends: b.ends, Contents: b.contents, Hash: b.hash, base: b,
	}, nil
}

// Close releases the weights' file; what was read of them stays.
func (p *Policy) Close() error { return p.base.close() }
