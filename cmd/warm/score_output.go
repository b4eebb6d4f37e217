package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/warmserve/warmserve/loader/disk"
	"github.com/warmserve/warmserve/trainer/data"
	"github.com/warmserve/warmserve/trainer/state"
	"github.com/warmserve/warmserve/warm/reward"
)

// outputPlace is where warm score writes.
type outputPlace struct {
	path string // of the file that is replaced at the end; "" for a stream
	flow string // a file that cannot be replaced, such as a pipe
	mode fs.FileMode
}

// findOutput looks at what --out names before anything is done. It must not be the input.
func findOutput(out string, in *os.File) (outputPlace, error) {
	if out == "-" {
		return outputPlace{}, nil
	}
	info, err := os.Stat(out)
	if errors.Is(err, fs.ErrNotExist) {
		if link, err := os.Readlink(out); err == nil {
			return outputPlace{}, fmt.Errorf("--out: %s is a link to %s, which is not there", out, link)
		}
		if dir, err := os.Stat(filepath.Dir(out)); err != nil || !dir.IsDir() {
			return outputPlace{}, errors.Join(fmt.Errorf("--out: %s is no directory", filepath.Dir(out)), err)
		}
		return outputPlace{path: out, mode: 0o644}, nil
	}
	switch {
	case err != nil:
		return outputPlace{}, err
	case info.IsDir():
		return outputPlace{}, usagef("--out: %s is a directory", out)
	case !info.Mode().IsRegular():
		return outputPlace{flow: out}, nil
	}
	if in != nil {
		if i, err := in.Stat(); err == nil && os.SameFile(i, info) {
			return outputPlace{}, usagef("--out: %s is the input: name another file", out)
		}
	}
	real, err := filepath.EvalSymlinks(out) // a link stays one
	return outputPlace{path: real, mode: info.Mode().Perm()}, err
}

// scoreState says how far the rows of a file go. It is kept beside them.
type scoreState struct {
	Run     string     `json:"run"`     // hash of members and settings
	Records int        `json:"records"` // that were read, bad ones included
	Input   string     `json:"input"`   // hash of those
	Bytes   int64      `json:"bytes"`   // of their rows
	Bad     int        `json:"bad"`
	First   []badPlace `json:"first_bad,omitempty"`
}

// badPlace is a record that was left out.
type badPlace struct {
	data.Place
	Reason string `json:"reason"`
}

// scoreOutput is what warm score writes: a stream, or a file that takes its place at the
// end. Its state is that of what is written, when an earlier run has left any.
type scoreOutput struct {
	scoreState
	place outputPlace
	part  string // the file that is written; "" for a stream
	file  *os.File
	w     *bufio.Writer
	size  int64
	hash  hash.Hash // of the records read
	seen  int       // records in hash
}

// open opens the output, and takes up the rows that an earlier run has left.
func (s *scoring) open(place outputPlace, stdout io.Writer) (*scoreOutput, error) {
	o := &scoreOutput{place: place, hash: sha256.New()}
	var err error
	switch {
	case place.flow != "":
		if o.file, err = os.OpenFile(place.flow, os.O_WRONLY, 0); err != nil {
			return nil, err
		}
		stdout = o.file
	case place.path != "":
		o.part = place.path + ".part"
		if err := o.take(s); err != nil {
			return nil, errors.Join(err, o.close())
		}
		stdout = o.file
	}
	o.w = bufio.NewWriterSize(stdout, 1<<16)
	return o, nil
}

// identity hashes what decides the rows of a record.
func (s *scoring) identity() (string, error) {
	f := &s.flags
	settings := []any{s.model.Revision, s.model.Mode, f.model.MaxTokens, f.aggregate, f.lambda, f.truncate}
	if s.want != (reward.Want{}) {
		settings = append(settings, s.want)
	}
	return state.Hash(settings)
}

func (o *scoreOutput) stateFile() string { return o.part + ".json" }

