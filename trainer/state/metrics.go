package state

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/warmserve/warmserve/trainer/events"
)

// MetricsFile is the name of the metrics in a run's directory and in its result.
const MetricsFile = "metrics.jsonl"

// Metrics appends to the metrics of a run, a JSON value a line. They hold no times, so
// that equal runs have equal files: what does is a file of its own.
type Metrics struct {
	file   *os.File
	size   int64
	events *events.Writer // told the same; nil for none
}

// Create opens the metrics of a run, makes their directory, and cuts them to the
// size that a saved state knows.
func (m *Metrics) Create(path string, size int64) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Size() < size {
		err = errors.New(f.Name() + " is shorter than the saved state knows")
	}
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		_, err = f.Seek(size, io.SeekStart)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	m.file, m.size = f, size
	return nil
}

// tell has event files in dir told what is added, from a step on; "" is nobody.
func (m *Metrics) tell(dir string, step int) (err error) {
	if dir != "" {
		m.events, err = events.Create(dir, step)
	}
	return err
}

// Add appends one line.
func (m *Metrics) Add(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	n, err := m.file.Write(append(data, '\n'))
	m.size += int64(n)
	if err != nil || m.events == nil {
		return err
	}
	return m.addEvent(data)
}

// addEvent tells the event files a line's numbers, nested ones joined by a slash: TensorBoard
// shows those with a first part in common together.
func (m *Metrics) addEvent(line []byte) error {
	rows, err := numbers(line, "/")
	if err != nil {
		return err
	}
	values := map[string]float64{}
	for k, v := range rows[0] {
		if values[k], err = v.Float64(); err != nil {
			return err
		}
	}
	step := values["step"]
	delete(values, "step")
	return m.events.Scalars(int(step), values)
}

// Sync makes what was added durable and returns the size.
func (m *Metrics) Sync() (int64, error) { return m.size, m.file.Sync() }

// Close closes the file; more than once is no harm.
func (m *Metrics) Close() {
	if m.file != nil {
		m.file.Close() // what counts was synced with the state
		m.file = nil
	}
	if m.events != nil {
		m.events.Close() // a copy for the eye
		m.events = nil
	}
}

// Read closes the file and returns the whole of it.
func (m *Metrics) Read() ([]byte, error) {
	path := m.file.Name()
	m.Close()
	return os.ReadFile(path)
}
