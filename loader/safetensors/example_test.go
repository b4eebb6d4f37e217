package safetensors_test

import (
	"bytes"
	"fmt"
	"io"

	"github.com/warmserve/warmserve/loader/safetensors"
)

// A file is written tensor by tensor and read where it lies; one that lies about itself is refused.
func ExampleWrite() {
	var b bytes.Buffer
	specs := []safetensors.Spec{{Name: "score.weight", DType: safetensors.F32, Shape: []int{1, 2}}}
	err := safetensors.Write(&b, specs, nil, func(w io.Writer, _ safetensors.Spec) error {
		data := make([]byte, 8)
		safetensors.EncodeF32(data, []float32{0.5, -2})
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		panic(err)
	}
	f, err := safetensors.Parse(b.Bytes())
	if err != nil {
		panic(err)
	}
	fmt.Println(f.Tensors[0].Name, f.Tensors[0].DType, f.Tensors[0].Shape)
	_, err = safetensors.Parse(b.Bytes()[:b.Len()-1])
	fmt.Println(err)
	// Output:
	// score.weight F32 [1 2]
	// safetensors: tensor "score.weight": ends behind the end of the file: it ends at byte 8 of 7: the download or copy was cut short; fetch the file again
}
