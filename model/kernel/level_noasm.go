//go:build noasm || !amd64

package kernel

// detect finds no assembly in this build.
func detect() features { return features{level: Generic} }
