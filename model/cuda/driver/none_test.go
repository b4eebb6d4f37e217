package driver

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOpenWithoutACardSaysWhy(t *testing.T) {
	n, err := Count()
	if err == nil {
		t.Skipf("this machine has %d cards", n)
	}
	_, open := Open(0)
	assert.Equal(t, err, open)
	var library *LibraryError
	var none *NoCardError
	switch {
	case strings.Contains(err.Error(), "this build of warm has no CUDA: "):
		require.ErrorAs(t, err, &library)
	case strings.Contains(err.Error(), "no libcuda.so.1"):
		require.ErrorAs(t, err, &library)
		assert.ErrorContains(t, err, "NVIDIA")
	default: // a driver without cards
		assert.ErrorAs(t, err, &none)
	}
	assert.False(t, Lost(err))
}

// program is one that has the package in it.
const program = `package main

import "github.com/warmserve/warmserve/model/cuda/driver"

func main() {
	_, err := driver.Open(0)
	if err == nil {
		println("a card")
		return
	}
	println(err.Error())
}
`

func TestTheTagDecidesWhetherTheBinaryIsStatic(t *testing.T) {
	if os.Getenv("WARM_BUILDS") == "" {
		t.Skip("builds programs for four systems: set WARM_BUILDS=1")
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(source, []byte(program), 0o644))
	build := func(system, arch string, flags ...string) string {
		out := filepath.Join(dir, strings.Join(append([]string{system, arch}, flags...), "-"))
		cmd := exec.Command("go", append(append([]string{"build", "-o", out}, flags...), source)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch)
		text, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", text)
		return out
	}
	interpreter := func(file string) bool {
		f, err := elf.Open(file)
		require.NoError(t, err)
		defer f.Close()
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP {
				return true
			}
		}
		return false
	}
	for _, arch := range []string{"amd64", "arm64"} {
		assert.True(t, interpreter(build("linux", arch)), "the loader finds the driver's library")
		assert.False(t, interpreter(build("linux", arch, "-tags=nocuda")), "static")
	}
	build("darwin", "arm64")
	build("windows", "amd64")
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		return
	}
	out, err := exec.Command(build("linux", runtime.GOARCH, "-tags=nocuda")).CombinedOutput()
	require.NoError(t, err)
	assert.Equal(t, "cuda: this build of warm has no CUDA: it was built with the tag nocuda\n", string(out))
}
