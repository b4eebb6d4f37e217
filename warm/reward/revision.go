package reward

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/warmserve/warmserve/model"
)

// revision hashes all that decides a reward: the weights before rounding, the
// number format, and how text becomes tokens.
func (d *Deployment) revision(template string) string {
	h := sha256.New()
	add := func(name string, value any) { fmt.Fprintf(h, "%s %q\n", name, fmt.Sprint(value)) }
	if d.average != nil {
		add("average", d.average.Digest())
	}
	for i, m := range d.models {
		if m != nil {
			add("member "+d.members[i].Name, m.Digest())
			if z := d.members[i].Calibration; z != nil {
				add("calibration", *z)
			}
		}
	}
	add("config", fmt.Sprintf("%+v", functionOf(d.config)))
	add("dtype", d.DType)
	add("pooling", d.Pooling)
	if d.Ending != model.EndAsIs {
		add("ending", d.Ending)
	}
	if d.DoubleBOS {
		add("double_bos", true)
	}
	add("context", d.Context)
	add("tokenizer", hex.EncodeToString(d.digests.tokenizer))
	for _, role := range slices.Sorted(maps.Keys(d.digests.special)) {
		add(role, d.digests.special[role])
	}
	add("template", hex.EncodeToString(sum([]byte(template))))
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// functionOf returns the configuration as values without pointers.
func functionOf(c *model.Config) string {
	data, err := json.Marshal(c)
	if err != nil {
		panic("reward: " + err.Error()) // plain numbers and strings
	}
	return string(data)
}

func sum(b []byte) []byte {
	s := sha256.Sum256(b)
	return s[:]
}
