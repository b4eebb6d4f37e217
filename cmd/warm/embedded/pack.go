package embedded

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
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

// Pack fills the folder out with a base, members and a card, replacing what is there. The base is stored in
// bfloat16 and must hold nothing finer: [ErrInexact] names the tensor that does. The members are
// reward models that were fine-tuned from it; each weight is stored as its distance from the base's
// in steps of 1/1024, rounded, so that a packed member differs from the trained one by half a step
// at most. What the base does not have, the score head, is stored as it is. Packing what was
// extracted gives the same bytes.
func Pack(out, base string, members []string, card []byte) (err error) {
	if len(members) == 0 || len(members) > 9 {
		return fmt.Errorf("embedded: pack: %d members, want 1 to 9", len(members))
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
	m := newModel(os.DirFS(temp))
	if err := m.verify(Base, base, 0); err != nil {
		return err
	}
	for i, dir := range members {
		name := fmt.Sprintf("%s%d", memberPrefix, i+1)
		if err := packMember(filepath.Join(temp, name), dir, m); err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		if err := m.verify(name, dir, step/2+0x1p-20); err != nil { // and the rounding of the sum
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(temp, cardFile), card, 0o644); err != nil {
		return err
	}
	if err := m.writeDigest(filepath.Join(temp, digestFile)); err != nil {
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
	o := c.Contents()
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

// packMember writes a member as its distance from the model's base.
func packMember(out, dir string, m *Model) error {
	base, err := m.Checkpoint(Base)
	if err != nil {
		return err
	}
	defer base.Close()
	c, err := loader.Open(dir)
	if err != nil {
		return err
	}
	defer c.Close()
	if !bytes.Equal(c.Tokenizer, base.Tokenizer) || c.ChatTemplate != base.ChatTemplate {
		return errors.New("its tokenizer or chat template is not the base's")
	}
	if err := os.Mkdir(out, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, configFile), c.Config, 0o644); err != nil {
		return err
	}
	var specs []safetensors.Spec
	for _, name := range c.Names() {
		shape, _ := c.Shape(name)
		spec := safetensors.Spec{Name: name, DType: safetensors.F32, Shape: shape}
		if same, ok := base.Shape(name); ok {
			if !slices.Equal(same, shape) {
				return fmt.Errorf("%s has shape %v, the base's has %v", name, shape, same)
			}
			spec.DType = steps
		}
		specs = append(specs, spec)
	}
	var file bytes.Buffer
	err = safetensors.Write(&file, specs, nil, func(w io.Writer, s safetensors.Spec) error {
		values, err := read(c, s.Name)
		if err != nil {
			return err
		}
		if s.DType == steps {
			return writeSteps(w, s.Name, values, base)
		}
		b := make([]byte, 4*len(values))
		safetensors.EncodeF32(b, values)
		_, err = w.Write(b)
		return err
	})
	if err != nil {
		return err
	}
	return writeCompressed(filepath.Join(out, stepsFile), file.Bytes())
}

// writeSteps writes how many steps each value is from the base's.
func writeSteps(w io.Writer, name string, values []float32, base *loader.Checkpoint) error {
	from, err := read(base, name)
	if err != nil {
		return err
	}
	b := make([]byte, len(values))
	for i, v := range values {
		n := math.Round((float64(v) - float64(from[i])) / step)
		if !(math.Abs(n) <= math.MaxInt8) {
			return fmt.Errorf("%s[%d] is %v, too far from the base's %v", name, i, v, from[i])
		}
		b[i] = byte(int8(n))
	}
	_, err = w.Write(b)
	return err
}

// read returns all values of a tensor.
func read(src loader.Source, name string) ([]float32, error) {
	values := make([]float32, loader.Elements(src, name))
	return values, src.ReadAt(values, name, 0)
}

func writeCompressed(path string, b []byte) error {
	// One goroutine, so that the bytes do not depend on the number of processors.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression),
		zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	defer e.Close()
	return os.WriteFile(path+compressed, e.EncodeAll(b, nil), 0o644)
}

// verify compares a packed checkpoint with the one it was made of: no value may differ by more than
// tolerance.
func (m *Model) verify(name, dir string, tolerance float64) (err error) {
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
		shape, _ := want.Shape(tensor)
		if other, _ := got.Shape(tensor); !slices.Equal(shape, other) {
			return fmt.Errorf("%s: %w: %s has shape %v, in %s it has %v", name, ErrInexact, tensor,
				other, dir, shape)
		}
		x, err := read(got, tensor)
		if err != nil {
			return err
		}
		y, err := read(want, tensor)
		if err != nil {
			return err
		}
		for i := range x {
			if d := math.Abs(float64(x[i]) - float64(y[i])); !(d <= tolerance) {
				return fmt.Errorf("%s: %w: %s[%d] is %v, in %s it is %v", name, ErrInexact, tensor, i,
					x[i], dir, y[i])
			}
		}
	}
	return nil
}

// digestFile holds the digest of the members' average, by which a test sees that programs and
// machines agree on it.
const digestFile = "average.sha256"

// writeDigest writes the digest of the average of the members.
func (m *Model) writeDigest(path string) error {
	names, err := m.Members()
	if err != nil {
		return err
	}
	var members []*loader.Checkpoint
	for _, name := range names {
		c, err := m.Checkpoint(name)
		if err != nil {
			return err
		}
		defer c.Close()
		members = append(members, c)
	}
	sum, err := Digest(members)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(sum+"\n"), 0o644)
}

// Digest returns the SHA-256, in hexadecimal, of the weight average of checkpoints: of every tensor
// in the order of the names its name, its shape and its values as little-endian float32.
func Digest(checkpoints []*loader.Checkpoint) (string, error) {
	var members []warm.Member
	for i, c := range checkpoints {
		members = append(members, warm.Member{Name: fmt.Sprint(i), Checkpoint: c})
	}
	a, err := warm.NewAverage(members, warm.Options{})
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, name := range a.Names() {
		values, err := read(a, name)
		if err != nil {
			return "", err
		}
		shape, _ := a.Shape(name)
		fmt.Fprintf(h, "%q%v", name, shape)
		b := make([]byte, 4*len(values))
		safetensors.EncodeF32(b, values)
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
