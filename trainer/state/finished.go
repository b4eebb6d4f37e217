package state

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader"
)

// ResultFile is what a finished run tells of itself, beside its weights.
const ResultFile = "training.json"

// Run is what decides a run's result, as [ResultFile] tells it of a finished one.
type Run struct {
	// Config are the settings, to be encoded as JSON. Places names those that say
	// where something lies: what lies there is compared by Models and Data.
	Config any
	Places []string
	// Models are the hashes of the checkpoints that the run reads, by the result's
	// JSON name.
	Models map[string]string
	// Data are the hashes of the files of data, by path.
	Data map[string]string
}

// HashFiles returns the hashes of files, "sha256:…".
func HashFiles(lists ...[]string) (map[string]string, error) {
	out := map[string]string{}
	for _, path := range slices.Concat(lists...) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		out[path] = "sha256:" + hex.EncodeToString(h.Sum(nil))
	}
	return out, nil
}

// Finished decodes into res what the directory of a run's result tells, when it is the
// result of this run; it returns false when there is none, and an error that names what
// differs when it is another run's.
func Finished(out string, now Run, res any) (bool, error) {
	path := filepath.Join(out, ResultFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	differs, err := now.Differences(text)
	if err == nil && len(differs) == 0 {
		err = json.Unmarshal(text, res)
	}
	switch {
	case err != nil:
		return false, fmt.Errorf("%s: %w", path, err)
	case len(differs) > 0:
		return false, fmt.Errorf("%s: %w: it holds the result of another run (%s); name another directory, or --replace it", out, loader.ErrExists, strings.Join(differs, "; "))
	}
	return true, nil
}

// Differences says what is other in a finished run that tells of itself as [ResultFile] does.
func (r Run) Differences(result []byte) ([]string, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(result, &all); err != nil {
		return nil, err
	}
	text, err := json.Marshal(r.Config)
	if err != nil {
		return nil, err
	}
	var before, now map[string]any
	var data map[string]string
	err = errors.Join(json.Unmarshal(all["config"], &before), json.Unmarshal(text, &now), json.Unmarshal(all["data"], &data))
	if err != nil {
		return nil, err
	}
	var out []string
	keys := maps.Clone(before)
	maps.Copy(keys, now)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if !slices.Contains(r.Places, k) && !reflect.DeepEqual(before[k], now[k]) {
			out = append(out, fmt.Sprintf("%s %s there and %s here", k, shown(before[k]), shown(now[k])))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(r.Models)) {
		var hash string
		if json.Unmarshal(all[k], &hash) != nil || hash != r.Models[k] {
			out = append(out, "another "+k)
		}
	}
	if !slices.Equal(slices.Sorted(maps.Values(data)), slices.Sorted(maps.Values(r.Data))) {
		out = append(out, "other data")
	}
	return out, nil
}

// shown is a setting's value, as its default when it is not told.
func shown(v any) string {
	if v == nil {
		return "the default"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

// CheckOut reports before a run what would stand against writing its result at the end. It
// is for runs that have not begun: beside are directories that the run writes, too.
func CheckOut(out string, replace bool, beside ...string) error {
	for _, dir := range append([]string{out}, beside...) {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			continue
		}
		_, model := os.Stat(filepath.Join(dir, "config.json"))
		_, adapter := os.Stat(filepath.Join(dir, "adapter_config.json"))
		switch {
		case !replace:
			return fmt.Errorf("%s: %w: name another directory, or --replace a checkpoint that is there", dir, loader.ErrExists)
		case model != nil && adapter != nil:
			return fmt.Errorf("%s: %w", dir, loader.ErrNotCheckpoint)
		}
	}
	return nil
}

// Beside are the directories of the checkpoints that a run keeps along the way.
func Beside(out string, n int) []string {
	var dirs []string
	for k := 1; k <= n; k++ {
		dirs = append(dirs, fmt.Sprintf("%s-%d", filepath.Clean(out), k))
	}
	return dirs
}
