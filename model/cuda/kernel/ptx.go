package kernel

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"fmt"
	"io"
)

//go:embed ptx
var modules embed.FS

//go:embed cubin
var cubins embed.FS

// PTX returns the text of a module, which a driver compiles for its card.
func PTX(module string) ([]byte, error) {
	return modules.ReadFile("ptx/" + module + ".ptx")
}

// Cubin returns the machine code of a module for cards of a capability (90 for Hopper), where
// cubin.sh made it of the PTX that this build has. A card runs that of a lower minor capability
// as well.
func Cubin(module string, capability int) ([]byte, bool) {
	text, err := PTX(module)
	if err != nil {
		return nil, false
	}
	sum := sha256.Sum256(text)
	for c := capability; c >= capability/10*10; c-- {
		packed, err := cubins.ReadFile(fmt.Sprintf("cubin/sm_%d/%s-%x.cubin.gz", c, module, sum[:8]))
		if err != nil {
			continue
		}
		r, err := gzip.NewReader(bytes.NewReader(packed))
		if err == nil {
			packed, err = io.ReadAll(r)
		}
		if err != nil {
			panic(fmt.Sprintf("kernel: machine code of %s for sm_%d: %v", module, c, err)) // as the test of them would say
		}
		return packed, true
	}
	return nil, false
}
