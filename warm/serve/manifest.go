package serve

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmserve/warmserve/api"
)

// maxManifest bounds a manifest's bytes.
const maxManifest = 1 << 20

// manifest is what is watched: the models as the configuration has them. JSON
// is YAML, too.
type manifest struct {
	Models map[string]*api.ModelSpec `yaml:"models"`
}

// findManifest returns the manifest that path stands for: itself; or of a folder
// its manifest.yaml, manifest.yml or manifest.json; or that of the folder, or
// the file, which the folder's CURRENT names or links to.
func findManifest(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return path, err
	}
	current := filepath.Join(path, "CURRENT")
	info, err := os.Stat(current)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return inFolder(path)
	case err != nil:
		return "", err
	case info.IsDir():
		if current, err = filepath.EvalSymlinks(current); err != nil {
			return "", err
		}
		return inFolder(current)
	}
	return followCurrent(path, current)
}

// followCurrent returns the manifest that the file current names, on one line
// that ends: a line without its end may be half a name.
func followCurrent(folder, current string) (string, error) {
	f, err := os.Open(current)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", err
	}
	name, rest, ended := bytes.Cut(text, []byte("\n"))
	target := strings.TrimSpace(string(name))
	if !ended || target == "" || len(bytes.TrimSpace(rest)) > 0 {
		return "", fmt.Errorf("%s: want one line, the name of a folder or a manifest", current)
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(folder, target)
	}
	if target, err = filepath.EvalSymlinks(target); err != nil {
		return "", err
	}
	if info, err := os.Stat(target); err != nil || !info.IsDir() {
		return target, err
	}
	return inFolder(target)
}

func inFolder(folder string) (string, error) {
	for _, name := range []string{"manifest.yaml", "manifest.yml", "manifest.json"} {
		path, err := filepath.EvalSymlinks(filepath.Join(folder, name))
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("%s: no CURRENT and no manifest.yaml, manifest.yml or manifest.json", folder)
}

// parseManifest reads a manifest. Paths are relative to it, and what they link
// to now is what will be loaded, now and after a restart.
func parseManifest(file string, data []byte, sources Sources) (map[string]*api.ModelSpec, error) {
	var m manifest
	if err := ParseYAML(file, data, &m); err != nil {
		return nil, err
	}
	if len(m.Models) == 0 {
		return nil, fmt.Errorf("%s: no models", file) // an empty or cut file must not take every model away
	}
	if err := sources.Resolve(filepath.Dir(file), m.Models); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := Check(m.Models, nil); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, spec := range m.Models {
		for _, p := range spec.Paths() {
			if real, err := filepath.EvalSymlinks(*p.Path); err == nil {
				*p.Path = real
			}
		}
	}
	return m.Models, nil
}
