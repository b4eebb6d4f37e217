package kernel

import (
	"embed"
	"fmt"
)

//go:embed ptx
var modules embed.FS

// PTX returns the text of a module, which a driver compiles for its card.
func PTX(module string) ([]byte, error) {
	return modules.ReadFile("ptx/" + module + ".ptx")
}

// Cubin returns the machine code of a module for cards of a capability (90 for Hopper),
// where the build carries it: ptx/sm_90/MODULE.cubin. A card runs that of a lower minor
// capability as well.
func Cubin(module string, capability int) ([]byte, bool) {
	for c := capability; c >= capability/10*10; c-- {
		if b, err := modules.ReadFile(fmt.Sprintf("ptx/sm_%d/%s.cubin", c, module)); err == nil {
			return b, true
		}
	}
	return nil, false
}
