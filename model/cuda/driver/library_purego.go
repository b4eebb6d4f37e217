//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/ebitengine/purego"
)

// places are where the driver's libraries lie when the loader does not know them.
var places = map[string][]string{
	"amd64": {"/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/local/nvidia/lib64", "/usr/lib/wsl/lib",
		"/run/opengl-driver/lib"},
	"arm64": {"/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/local/nvidia/lib64", "/run/opengl-driver/lib"},
}

// open opens a library of the driver's.
func open(file string) (handle uintptr, err error) {
	// The loader keeps what went wrong by thread, and is asked for it in a call of its own.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, path := range append([]string{file}, prefixed(places[runtime.GOARCH], file)...) {
		h, e := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
		if e == nil {
			return h, nil
		}
		// That of a library that is there but cannot be opened says more.
		if err == nil || !strings.Contains(e.Error(), "No such file") {
			err = e
		}
	}
	return 0, err
}

func prefixed(dirs []string, file string) []string {
	var out []string
	for _, d := range dirs {
		out = append(out, d+"/"+file)
	}
	return out
}

// load opens libcuda.so.1 and finds its functions.
func load() (*library, error) {
	h, err := open("libcuda.so.1")
	if err != nil {
		remedy := "install NVIDIA's driver"
		if _, e := os.Stat("/dev/nvidiactl"); e == nil {
			remedy = "a card's device is there but not the driver's library; run the container with the NVIDIA " +
				"Container Toolkit (docker run --gpus all), or put the library's directory into LD_LIBRARY_PATH"
		} else if _, e := os.Stat("/.dockerenv"); e == nil {
			remedy = "run the container with the NVIDIA Container Toolkit (docker run --gpus all) on a machine with " +
				"NVIDIA's driver"
		}
		return nil, &LibraryError{Reason: fmt.Sprintf("no libcuda.so.1 (%v)", err), Remedy: remedy}
	}
	l := &library{management: loadManagement()}
	return l, l.bind(func(name string) (uintptr, error) { return purego.Dlsym(h, name) })
}

// loadManagement opens libnvidia-ml.so.1, which is optional.
func loadManagement() *management {
	h, err := open("libnvidia-ml.so.1")
	if err != nil {
		return nil
	}
	m := new(management)
	if !m.bind(func(name string) (uintptr, error) { return purego.Dlsym(h, name) }) {
		return nil
	}
	return m
}

// invoke calls a C function that returns a status.
//
//go:uintptrescapes
func invoke(fn uintptr, args ...uintptr) int32 {
	r, _, _ := purego.SyscallN(fn, args...)
	return int32(r)
}
