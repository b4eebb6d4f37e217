package main

import (
	"bytes"
	"testing"
)

// TestEveryKernelPrefersTheBetterLevel says that the order of the functions in a
// generator means nothing: the dispatch asks for the levels in their own order.
func TestEveryKernelPrefersTheBetterLevel(t *testing.T) {
	p := &Package{}
	a := &Asm{Package: p}
	k := Kernel{Name: "double", Doc: "doubles x.", Params: "x []float32", Args: []Arg{"x *float32", "n int = len(x)"}}
	a.Begin(k, "AVX2", 0)
	a.Begin(k, "AVX512", 0)
	with, without, err := p.Dispatch()
	if err != nil {
		t.Fatal(err)
	}
	want := `
	case active.level >= AVX512:
		amd64.DoubleAVX512(&x[0], len(x))
	case active.level >= AVX2:
		amd64.DoubleAVX2(&x[0], len(x))
	default:
		doubleGeneric(x)
	}`
	if !bytes.Contains(with, []byte(want)) {
		t.Errorf("want%s\nin\n%s", want, with)
	}
	if want := "func double(x []float32) {\n\tdoubleGeneric(x)\n}\n"; !bytes.Contains(without, []byte(want)) {
		t.Errorf("want\n%s\nin\n%s", want, without)
	}
}
