package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

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
	l.mu.Lock()
	defer l.mu.Unlock()
	if h, ok := l.hashes[dir]; ok {
		return h, nil
	}
	c, err := loader.Open(dir)
	if err != nil {
		return "", err
	}
	defer c.Close()
	h := c.Hash()
	if h == "" {
		return "", fmt.Errorf("%s: a file was cut short while it was read", dir)
	}
	l.hashes[dir] = h
	return h, nil
}
