package safetensors

// DType is an element type as the header spells it.
type DType string

// The element types that are read as float32.
const (
	F64  DType = "F64"
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
)

// dtypeBits is every element type of the format with its width in bits.
var dtypeBits = map[DType]int{
	F64: 64, F32: 32, F16: 16, BF16: 16,
	"I64": 64, "I32": 32, "I16": 16, "I8": 8,
	"U64": 64, "U32": 32, "U16": 16, "U8": 8,
	"BOOL": 8, "C64": 64,
	"F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
	"F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}

// Bits returns the width of one element, or 0 for an unknown type.
func (d DType) Bits() int { return dtypeBits[d] }

// Float reports whether elements of this type can be read as float32.
func (d DType) Float() bool { return d == F32 || d == BF16 || d == F16 || d == F64 }
