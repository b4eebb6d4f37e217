package state

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// MetricsFile is the name of the metrics in a run's directory and in its result.
const MetricsFile = "metrics.jsonl"

// Metrics appends to the metrics of a run. They hold no times, so that equal runs
// have equal files.
type Metrics struct {
	file *os.File
	size int64
}

// Create opens the metrics of a run, makes its directory, and cuts them to the
// size that a saved state knows.
func (m *Metrics) Create(dir string, size int64) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, MetricsFile), os.O_RDWR|os.O_CREATE, 0o644)
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

// Add appends one line.
func (m *Metrics) Add(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	n, err := m.file.Write(append(data, '\n'))
	m.size += int64(n)
	return err
}

// Sync makes what was added durable and returns the size.
func (m *Metrics) Sync() (int64, error) { return m.size, m.file.Sync() }

// Close closes the file; more than once is no harm.
func (m *Metrics) Close() {
	if m.file != nil {
		m.file.Close() // what counts was synced with the state
		m.file = nil
	}
}

// Read returns the whole file of a closed run.
func (m *Metrics) Read(dir string) ([]byte, error) {
	m.Close()
	return os.ReadFile(filepath.Join(dir, MetricsFile))
}
