package loader

import (
	"errors"
	"io/fs"
)

// headParts are the parts of a score head that LDL-Reward's code keeps in files of their own, by
// these names. Inside of them tensors are called as in the module alone; in a checkpoint the file's
// name stands before theirs.
var headParts = []string{"regression_layer", "gating_layer"}

// headPartTypes are the formats of such a file; the first that is there counts.
var headPartTypes = []string{".safetensors", ".pt"}

// openHeadParts adds the parts of a score head beside the weights.
func (c *Checkpoint) openHeadParts(s store) error {
	for _, part := range headParts {
		for _, ext := range headPartTypes {
			f, err := s.tensors(part + ext)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				return err
			}
			for i := range f.Tensors {
				f.Tensors[i].Name = part + "." + f.Tensors[i].Name
			}
			if err := c.addHead(f, part+ext); err != nil {
				return err
			}
			c.note("a part of the score head is that of %s", part+ext)
			break
		}
	}
	return nil
}
