package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/warmserve/warmserve/loader"
)

// Fingerprint is a short name for a value: the beginning of the hash of its JSON.
func Fingerprint(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:6]), nil
}

// CheckpointHash returns the hash of a checkpoint directory. It is computed once:
// a checkpoint does not change while a lab uses it.
func (l *Lab) CheckpointHash(dir string) (string, error) {
	return l.hashOnce(dir, func() (string, error) {
		c, err := loader.Open(dir)
		if err != nil {
			return "", err
		}
		defer c.Close()
		h := c.Hash()
		if h == "" {
			return "", fmt.Errorf("%s: a file was cut short while it was read", dir)
		}
		return h, nil
	})
}

// FileHash returns the hash of a file, which is computed anew: a set may be
// written again.
func (l *Lab) FileHash(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

func (l *Lab) hashOnce(path string, compute func() (string, error)) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h, ok := l.hashes[path]; ok {
		return h, nil
	}
	h, err := compute()
	if err == nil {
		l.hashes[path] = h
	}
	return h, err
}
