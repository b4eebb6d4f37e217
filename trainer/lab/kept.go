package lab

import (
	"os"
	"path/filepath"

	"github.com/warmserve/warmserve/loader"
)

// SaveAs writes tensors with the small files of another checkpoint.
func SaveAs(dir string, files *loader.Checkpoint, tensors loader.Source) error {
	c := files.Contents()
	c.Source = tensors
	return loader.Save(dir, c)
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
