//go:build linux && (amd64 || arm64) && !nocuda

package driver

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Whoever opens a library that is not there is told of that library, whatever others
// open meanwhile on other threads.
func TestALibraryThatIsMissingIsNamed(t *testing.T) {
	var all sync.WaitGroup
	for i := range 8 * runtime.GOMAXPROCS(0) {
		all.Go(func() {
			file := fmt.Sprintf("libwarm-%d.so", i)
			for range 50 {
				_, err := open(file)
				if !assert.ErrorContains(t, err, file) {
					return
				}
			}
		})
	}
	all.Wait()
}
