package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/warmserve/warmserve/loader/disk"
)

// tree is the list of a commit's files on disk.
type tree struct {
	Version int             `json:"format_version"`
	Files   map[string]file `json:"files"`
}

const treeVersion = 1

// readTree returns the files of a commit as they were listed, nil when they were not.
func (c *Client) readTree(n Name, sha string) map[string]file {
	data, err := os.ReadFile(c.path(n, "trees", sha+".json"))
	if err != nil {
		return nil
	}
	var t tree
	if json.Unmarshal(data, &t) != nil || t.Version != treeVersion {
		return nil // of another version: it is asked for again
	}
	return t.Files
}

func (c *Client) writeTree(n Name, sha string, files map[string]file) error {
	data, err := json.MarshalIndent(tree{treeVersion, files}, "", " ")
	if err != nil {
		return err
	}
	return replace(c.path(n, "trees", sha+".json"), data)
}

// readRef returns the commit that a revision last stood at, "" when that is unknown.
func (c *Client) readRef(n Name) string {
	if commit.MatchString(n.Revision) {
		return n.Revision
	}
	data, err := os.ReadFile(c.path(n, "refs", filepath.FromSlash(n.ref())))
	if sha := strings.TrimSpace(string(data)); err == nil && commit.MatchString(sha) {
		return sha
	}
	return ""
}

func (c *Client) writeRef(n Name, sha string) error {
	if n.Revision == sha {
		return nil
	}
	return replace(c.path(n, "refs", filepath.FromSlash(n.ref())), []byte(sha))
}

// path is a place in a repository's folder.
func (c *Client) path(n Name, elem ...string) string {
	return filepath.Join(append([]string{c.Cache, n.folder()}, elem...)...)
}

// replace writes a small file as a whole or not at all.
func replace(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return disk.Write(path, data)
}

// plain are the names of files that a checkpoint may need: the hub's word is not
// trusted with paths.
var plain = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*$`)

// headFiles are score heads in files of their own, which say nothing about the
// format of the weights beside them.
var headFiles = []string{
	"value_head.safetensors", "regression_layer.safetensors", "gating_layer.safetensors",
}

// wanted chooses the files of a commit that a checkpoint is made of: weights in
// safetensors or, where there are none, in PyTorch's files; configurations,
// tokenizer and templates. What lies in folders are other forms of the same
// model, but for a sentence encoder's pooling.
func wanted(files map[string]file) []string {
	var weights, adapter bool // in safetensors
	for name := range files {
		switch {
		case !plain.MatchString(name) || path.Ext(name) != ".safetensors":
		case strings.HasPrefix(name, "adapter_model"):
			adapter = true
		default:
			weights = weights || !slices.Contains(headFiles, name)
		}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		ok := false
		switch ext := path.Ext(name); {
		case name == "1_Pooling/config.json":
			ok = true
		case !plain.MatchString(name):
		case ext == ".json":
			ok = name != "trainer_state.json" && !(weights && strings.HasSuffix(name, ".bin.index.json"))
		case ext == ".jinja", ext == ".safetensors", name == "tokenizer.model":
			ok = true
		case ext == ".pt":
			ok = name == "regression_layer.pt" || name == "gating_layer.pt"
		case ext == ".bin":
			ok = name == "value_head.bin" || !weights && strings.HasPrefix(name, "pytorch_model") ||
				!adapter && strings.HasPrefix(name, "adapter_model")
		}
		if ok {
			out = append(out, name)
		}
	}
	return out
}

// missing returns the files of a snapshot that are not in the cache.
func (c *Client) missing(n Name, sha string, files map[string]file) []string {
	return slices.DeleteFunc(wanted(files), func(name string) bool {
		_, err := os.Stat(c.path(n, "snapshots", sha, filepath.FromSlash(name)))
		return err == nil
	})
}

// cached returns a snapshot that is whole without asking the hub.
func (c *Client) cached(n Name) (Snapshot, error) {
	sha := c.readRef(n)
	if sha == "" {
		return Snapshot{}, fmt.Errorf("%w: %s has no %s", ErrOffline, c.path(n), n.ref())
	}
	s := c.snapshot(n, sha)
	switch files := c.readTree(n, sha); {
	case files != nil:
		if m := c.missing(n, sha, files); len(m) > 0 {
			return Snapshot{}, fmt.Errorf("%w: %s is incomplete, %s has not come", ErrOffline, s.Dir,
				strings.Join(m, ", "))
		}
	default: // an older huggingface_hub keeps no list
		if _, err := os.Stat(s.Dir); errors.Is(err, fs.ErrNotExist) {
			return Snapshot{}, fmt.Errorf("%w: %s", ErrOffline, s.Dir)
		} else if err != nil {
			return Snapshot{}, err
		}
	}
	return s, nil
}

func (c *Client) snapshot(n Name, sha string) Snapshot {
	return Snapshot{Name: n, Commit: sha, Dir: c.path(n, "snapshots", sha)}
}

// link gives a blob its name in a snapshot.
func (c *Client) link(n Name, sha, name, hash string) error {
	to := c.path(n, "snapshots", sha, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	up := strings.Repeat("../", 2+strings.Count(name, "/"))
	err := os.Symlink(up+"blobs/"+hash, to)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil { // a file system without symbolic links
		return os.Link(c.path(n, "blobs", hash), to)
	}
	return nil
}
