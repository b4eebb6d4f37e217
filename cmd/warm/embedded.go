package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/cmd/warm/embedded"
	"github.com/warmserve/warmserve/loader"
)

// embeddedName is the name of the model that warm serve serves when none is named.
const embeddedName = "embedded"

func (p *program) embedded() *cobra.Command {
	var card bool
	c := &cobra.Command{
		Use:   "embedded DIR",
		Short: "Write the reward model that is part of this program as checkpoints",
		Long: `embedded writes the reward model that "warm serve" serves when no other is named: a
small language model (base, a Hugging Face checkpoint) and the members of the
average that were fine-tuned from it (member-1 and so on). Training and transformers
start from them.

Commands that read checkpoints take references to it in place of directories:
embedded:member-1 is a member and embedded:base the language model; embedded: alone
is all members, or the language model where one checkpoint is wanted.`,
		Example: `  warm embedded demo
  warm embedded --card
  warm score --mode both --in pairs.jsonl embedded:
  warm train rm --base embedded:base --train pairs.jsonl --lr 5e-4 --out rm-1`,
		Args: arguments(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			m := embedded.New()
			switch {
			case card && len(args) == 0:
				text, err := m.Card()
				if err != nil {
					return err
				}
				_, err = io.WriteString(p.stdout, text)
				return err
			case card || len(args) == 0:
				return usagef("embedded wants a directory to write to, or --card")
			}
			err := m.Extract(args[0])
			if errors.Is(err, embedded.ErrExists) && extracted(m, args[0]) {
				p.finishedBefore(args[0])
				return nil
			}
			if err != nil {
				return err
			}
			members, err := m.Members()
			if err != nil {
				return err
			}
			fmt.Fprintf(p.stderr, "wrote %s and %s to %s\n", embedded.Base,
				strings.Join(members, ", "), args[0])
			return nil
		},
	}
	c.Flags().BoolVar(&card, "card", false, "print the model's card and write nothing")
	return c
}

// extracted says whether dir holds all checkpoints of m already.
func extracted(m *embedded.Model, dir string) bool {
	members, err := m.Members()
	if err != nil {
		return false
	}
	same := func(name string) bool {
		want, err := m.Checkpoint(name)
		if err != nil {
			return false
		}
		defer want.Close()
		got, err := loader.Open(filepath.Join(dir, name))
		if err != nil {
			return false
		}
		defer got.Close()
		return got.Hash() == want.Hash()
	}
	return !slices.ContainsFunc(append(members, embedded.Base), func(name string) bool { return !same(name) })
}

// references replaces each reference to all embedded members by one for each of them.
func references(refs []string) ([]string, error) {
	var out []string
	for _, r := range refs {
		if r != embedded.Prefix {
			out = append(out, r)
			continue
		}
		members, err := embedded.New().Members()
		if err != nil {
			return nil, err
		}
		for _, name := range members {
			out = append(out, embedded.Prefix+name)
		}
	}
	return out, nil
}
