// Pack fills the folder of the embedded reward model:
//
//	go run ./cmd/warm/embedded/pack --base START --card README.md MEMBER…
//
// It is the last step of deploy/embedded/recipe.sh.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/warmserve/warmserve/cmd/warm/embedded"
)

func main() {
	base := flag.String("base", "",
		"`directory` of the causal language model that the members were fine-tuned from; required")
	card := flag.String("card", "", "`file` of the model's card; required")
	out := flag.String("out", "cmd/warm/embedded/model", "`folder` to fill; what it holds is replaced")
	flag.Parse()
	if *base == "" || *card == "" || flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "pack: want --base DIR --card FILE MEMBER…")
		os.Exit(2)
	}
	if err := pack(*out, *base, *card, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func pack(out, base, card string, members []string) error {
	text, err := os.ReadFile(card)
	if err != nil {
		return err
	}
	return embedded.Pack(out, base, members, text)
}
