package rm

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
)

// line is one line of metrics.jsonl: a step, or with step 0 the probed head. It
// holds no times, so that equal runs have equal files.
type line struct {
	Step     int      `json:"step"`
	Loss     *float64 `json:"loss,omitempty"`
	Accuracy *float64 `json:"accuracy,omitempty"`
	LR       float64  `json:"lr,omitempty"`
	Norm     float64  `json:"grad_norm,omitempty"`
	Tokens   int      `json:"tokens,omitempty"`
	Test     *Score   `json:"test,omitempty"`
}

// metrics appends to the metrics of a run.
type metrics struct {
	file *os.File
	size int64
}

const metricsFile = "metrics.jsonl"

// create opens the metrics of a run and cuts them to the size that a saved state
// knows.
func (m *metrics) create(dir string, size int64) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(dir, metricsFile), os.O_RDWR|os.O_CREATE, 0o644)
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
		_, err = f.Seek(size, 0)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	m.file, m.size = f, size
	return nil
}

func (m *metrics) add(l line) error {
	data, err := json.Marshal(l)
	if err != nil {
		return err
	}
	n, err := m.file.Write(append(data, '\n'))
	m.size += int64(n)
	return err
}

// sync makes what was added durable.
func (m *metrics) sync() error { return m.file.Sync() }

func (m *metrics) close() {
	if m.file != nil {
		m.file.Close() // what counts was synced with the state
		m.file = nil
	}
}
