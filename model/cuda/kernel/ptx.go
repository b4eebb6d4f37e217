package kernel

import "embed"

//go:embed ptx
var modules embed.FS

// PTX returns the text of a module, which a driver compiles for its card.
func PTX(module string) ([]byte, error) {
	return modules.ReadFile("ptx/" + module + ".ptx")
}
