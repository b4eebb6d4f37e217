package hub_test

import (
	"fmt"

	"github.com/warmserve/warmserve/loader/hub"
)

// What a command line or a configuration names is a directory, or a checkpoint elsewhere.
func ExampleParseName() {
	for _, s := range []string{"org/reward-model", "org/reward-model@v2", "s3://bucket/runs/rm-1", "runs/2026/rm-1", "./rm"} {
		n, ok := hub.ParseName(s)
		switch {
		case !ok:
			fmt.Println(s, "is a directory")
		case n.URL != "":
			fmt.Println(s, "is a folder in a bucket or on a web server")
		default:
			fmt.Printf("%s is %s at %s\n", s, n.Repo, n.Revision)
		}
	}
	// Output:
	// org/reward-model is org/reward-model at main
	// org/reward-model@v2 is org/reward-model at v2
	// s3://bucket/runs/rm-1 is a folder in a bucket or on a web server
	// runs/2026/rm-1 is a directory
	// ./rm is a directory
}
