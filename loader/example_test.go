package loader_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/warmserve/warmserve/cmd/warm/embedded"
	"github.com/warmserve/warmserve/loader"
)

// A checkpoint is mapped and checked when it is opened; values are read where they are wanted.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "warm-loader-")
	must(err)
	defer os.RemoveAll(dir)
	must(embedded.New().Extract(filepath.Join(dir, "runs")))

	c, err := loader.Open(filepath.Join(dir, "runs", "member-1"))
	must(err)
	defer c.Close()
	shape, _ := c.Shape("score.weight")
	values := make([]float32, shape[1])
	must(c.ReadAt(values, "score.weight", 0))
	fmt.Println(len(c.Names()), "tensors; score.weight is", shape, c.DType("score.weight"))
	// Output:
	// 39 tensors; score.weight is [1 256] F32
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
