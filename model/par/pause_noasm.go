//go:build noasm || !amd64

package par

// pause passes a little time; there is no instruction for it in this build.
func pause(n uint32) {
	for range 16 * n {
	}
}
