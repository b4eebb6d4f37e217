package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/warmserve/warmserve/loader/disk"
)

// holder is what a lock's file says of the process that has it.
type holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
}

// lockFile locks the file at path, which it makes, until the lock is closed or
// the process ends, however it ends. The file itself stays: were it removed,
// two processes could hold locks of two files of one name.
func lockFile(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	switch err := disk.TryLock(f); {
	case errors.Is(err, disk.ErrLocked):
		defer f.Close()
		return nil, &heldError{path, readHolder(f)}
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	host, _ := os.Hostname() // the process has an id without it
	data, err := json.Marshal(holder{os.Getpid(), host, time.Now().UTC().Truncate(time.Second)})
	if err == nil && f.Truncate(0) == nil {
		_, _ = f.WriteAt(append(data, '\n'), 0) // the lock holds on a full disk, too
	}
	return f, nil
}

func readHolder(f *os.File) string {
	var h holder
	data, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil || json.Unmarshal(data, &h) != nil || h.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d on host %.64q since %s", h.PID, h.Host, h.Since.Format(time.RFC3339))
}
