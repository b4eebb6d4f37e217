package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestCommittedFilesAreCurrent regenerates everything and compares it with what
// stands in the package.
func TestCommittedFilesAreCurrent(t *testing.T) {
	dir := t.TempDir()
	if err := run(dir, ""); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Run(e.Name(), func(t *testing.T) {
			fresh, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			kept, err := os.ReadFile(filepath.Join("..", e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if string(fresh) != string(kept) {
				t.Fatal("differs from what the generator writes; run go generate ./model/kernel")
			}
		})
	}
}

func TestUnknownGeneratorIsAnError(t *testing.T) {
	if err := run(t.TempDir(), "nothing"); err == nil {
		t.Fatal("want an error")
	}
}
