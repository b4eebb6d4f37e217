package kernel

import (
	"crypto/sha256"
	"embed"
	"fmt"
)

//go:embed ptx
var modules embed.FS

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
		if b, err := modules.ReadFile(fmt.Sprintf("ptx/sm_%d/%s-%x.cubin", c, module, sum[:8])); err == nil {
			return b, true
		}
	}
	return nil, false
}
