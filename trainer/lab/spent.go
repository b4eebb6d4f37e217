package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/warmserve/warmserve/loader/disk"
)

// spent adds to the time that measuring an experiment took, over all
// interruptions, and returns the sum.
func (l *Lab) spent(e *Experiment, more time.Duration) (time.Duration, error) {
	path := filepath.Join(l.Dir, "runs", e.Name+".seconds")
	var seconds float64
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return 0, err
	default:
		if err := json.Unmarshal(text, &seconds); err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
	}
	seconds += more.Seconds()
	return time.Duration(seconds * float64(time.Second)),
		disk.Write(path, []byte(fmt.Sprintf("%.3f\n", seconds)))
}

func machine() string {
	return fmt.Sprintf("%s/%s, %d processors, %s", runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0),
		runtime.Version())
}
