package live

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmserve/warmserve/loader/disk"
)

// stateFile is where the state outlives the process. Beside it lie the state
// before, under beforeSuffix, and the lock of the process that uses it. It is
// guarded by the Changes' mutex committing.
type stateFile struct {
	path   string
	lock   io.Closer // held from the first write on, to the end
	saved  []byte    // what the file holds
	frozen error     // why the file must not be written, as it holds what could not be read; nil when it may be
}

const (
	beforeSuffix = ".before" // the state before the last change
	brokenSuffix = ".broken" // what was found in the state's place and is none
	lockSuffix   = ".lock"

	// maxState bounds a state file's bytes: thousands of models with all that
	// they can be gone back to.
	maxState = 64 << 20
)

// acquire locks the file for this process, unless it is already. A
// *heldError names the process that has it.
func (f *stateFile) acquire() error {
	if f.lock != nil {
		return nil
	}
	lock, err := lockFile(f.path + lockSuffix)
	if err != nil {
		return err
	}
	f.lock = lock
	return nil
}

// release lets another process have the file.
func (f *stateFile) release() {
	if f.lock != nil {
		_ = f.lock.Close() // nothing was written that could be lost
		f.lock = nil
	}
}

// heldError says who uses a state file.
type heldError struct{ path, holder string }

func (e *heldError) Error() string {
	return fmt.Sprintf("state file %s is in use by %s: stop that server, or give this one a state file of its own",
		strings.TrimSuffix(e.path, lockSuffix), e.holder)
}

// read returns the state in the file. One that is broken is put aside, and the
// state before is returned, or an empty one; the complaints say so. A file that
// was never a state, as of a mistaken path, is left alone: it is never written.
func (f *stateFile) read() (state, []error) {
	_ = removeLeftovers(f.path) // they are in nobody's way
	empty := state{Version: stateVersion, Models: map[string]modelState{}}
	data, read, err := readState(f.path)
	if err == nil {
		f.saved = data
		return read, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	complaints := []error{fmt.Errorf("state file %s: %w", f.path, err)}
	if data == nil || !onceState(data) {
		f.frozen = fmt.Errorf("%s is no state file that this program wrote, and is left alone: "+
			"name another, or remove it", f.path)
	} else if err := os.Rename(f.path, f.path+brokenSuffix); err != nil {
		f.frozen = fmt.Errorf("%s is broken and cannot be put aside: %w", f.path, err)
	}
	_, read, err = readState(f.path + beforeSuffix)
	switch {
	case err == nil:
		return read, append(complaints, fmt.Errorf("the state before is taken, from %s", f.path+beforeSuffix))
	case !errors.Is(err, fs.ErrNotExist):
		complaints = append(complaints, fmt.Errorf("state file %s: %w", f.path+beforeSuffix, err))
	}
	return empty, append(complaints,
		errors.New("there is no state: the models are those of the configuration"))
}

// onceState reports whether what is left of a file was a state: it begins as
// encode writes one, or is what a loss of power leaves, nothing or zeros.
func onceState(data []byte) bool {
	data = bytes.TrimLeft(bytes.Trim(data, "\x00"), "{ \t\r\n")
	return len(data) == 0 || bytes.HasPrefix(data, []byte(`"version"`))
}

// readState reads and parses one file.
func readState(path string) ([]byte, state, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, state{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxState+1))
	if err != nil {
		return nil, state{}, err
	}
	if len(data) > maxState {
		return data, state{}, fmt.Errorf("over %d bytes: no state that this program wrote", maxState)
	}
	read, err := parseState(data)
	return data, read, err
}

// write replaces the state. What it replaces is kept beside it.
func (f *stateFile) write(data []byte) error {
	if f.frozen != nil {
		return f.frozen
	}
	if err := f.acquire(); err != nil {
		return err
	}
	if f.saved != nil && !bytes.Equal(f.saved, data) {
		if err := writeFile(f.path+beforeSuffix, f.saved); err != nil {
			return err
		}
	}
	if err := writeFile(f.path, data); err != nil {
		return err
	}
	f.saved = data
	return nil
}

// writeFile replaces a file that this user alone reads.
func writeFile(path string, data []byte) error {
	return disk.Replace(path, 0o600, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

// removeLeftovers removes what a process that was killed left beside path in
// the middle of writing it, or the state before it.
func removeLeftovers(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), disk.Unfinished(path)) ||
			strings.HasPrefix(e.Name(), disk.Unfinished(path+beforeSuffix)) {
			if err := os.Remove(filepath.Join(filepath.Dir(path), e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
