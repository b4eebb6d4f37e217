package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/disk"
	"github.com/warmserve/warmserve/trainer/bpe"
	"github.com/warmserve/warmserve/trainer/lm"
)

// tokenizerFlags is the command line of warm train tokenizer.
type tokenizerFlags struct {
	text    []string
	out     string
	vocab   int
	context int
	skipBad bool
	special bpe.Special
}

func (p *program) trainTokenizer() *cobra.Command {
	f := tokenizerFlags{special: bpe.DefaultSpecial()}
	c := &cobra.Command{
		Use:     "tokenizer --text FILE --vocab N --out DIR",
		Short:   "Learn a byte-level tokenizer from text",
		Example: `  warm train tokenizer --text book.txt.zst --vocab 4096 --out tok`,
		Args:    arguments(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			defer p.atOnce(c.Context())()
			return p.runTokenizer(f)
		},
	}
	l := c.Flags()
	l.StringSliceVar(&f.text, "text", nil,
		"`files` of plain text, or of JSON Lines with a \"text\" each (.jsonl); required")
	l.StringVar(&f.out, "out", "", "`directory` to write; required")
	l.BoolVar(&f.skipBad, "skip-bad", false,
		"leave out lines of JSON Lines that cannot be used, and say how many")
	l.IntVar(&f.vocab, "vocab", 4096, "number of tokens, special ones included")
	l.IntVar(&f.context, "context", 512, "longest sequence that the tokenizer tells of")
	l.StringVar(&f.special.BOS, "bos", f.special.BOS, "token that begins a text; empty for none")
	l.StringVar(&f.special.EOS, "eos", f.special.EOS, "token that ends a text; empty for none")
	l.StringVar(&f.special.Pad, "pad", f.special.Pad, "token that fills batches; empty for none")
	return c
}

func (p *program) runTokenizer(f tokenizerFlags) error {
	special := 0
	for _, t := range []string{f.special.BOS, f.special.EOS, f.special.Pad} {
		if t != "" {
			special++
		}
	}
	switch {
	case len(f.text) == 0:
		return usagef("train tokenizer needs --text FILE")
	case f.out == "":
		return usagef("train tokenizer needs --out DIR")
	case f.vocab < 256+special:
		return usagef("--vocab: %d, want %d at least: the bytes and the special tokens", f.vocab, 256+special)
	}
	c := bpe.NewCounter()
	if err := lm.EachText(f.text, f.skipBad,
		func(format string, args ...any) { fmt.Fprintf(p.stderr, format+"\n", args...) }, c.Add); err != nil {
		return err
	}
	merges, err := c.Train(f.vocab - special)
	if err != nil {
		return err
	}
	tokenizer, config, err := bpe.Write(merges, f.special, f.context)
	if err != nil {
		return err
	}
	file, configFile := filepath.Join(f.out, "tokenizer.json"), filepath.Join(f.out, "tokenizer_config.json")
	if before, err := os.ReadFile(file); err == nil { // training is quick and always ends in the same bytes
		if said, err := os.ReadFile(configFile); err != nil || !bytes.Equal(before, tokenizer) ||
			!bytes.Equal(said, config) {
			return fmt.Errorf("%s: %w and holds another tokenizer: name another directory", f.out,
				loader.ErrExists)
		}
		p.finishedBefore(f.out)
		return nil
	}
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return err
	}
	if err := errors.Join(disk.Write(configFile, config), disk.Write(file, tokenizer)); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "wrote %s: %d tokens\n", f.out, special+256+len(merges))
	return nil
}
