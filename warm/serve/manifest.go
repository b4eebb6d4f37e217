package serve

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/loader/hub"
)

// maxManifest bounds a manifest's bytes.
const maxManifest = 1 << 20

// manifest is what is watched: the models as the configuration has them. JSON
// is YAML, too.
type manifest struct {
	Models map[string]*api.ModelSpec `yaml:"models"`
}

// findManifest returns the manifest that a path stands for: itself; or of a folder
// its manifest.yaml, manifest.yml or manifest.json; or that of the folder, or
// the file, which the folder's CURRENT names or links to.
func findManifest(at string) (string, error) {
	at, err := filepath.EvalSymlinks(at)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(at); err != nil || !info.IsDir() {
		return at, err
	}
	current := filepath.Join(at, "CURRENT")
	info, err := os.Stat(current)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return inFolder(at)
	case err != nil:
		return "", err
	case info.IsDir():
		if current, err = filepath.EvalSymlinks(current); err != nil {
			return "", err
		}
		return inFolder(current)
	}
	return followCurrent(at, current)
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
		file, err := filepath.EvalSymlinks(filepath.Join(folder, name))
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("%s: no CURRENT and no manifest.yaml, manifest.yml or manifest.json", folder)
}

// awayManifest returns the manifest at an address.
func (s Sources) awayManifest(ref string) (*hub.File, error) {
	ext := path.Ext(ref)
	if s.Hub == nil || strings.HasPrefix(ref, hub.Scheme) || ext != ".yaml" && ext != ".yml" && ext != ".json" {
		return nil, fmt.Errorf("watch: %q is no address of a manifest: want s3://, gs:// or https:// and a file .yaml, .yml or .json", ref)
	}
	f, err := s.Hub.File(ref)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	return f, nil
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
	dir := filepath.Dir(file)
	if hub.Elsewhere(file) {
		dir = strings.TrimSuffix(file, "/"+path.Base(file))
	}
	if err := sources.Resolve(dir, m.Models); err != nil {
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
