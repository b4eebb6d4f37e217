package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestCommittedFilesAreCurrent regenerates everything and compares it with what
// stands in the package: the same files with the same text.
func TestCommittedFilesAreCurrent(t *testing.T) {
	dir := t.TempDir()
	if err := run(dir); err != nil {
		t.Fatal(err)
	}
	fresh, kept := files(t, dir), files(t, "..")
	if !slices.Equal(fresh, kept) {
		t.Fatalf("the generator writes %v, there are %v", fresh, kept)
	}
	for _, f := range fresh {
		t.Run(f, func(t *testing.T) {
			want, err := os.ReadFile(filepath.Join(dir, f))
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(filepath.Join("..", f))
			if err != nil {
				t.Fatal(err)
			}
			if string(want) != string(got) {
				t.Fatal("differs from what the generator writes; run go generate ./model/kernel")
			}
		})
	}
}

// files returns the generated files below dir.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"dispatch_*.go", "amd64/*_amd64.s", "amd64/*_amd64.go"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			rel, err := filepath.Rel(dir, f)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, rel)
		}
	}
	return out
}
