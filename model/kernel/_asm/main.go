// Command asm writes the assembly of package kernel, the Go declarations that go
// with it, and the choice between it and plain Go:
//
//	go run . -out ..
//
// A generator is a function that emits one pair of files of package amd64. What it
// begins with [Asm.Begin] is called by the function of package kernel that bears its
// name, in the two files of the dispatch, so that a kernel is described in one place
// and a level in another, level.go.
//
// The generator is text substitution and loops, nothing more. A library that
// models the instruction set (avo) was tried on paper and left: it lacks the
// bfloat16 instructions, and its register allocator has nothing to decide where
// all thirty-two registers are assigned by the shape of the tile.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// generators names every pair of files, NAME_amd64.s and NAME_amd64.go.
var generators = []struct {
	name  string
	write func(*Asm)
}{
	{"act", act},
	{"actgrad", actgrad},
	{"adamw", adamw},
	{"amx", amx},
	{"bf16", bf16},
	{"norm", norm},
	{"normgrad", normgrad},
	{"pack", pack},
	{"peak", peak},
	{"quant", quant},
	{"rope", rope},
	{"sha256", sha256Blocks},
	{"softmax", softmax},
	{"tile", tiles},
	{"vector", vector},
}

func main() {
	out := flag.String("out", "..", "`directory` of package kernel")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "asm:", err)
		os.Exit(1)
	}
}

// run writes everything, after it has removed what was generated before.
func run(out string) error {
	dir := filepath.Join(out, "amd64")
	for _, pattern := range []string{"*_amd64.s", "*_amd64.go"} {
		old, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, f := range old {
			if err := os.Remove(f); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	p := &Package{}
	for _, g := range generators {
		a := &Asm{Package: p, name: g.name}
		g.write(a)
		src, decl, err := a.Files()
		if err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		if err := write(filepath.Join(dir, g.name+"_amd64.s"), src); err != nil {
			return err
		}
		if err := write(filepath.Join(dir, g.name+"_amd64.go"), decl); err != nil {
			return err
		}
	}
	with, without, err := p.Dispatch()
	if err != nil {
		return fmt.Errorf("dispatch: %w", err)
	}
	if err := write(filepath.Join(out, "dispatch_amd64.go"), with); err != nil {
		return err
	}
	return write(filepath.Join(out, "dispatch_noasm.go"), without)
}

func write(file string, text []byte) error { return os.WriteFile(file, text, 0o644) }
