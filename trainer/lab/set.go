package lab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"path/filepath"

	"github.com/warmserve/warmserve/loader/disk"
	"github.com/warmserve/warmserve/trainer/data"
)

func Distinct(names []string) int {
	seen := map[string]bool{}
	for _, n := range names {
		seen[n] = true
	}
	return len(seen)
}

// Test is a set as a result keeps it: what its pairs share, not their texts.
type Test struct {
	Name string `json:"name"`
	// Clusters name what a pair shares texts with; Groups, of the same length or
	// nil, what it is counted with.
	Clusters []string `json:"clusters"`
	Groups   []string `json:"groups,omitempty"`
}

func NewTest(name string, s *Set) Test { return Test{Name: name, Clusters: Shorten(s.Clusters)} }

// Shorten numbers names, so that results are small.
func Shorten(names []string) []string {
	number := map[string]string{}
	out := make([]string, len(names))
	for i, n := range names {
		if _, ok := number[n]; !ok {
			number[n] = fmt.Sprint(len(number))
		}
		out[i] = number[n]
	}
	return out
}

// Set is preference pairs, kept as a file that trainings read too.
type Set struct {
	Name  string
	Path  string // DIR/sets/NAME.jsonl
	Hash  string // of the file
	Pairs []data.Pair
	// Clusters names for each pair what it shares texts with: its group, or
	// itself when it has none.
	Clusters []string
}

// line is a pair in a set's file, in TRL's form.
type line struct {
	ID       string `json:"id"`
	Set      string `json:"set,omitempty"`
	Group    string `json:"group,omitempty"`
	Prompt   string `json:"prompt,omitempty"`
	Chosen   string `json:"chosen"`
	Rejected string `json:"rejected"`
}

// NewSet writes plain pairs to the set's file.
func (l *Lab) NewSet(name string, pairs []data.Pair) (*Set, error) {
	lines := make([]line, len(pairs))
	for i, p := range pairs {
		if p.Chosen.IsChat() || p.Prompt.IsChat() {
			return nil, fmt.Errorf("set %s: pair %s: messages, want plain text", name, p.ID)
		}
		lines[i] = line{p.ID, p.Set, p.Group, p.Prompt.Plain, p.Chosen.Plain, p.Rejected.Plain}
	}
	path, content, err := WriteLines(l, name, lines)
	if err != nil {
		return nil, err
	}
	s := &Set{Name: name, Path: path, Hash: disk.Sum(content), Pairs: pairs}
	for i, p := range pairs {
		c := p.Group
		if c == "" {
			c = fmt.Sprintf("%s/%d", p.ID, i)
		}
		s.Clusters = append(s.Clusters, c)
	}
	return s, nil
}

// WriteLines writes sets/NAME.jsonl, a value a line, unless it is there as it is to be.
func WriteLines[T any](l *Lab, name string, lines []T) (path string, content []byte, err error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, v := range lines {
		if err := enc.Encode(v); err != nil {
			return "", nil, err
		}
	}
	path = filepath.Join(l.Dir, "sets", name+".jsonl")
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, b.Bytes()) {
		return path, old, nil
	}
	return path, b.Bytes(), disk.Write(path, b.Bytes())
}

// ReadPairs reads a file of pairs below the lab's data, such as
// "ukp/strict.jsonl.zst".
func (l *Lab) ReadPairs(name string) ([]data.Pair, error) {
	r, err := l.OpenData(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return collect(r.Pairs())
}

// collect returns all that is read, or the first error.
func collect[T any](read iter.Seq2[T, error]) (out []T, err error) {
	for v, err := range read {
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// ReadVotes reads a file of votes below the lab's data.
func (l *Lab) ReadVotes(name string) ([]data.Votes, error) {
	r, err := l.OpenData(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return collect(r.Votes())
}

// OpenData opens a data file and notes its hash for the result.
func (l *Lab) OpenData(name string) (*data.Reader, error) {
	path, err := l.DataFile(name)
	if err != nil {
		return nil, err
	}
	return data.Open(path, data.Options{})
}

// DataFile returns the path of a file below the lab's data, and notes its hash for
// the result.
func (l *Lab) DataFile(name string) (string, error) {
	path := filepath.Join(l.Data, filepath.FromSlash(name))
	if _, noted := l.read[name]; !noted {
		h, err := disk.SumOf(path)
		if err != nil {
			return "", err
		}
		l.read[name] = h
	}
	return path, nil
}
