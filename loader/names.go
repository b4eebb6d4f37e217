package loader

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrUnmerged is returned for the weights of a PEFT model that were saved as they lie in memory,
// base and change side by side.
var ErrUnmerged = errors.New("these are the weights of a PEFT model that was saved without merging; " +
	"write them with model.merge_and_unload().save_pretrained(out)")

// wrapperParts are parts of tensor names that stand for a wrapper around a module: torch.compile,
// FSDP, checkpointing of activations. No model has a module of such a name.
var wrapperParts = []string{"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}

// wrapperPrefixes stand in front of every name: DistributedDataParallel, and a PEFT model whose
// change was merged or that never had one.
var wrapperPrefixes = []string{"module.", adapterPrefix}

// unmergedParts are in names of a PEFT model's tensors alone.
var unmergedParts = []string{"base_layer", "lora_A", "lora_B", "modules_to_save", "original_module"}

// unwrapped returns a tensor's name without the parts of wrappers.
func unwrapped(name string) string {
	if !strings.Contains(name, "_") {
		return name
	}
	parts := strings.Split(name, ".")
	return strings.Join(slices.DeleteFunc(parts,
		func(p string) bool { return slices.Contains(wrapperParts, p) }), ".")
}

// unwrap gives the tensors the names that the model has for them, and notes what it removed.
func (c *Checkpoint) unwrap() error {
	names := slices.Clone(c.names)
	var removed []string
	for i, name := range names {
		if names[i] = unwrapped(name); names[i] != name && removed == nil {
			removed = append(removed, "the parts of wrappers, as in "+name)
		}
	}
	for again := len(names) > 0; again; {
		again = false
		for _, p := range wrapperPrefixes {
			if slices.ContainsFunc(names,
				func(n string) bool { return len(n) <= len(p) || !strings.HasPrefix(n, p) }) {
				continue
			}
			again = true
			removed = append(removed, "the prefix "+p)
			for i := range names {
				names[i] = names[i][len(p):]
			}
		}
	}
	renamed := make(map[string]located, len(names))
	for i, name := range names {
		if _, twice := renamed[name]; twice {
			return fmt.Errorf("tensor %q is there twice: with and without the name of a wrapper, one as %q", name, c.names[i])
		}
		renamed[name] = c.tensors[c.names[i]]
		for _, part := range unmergedParts {
			if strings.Contains("."+name+".", "."+part+".") {
				return fmt.Errorf("tensor %q: %w", name, ErrUnmerged)
			}
		}
	}
	for _, r := range removed {
		c.note("removed from the names of all tensors: %s", r)
	}
	c.tensors, c.names = renamed, names
	return nil
}

func (c *Checkpoint) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}
