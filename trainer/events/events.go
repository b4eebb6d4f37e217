package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of the messages.
const (
	eventWallTime    = 1 // double, in seconds since 1970
	eventStep        = 2 // int64
	eventFileVersion = 3 // string
	eventSummary     = 5 // Summary
	eventSessionLog  = 7 // SessionLog

	sessionStatus = 1 // enum
	sessionStart  = 1 // of that enum

	summaryValue     = 1 // Value
	valueTag         = 1 // string
	valueSimpleValue = 2 // float
)

// fileVersion says that a restart is told by a SessionLog.
const fileVersion = "brain.Event:2"

// Writer appends to an event file of its own. Each call reaches the file before it returns,
// so that TensorBoard sees it at once. It is not safe for concurrent use.
type Writer struct {
	file *os.File
	now  func() time.Time
}

// Create begins an event file in dir, which it makes. What earlier files of dir say of step
// and later ones is void: a run that goes on from a saved state makes those steps again.
func Create(dir string, step int) (*Writer, error) { return create(dir, step, time.Now) }

func create(dir string, step int, now func() time.Time) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	// TensorBoard reads the files of a directory in the order of their names.
	at := now()
	name := fmt.Sprintf("events.out.tfevents.%010d.%09d.%s.%d", at.Unix(), at.Nanosecond(), host, os.Getpid())
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	w := &Writer{f, now}
	version := protowire.AppendTag(nil, eventFileVersion, protowire.BytesType)
	version = protowire.AppendString(version, fileVersion)
	status := protowire.AppendTag(nil, sessionStatus, protowire.VarintType)
	status = protowire.AppendVarint(status, sessionStart)
	session := protowire.AppendTag(nil, eventSessionLog, protowire.BytesType)
	session = protowire.AppendBytes(session, status)
	if err := errors.Join(w.event(0, version), w.event(step, session)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return w, nil
}

// Scalars appends the values of a step by their tags, rounded to float32.
func (w *Writer) Scalars(step int, values map[string]float64) error {
	var summary []byte
	for _, tag := range slices.Sorted(maps.Keys(values)) {
		value := protowire.AppendTag(nil, valueTag, protowire.BytesType)
		value = protowire.AppendString(value, tag)
		value = protowire.AppendTag(value, valueSimpleValue, protowire.Fixed32Type)
		value = protowire.AppendFixed32(value, math.Float32bits(float32(values[tag])))
		summary = protowire.AppendTag(summary, summaryValue, protowire.BytesType)
		summary = protowire.AppendBytes(summary, value)
	}
	what := protowire.AppendTag(nil, eventSummary, protowire.BytesType)
	return w.event(step, protowire.AppendBytes(what, summary))
}

// event appends an Event that says what.
func (w *Writer) event(step int, what []byte) error {
	seconds := float64(w.now().UnixNano()) / 1e9
	e := protowire.AppendTag(nil, eventWallTime, protowire.Fixed64Type)
	e = protowire.AppendFixed64(e, math.Float64bits(seconds))
	e = protowire.AppendTag(e, eventStep, protowire.VarintType)
	e = protowire.AppendVarint(e, uint64(step))
	_, err := w.file.Write(record(append(e, what...)))
	return err
}

// Close closes the file.
func (w *Writer) Close() error { return w.file.Close() }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is the CRC-32C of data, rotated and shifted: a plain one of data that holds such sums
// would be a poor check.
func masked(data []byte) uint32 {
	crc := crc32.Checksum(data, castagnoli)
	return (crc>>15 | crc<<17) + 0xa282ead8
}

// record frames data: its length, the length's sum, data, and the sum of data.
func record(data []byte) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	out = binary.LittleEndian.AppendUint32(out, masked(out))
	out = append(out, data...)
	return binary.LittleEndian.AppendUint32(out, masked(data))
}
