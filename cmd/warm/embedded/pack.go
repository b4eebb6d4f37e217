package embedded

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/warmserve/warmserve/loader"
	"github.com/warmserve/warmserve/loader/safetensors"
	"github.com/warmserve/warmserve/warm"
)

// ErrInexact is returned by Pack when a packed checkpoint would not be the one that was trained.
var ErrInexact = errors.New("packing would change values")

// The files of an adapter's directory, as PEFT names them.
const (
	adapterConfig  = "adapter_config.json"
	adapterWeights = "adapter_model.safetensors"
)

// Pack fills the folder out with a base in bfloat16, adapters over it and a card, replacing what is there. The adapters
// must have been trained over exactly these weights: every value of every member is compared with the checkpoint
// that was given, and [ErrInexact] names the first tensor that differs. Equal checkpoints give equal bytes.
func Pack(out, base string, adapters []string, card []byte) (err error) {
	if len(adapters) == 0 || len(adapters) > 9 {
		return fmt.Errorf("embedded: pack: %d adapters, want 1 to 9", len(adapters))
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("embedded: pack: %w", err)
		}
	}()
	temp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(out)), ".pack-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := packBase(filepath.Join(temp, Base), base); err != nil {
		return fmt.Errorf("%s: %w", base, err)
	}
	for i, dir := range adapters {
		if err := packAdapter(filepath.Join(temp, fmt.Sprintf("%s%d", memberPrefix, i+1)), dir); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
	}
	if err := os.WriteFile(filepath.Join(temp, cardFile), card, 0o644); err != nil {
		return err
	}
	m := newModel(os.DirFS(temp))
	for i, dir := range append([]string{base}, adapters...) {
		name := Base
		if i > 0 {
			name = fmt.Sprintf("%s%d", memberPrefix, i)
		}
		if err := m.verify(name, dir); err != nil {
			return err
		}
	}
	if err := writeDigest(filepath.Join(temp, digestFile), adapters); err != nil {
		return err
	}
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	return os.Rename(temp, out)
}

// packBase writes a checkpoint in bfloat16, compressed.
func packBase(out, dir string) error {
	c, err := loader.Open(dir)
	if err != nil {
		return err
	}
	defer c.Close()
	o := contents(c)
	o.DType = "BF16"
	if err := loader.Save(out, o); err != nil {
		return err
	}
	entries, err := os.ReadDir(out)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".safetensors") || name == "tokenizer.json" {
			path := filepath.Join(out, name)
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if err := errors.Join(writeCompressed(path, b), os.Remove(path)); err != nil {
				return err
			}
		}
	}
	return nil
}

// packAdapter writes an adapter over ../base, compressed.
func packAdapter(out, dir string) error {
	if err := os.Mkdir(out, 0o755); err != nil {
		return err
	}
	config, err := os.ReadFile(filepath.Join(dir, adapterConfig))
	if err != nil {
		return err
	}
	config, err = loader.EditObject(config, map[string]json.RawMessage{"base_model_name_or_path": json.RawMessage(`"../` + Base + `"`)})
	if err != nil {
		return fmt.Errorf("%s: %w", adapterConfig, err)
	}
	if err := os.WriteFile(filepath.Join(out, adapterConfig), config, 0o644); err != nil {
		return err
	}
	weights, err := os.ReadFile(filepath.Join(dir, adapterWeights))
	if err != nil {
		return err
	}
	return writeCompressed(filepath.Join(out, adapterWeights), weights)
}

func writeCompressed(path string, b []byte) error {
	// One goroutine, so that the bytes do not depend on the number of processors.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	defer e.Close()
	return os.WriteFile(path+compressed, e.EncodeAll(b, nil), 0o644)
}

// verify compares a packed checkpoint with the one it was made of.
func (m *Model) verify(name, dir string) (err error) {
	got, err := m.Checkpoint(name)
	if err != nil {
		return err
	}
	defer got.Close()
	want, err := loader.Open(dir)
	if err != nil {
		return err
	}
	defer want.Close()
	if !slices.Equal(got.Names(), want.Names()) {
		return fmt.Errorf("%s: %w: its tensors are not those of %s", name, ErrInexact, dir)
	}
	for _, tensor := range want.Names() {
		n := 1
		shape, _ := want.Shape(tensor)
		other, _ := got.Shape(tensor)
		if !slices.Equal(shape, other) {
			return fmt.Errorf("%s: %w: %s has shape %v, in %s it has %v", name, ErrInexact, tensor, other, dir, shape)
		}
		for _, d := range shape {
			n *= d
		}
		x, y := make([]float32, n), make([]float32, n)
		if err := errors.Join(got.ReadAt(x, tensor, 0), want.ReadAt(y, tensor, 0)); err != nil {
			return err
		}
		for i := range x {
			if math.Float32bits(x[i]) != math.Float32bits(y[i]) {
				return fmt.Errorf("%s: %w: %s[%d] is %v, in %s it is %v; train the adapters over the base as it is stored in bfloat16", name, ErrInexact, tensor, i, x[i], dir, y[i])
			}
		}
	}
	return nil
}

// digestFile holds the digest of the members' average, by which a test sees that programs and machines agree on it.
const digestFile = "average.sha256"

// writeDigest writes the digest of the average of checkpoints.
func writeDigest(path string, dirs []string) error {
	sum, err := Digest(dirs)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(sum+"\n"), 0o644)
}

// Digest returns the SHA-256, in hexadecimal, of the weight average of checkpoint directories: of every tensor in
// the order of the names its name, its shape and its values as little-endian float32.
func Digest(dirs []string) (string, error) {
	var members []warm.Member
	for i, dir := range dirs {
		c, err := loader.Open(dir)
		if err != nil {
			return "", err
		}
		defer c.Close()
		members = append(members, warm.Member{Name: fmt.Sprint(i), Checkpoint: c})
	}
	a, err := warm.NewAverage(members, warm.Options{})
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, name := range a.Names() {
		shape, _ := a.Shape(name)
		n := 1
		for _, d := range shape {
			n *= d
		}
		values := make([]float32, n)
		if err := a.ReadAt(values, name, 0); err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%q%v", name, shape)
		b := make([]byte, 4*n)
		safetensors.EncodeF32(b, values)
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