// take reads the state and rows of an earlier run, if there are any, and opens the file behind them.
func (o *scoreOutput) take(s *scoring) error {
	run, err := s.identity()
	if err != nil {
		return err
	}
	if o.file, err = os.OpenFile(o.part, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if err := disk.TryLock(o.file); err != nil {
		return fmt.Errorf("%s: %w", o.part, err)
	}
	text, err := os.ReadFile(o.stateFile())
	if err == nil {
		if err = json.Unmarshal(text, &o.scoreState); err != nil {
			return fmt.Errorf("%s: %w", o.stateFile(), err)
		}
	}
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case err == nil && o.Run != run:
		return fmt.Errorf("%s holds rewards of other members or settings: give those again to go on, or remove it to begin anew", o.part)
	case o.Bad > 0 && !s.flags.skipBad:
		return fmt.Errorf("%s leaves out %d records that cannot be scored: give --skip-bad again to go on, or remove it to begin anew", o.part, o.Bad)
	}
	o.Run = run
	info, err := o.file.Stat()
	if err == nil && info.Size() < o.Bytes {
		err = fmt.Errorf("%s is shorter than %s says: remove both to begin anew", o.part, o.stateFile())
	}
	if err == nil {
		err = o.file.Truncate(o.Bytes)
	}
	if err == nil {
		err = s.restore(io.NewSectionReader(o.file, 0, o.Bytes))
	}
	if err == nil {
		o.size, err = o.file.Seek(0, io.SeekEnd)
	}
	s.bad.Lines, s.bad.Count = o.Records, o.Bad
	for _, b := range o.First {
		s.bad.First = append(s.bad.First, &data.Error{Place: b.Place, Err: errors.New(b.Reason)})
	}
	return err
}

// restore reads the rows that were written, for what is said of all at the end.
func (s *scoring) restore(rows io.Reader) error {
	d := json.NewDecoder(rows)
	for {
		var r scoredRow
		err := d.Decode(&r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		s.count([]scoredRow{r})
		if r.Chosen == nil {
			continue
		}
		for _, a := range r.all() {
			for i, m := range s.model.Members() {
				if s.model.Member(i) != nil {
					a.members = append(a.members, a.Members[m.Name])
				}
			}
		}
		s.pairs = append(s.pairs, pairRewards{r.Chosen, r.Rejected})
	}
}

// read notes a record as read.
func (o *scoreOutput) read(r data.Record) {
	fmt.Fprintf(o.hash, "%d %d %s\n", r.At.Line, len(r.JSON), r.JSON)
	o.seen++
}

// again notes a record that an earlier run has read, the n-th, and compares with that run
// behind the last.
func (o *scoreOutput) again(n int, r data.Record) error {
	o.read(r)
	if n == o.Records && o.sum() != o.Input {
		return o.other("its first records are others")
	}
	return nil
}

func (o *scoreOutput) other(how string) error {
	return fmt.Errorf("%s holds the rewards of another input: %s; give that again to go on, or remove it to begin anew", o.part, how)
}

// sum is the hash of what was read so far.
func (o *scoreOutput) sum() string { return "sha256:" + hex.EncodeToString(o.hash.Sum(nil)) }

// write writes the rows of all records that were read, and that they are written.
func (o *scoreOutput) write(rows []scoredRow, bad *data.Bad) error {
	for _, r := range rows {
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		n, err := o.w.Write(append(line, '\n'))
		o.size += int64(n)
		if err != nil {
			return err
		}
	}
	if err := o.w.Flush(); err != nil {
		return err
	}
	o.Records = o.seen
	if o.part == "" {
		return nil
	}
	o.Input, o.Bytes, o.Bad, o.First = o.sum(), o.size, bad.Count, nil
	for _, err := range bad.First {
		if e, ok := errors.AsType[*data.Error](err); ok {
			o.First = append(o.First, badPlace{e.Place, e.Err.Error()})
		}
	}
	text, err := json.Marshal(o.scoreState)
	if err != nil {
		return err
	}
	next := o.stateFile() + ".new"
	return errors.Join(os.WriteFile(next, text, 0o644), os.Rename(next, o.stateFile()))
}

// finish puts the file in its place.
func (o *scoreOutput) finish() error {
	if o.part == "" {
		return o.close()
	}
	err := errors.Join(o.file.Chmod(o.place.mode), o.file.Sync())
	if err = errors.Join(err, o.close()); err != nil {
		return err
	}
	if err := os.Rename(o.part, o.place.path); err != nil {
		return err
	}
	return os.Remove(o.stateFile())
}

// close closes what is open; more than once is no harm.
func (o *scoreOutput) close() error {
	f := o.file
	if o.file = nil; f == nil {
		return nil
	}
	return f.Close()
}

// explain adds to an error where the rows are that were written before it.
func (o *scoreOutput) explain(err error) error {
	what := "of the records before are written"
	if o.part != "" {
		what = fmt.Sprintf("of %d records are in %s; the same command goes on behind them", o.Records, o.part)
	}
	if isInterruption(err) {
		return interrupted("interrupted: the rewards " + what)
	}
	if o.part != "" && o.Records > 0 && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w\nthe rewards %s", err, what)
	}
	return err
}

// interrupted is the error of a command that a signal ended, and says where to go on.
type interrupted string

func (e interrupted) Error() string { return string(e) }

// Is makes it an interruption to who asks.
func (e interrupted) Is(target error) bool { return target == state.ErrInterrupted }
