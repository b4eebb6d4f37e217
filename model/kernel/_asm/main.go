// Command asm writes the assembly of package kernel, and the Go declarations
// that go with it. Each generator is a function that emits one pair of files:
//
//	go run . -out ..             # all
//	go run . -out .. -only gemm  # gemm_amd64.s and gemm_amd64.go
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
	"slices"
)

// generators names every pair of files. The function writes its text into an
// Asm; the pair is called NAME_amd64.s and NAME_amd64.go.
var generators = map[string]func(*Asm){
	"gemm":       gemm,
	"peak":       peak,
	"quant":      quant,
	"tilecompat": tilecompat,

	"act":     act,
	"learn":   learn,
	"norm":    norm,
	"rope":    rope,
	"rows":    rows,
	"slope":   slope,
	"softmax": softmax,
}

func main() {
	out := flag.String("out", "..", "`directory` to write into")
	only := flag.String("only", "", "write only the files of this `name`")
	flag.Parse()
	if err := run(*out, *only); err != nil {
		fmt.Fprintln(os.Stderr, "asm:", err)
		os.Exit(1)
	}
}

func run(out, only string) error {
	names := []string{only}
	if only == "" {
		names = names[:0]
		for name := range generators {
			names = append(names, name)
		}
		slices.Sort(names)
	}
	for _, name := range names {
		g, ok := generators[name]
		if !ok {
			return fmt.Errorf("no generator %q", name)
		}
		a := &Asm{name: name}
		g(a)
		src, decl, err := a.Files()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(out, name+"_amd64.s"), src, 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, name+"_amd64.go"), decl, 0o644); err != nil {
			return err
		}
	}
	return nil
}
