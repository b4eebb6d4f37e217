package lab

import (
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/disk"
)

// SaveAs writes tensors with the small files of another checkpoint.
func SaveAs(dir string, files *loader.Checkpoint, tensors loader.Source) error {
	c := files.Contents()
	c.Source = tensors
	return loader.Save(dir, c)
}

// Stored returns the value that scores/NAME.json holds, where it fits, else the one that compute
// returns, and keeps that there.
func Stored[T any](l *Lab, name string, fits func(T) bool, compute func() (T, error)) (v T, err error) {
	path := filepath.Join(l.Dir, "scores", name+".json")
	var there T
	if text, err := os.ReadFile(path); err == nil && json.Unmarshal(text, &there) == nil && fits(there) {
		return there, nil
	}
	if v, err = compute(); err != nil {
		return v, err
	}
	text, err := json.Marshal(v)
	if err != nil {
		return v, err
	}
	return v, disk.Write(path, text)
}

// Kept returns runs/NAME-ID, ID naming all that decides what is made there, and
// whether it is there already.
func (l *Lab) Kept(name string, content ...any) (dir string, there bool, err error) {
	id, err := Fingerprint(content)
	if err != nil {
		return "", false, err
	}
	dir = filepath.Join(l.Dir, "runs", name+"-"+id)
	_, missing := os.Stat(filepath.Join(dir, "config.json"))
	return dir, missing == nil, nil
}

// KeptRun is Kept for the result of a training. In a lab with a store that is for the training to
// find: it may be in the store alone, or here alone.
func (l *Lab) KeptRun(name string, content ...any) (dir string, there bool, err error) {
	dir, there, err = l.Kept(name, content...)
	return dir, there && l.Store == nil, err
}
