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
	expand := func(path string) string {
		path = os.Expand(path, getenv)
		if rest, ok := strings.CutPrefix(path, "~/"); ok {
			path = filepath.Join(getenv("HOME"), rest)
		}
		return path
	}
	caches := expand(cmp.Or(getenv("XDG_CACHE_HOME"), filepath.Join(getenv("HOME"), ".cache")))
	home := cmp.Or(expand(getenv("HF_HOME")), filepath.Join(caches, "huggingface"))
	c := &Client{
		Endpoint: cmp.Or(strings.TrimRight(getenv("HF_ENDPOINT"), "/"), DefaultEndpoint),
		Cache:    cmp.Or(expand(cmp.Or(getenv("HF_HUB_CACHE"), getenv("HUGGINGFACE_HUB_CACHE"))), filepath.Join(home, "hub")),
		Token:    strings.TrimSpace(cmp.Or(getenv("HF_TOKEN"), getenv("HUGGING_FACE_HUB_TOKEN"))),
	}
	stores := bucket.FromEnv(getenv)
	c.S3, c.GS = stores.S3, stores.GS
	switch strings.ToUpper(cmp.Or(getenv("HF_HUB_OFFLINE"), getenv("TRANSFORMERS_OFFLINE"))) {
	case "1", "ON", "YES", "TRUE":
		c.Offline = true
	}
	if c.Token == "" {
		path := cmp.Or(expand(getenv("HF_TOKEN_PATH")), filepath.Join(home, "token"))
		if data, err := os.ReadFile(path); err == nil { // without one only what is public can be had
			c.Token = strings.TrimSpace(string(data))
		}
	}
	return c
}
