package data_test

import (
	"fmt"
	"strings"

	"github.com/warmserve/warmserve/trainer/data"
)

// Preference pairs are read as other tools write them.
func ExampleReader_Pairs() {
	lines := `{"prompt": "Say hello", "chosen": "Hello!", "rejected": "No."}
{"id": "b", "chosen": "kind words", "rejected": "insults"}`
	r, err := data.NewReader(strings.NewReader(lines), data.Options{})
	if err != nil {
		panic(err)
	}
	defer r.Close()
	for p, err := range r.Pairs() {
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s: %q over %q\n", p.ID, p.Chosen.Plain, p.Rejected.Plain)
	}
	// Output:
	// 1: "Hello!" over "No."
	// b: "kind words" over "insults"
}
