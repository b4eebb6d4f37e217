//go:build !linux || !(amd64 || arm64) || nocuda

package driver

import "runtime"

// load says why this build has no cards.
func load() (*library, error) {
	reason := "it was built with the tag nocuda"
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		reason = "cards are driven on Linux on amd64 and arm64 alone, this is " + runtime.GOOS +
			" on " + runtime.GOARCH
	}
	return nil, &LibraryError{Reason: "this build of warm has no CUDA", Remedy: reason}
}

//go:uintptrescapes
func invoke(uintptr, ...uintptr) int32 { panic("cuda: a build without CUDA calls the driver") }
