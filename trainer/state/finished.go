package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/disk"
)

// ResultFile is what a finished run tells of itself, beside its weights.
const ResultFile = "training.json"

// Origin is what decides a run's result, as [ResultFile] tells it of a finished one.
type Origin struct {
	// Config are the settings, to be encoded as JSON. Places names those that say
	// where something lies: what lies there is compared by Models and Files.
	Config any
	Places []string
	// Models are the hashes of the checkpoints that the run reads, by the result's
	// JSON name.
	Models map[string]string
	// Files are the files of data.
	Files []string
}

// Identity is the hash of all that decides a run's result, wherever that lies: the settings, with the
// hashes of the data in the place of its names, the models and further bytes.
func (o Origin) Identity(data map[string]string, more ...[]byte) (string, error) {
	text, err := json.Marshal(o.Config)
	if err != nil {
		return "", err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber() // as it was written, to the last digit
	var settings map[string]any
	if err := dec.Decode(&settings); err != nil {
		return "", err
	}
	for _, k := range o.Places {
		files, _ := settings[k].([]any) // else a checkpoint, which Models name
		for i, path := range files {
			files[i] = data[fmt.Sprint(path)]
		}
		settings[k] = files
	}
	return Hash([]any{settings, o.Models}, more...)
}

// hashes returns the hashes of files, "sha256:…", each as often as the paths that name it.
func hashes(paths []string) (map[string]string, error) {
	out := map[string]string{}
	for _, path := range paths {
		var err error
		if out[path], err = disk.SumOf(path); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// finished decodes into result what the directory of the run's result tells, when an earlier call wrote it,
// perhaps without removing its state. It returns false when there is none, and an error that names what
// differs when it is another run's.
func (r *Run) finished(result any) (bool, error) {
	path := filepath.Join(r.Out, ResultFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	differs, err := r.trainer.Origin().Differences(text)
	if err == nil && len(differs) == 0 {
		err = json.Unmarshal(text, result)
	}
	switch {
	case err != nil:
		return false, fmt.Errorf("%s: %w", path, err)
	case len(differs) == 0:
		return true, os.RemoveAll(r.dir())
	case r.Replace:
		return false, nil
	}
	return false, fmt.Errorf("%s: %w: it holds the result of another run (%s); name another directory, or --replace it",
		r.Out, loader.ErrExists, strings.Join(differs, "; "))
}

// Differences says what is other in a finished run that tells of itself as [ResultFile] does.
func (o Origin) Differences(result []byte) ([]string, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(result, &all); err != nil {
		return nil, err
	}
	text, err := json.Marshal(o.Config)
	if err != nil {
		return nil, err
	}
	var before, now map[string]any
	var data map[string]string
	err = errors.Join(json.Unmarshal(all["config"], &before), json.Unmarshal(text, &now),
		json.Unmarshal(all["data"], &data))
	if err != nil {
		return nil, err
	}
	var out []string
	keys := maps.Clone(before)
	maps.Copy(keys, now)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if !slices.Contains(o.Places, k) && !reflect.DeepEqual(before[k], now[k]) {
			out = append(out, fmt.Sprintf("%s %s there and %s here", k, shown(before[k]), shown(now[k])))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(o.Models)) {
		var hash string
		if json.Unmarshal(all[k], &hash) != nil || hash != o.Models[k] {
			out = append(out, "another "+k)
		}
	}
	files, err := hashes(o.Files)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(slices.Sorted(maps.Values(data)), slices.Sorted(maps.Values(files))) {
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

// checkOut reports before a run what would stand against writing its result at the end. It
// is for runs that have not begun.
func (r *Run) checkOut() error {
	for _, dir := range r.results() {
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
		case !r.Replace:
			return fmt.Errorf("%s: %w: name another directory, or --replace a checkpoint that is there", dir,
				loader.ErrExists)
		case model != nil && adapter != nil:
			return fmt.Errorf("%s: %w", dir, loader.ErrNotCheckpoint)
		}
	}
	return nil
}
