package hub

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"

	"github.com/warmserve/warmserve/loader/bucket"
)

// DefaultEndpoint is the public hub.
const DefaultEndpoint = "https://huggingface.co"

// FromEnv returns a client with the settings of the hub's own environment:
// HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE and
// their older names; and of the stores' tools, as [bucket.FromEnv] has them.
// Source: huggingface_hub constants.py.
func FromEnv(getenv func(string) string) *Client {
	first := func(names ...string) string {
		for _, n := range names {
			if v := getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	expand := func(path string) string {
		path = os.Expand(path, getenv)
		if rest, ok := strings.CutPrefix(path, "~/"); ok {
			path = filepath.Join(getenv("HOME"), rest)
		}
		return path
	}
	home := expand(first("HF_HOME"))
	if home == "" {
		cache := getenv("XDG_CACHE_HOME")
		cache = cmp.Or(cache, filepath.Join(getenv("HOME"), ".cache"))
		home = filepath.Join(expand(cache), "huggingface")
	}
	c := &Client{Endpoint: strings.TrimRight(first("HF_ENDPOINT"), "/"),
		Cache: expand(first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"))}
	c.Endpoint = cmp.Or(c.Endpoint, DefaultEndpoint)
	c.Cache = cmp.Or(c.Cache, filepath.Join(home, "hub"))
	stores := bucket.FromEnv(getenv)
	c.S3, c.GS = stores.S3, stores.GS
	switch strings.ToUpper(first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")) {
	case "1", "ON", "YES", "TRUE":
		c.Offline = true
	}
	c.Token = strings.TrimSpace(first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"))
	if c.Token == "" {
		path := expand(first("HF_TOKEN_PATH"))
		path = cmp.Or(path, filepath.Join(home, "token"))
		if data, err := os.ReadFile(path); err == nil { // without one only what is public can be had
			c.Token = strings.TrimSpace(string(data))
		}
	}
	return c
}
