package warm

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/warmserve/warmserve/loader"
)

// Record says what an average was made of: θ₀ + α·(Σ wᵢ·θᵢ − θ₀). It is written as
// warm_average.json beside the weights.
type Record struct {
	Members []RecordMember `json:"members"` // sorted by name
	Alpha   float64        `json:"alpha"`
	Base    *RecordMember  `json:"base,omitempty"`    // θ₀, where alpha is not 1; its weight is 1−α
	Ignored []string       `json:"ignored,omitempty"` // what the members were allowed to differ in
}

// RecordMember is one checkpoint of a [Record].
type RecordMember struct {
	Name   string  `json:"name"`   // as it was given: a directory
	Weight float64 `json:"weight"` // of all members together 1
	Hash   string  `json:"hash"`   // of its files and tensors, as [loader.Checkpoint.Hash]
}

// The files that describe a written average.
const (
	recordFile = "warm_average.json"
	cardFile   = "README.md"
)

// ParseRecord reads warm_average.json.
func ParseRecord(data []byte) (*Record, error) {
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", recordFile, err)
	}
	return &r, nil
}

// describe returns the files that say what the average is made of. They hold no time, so that the
// same average gives the same bytes.
func (a *Average) describe() (map[string][]byte, error) {
	r := a.record
	r.Members = append([]RecordMember(nil), r.Members...)
	for i := range r.Members {
		if err := setHash(&r.Members[i], a.sources[i]); err != nil {
			return nil, err
		}
	}
	if r.Base != nil {
		base := *r.Base
		r.Base = &base
		if err := setHash(r.Base, a.sources[len(r.Members)]); err != nil {
			return nil, err
		}
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	return map[string][]byte{recordFile: append(data, '\n'), cardFile: append(r.card(), readOtherwise(a.Config())...)}, nil
}

func setHash(m *RecordMember, c *loader.Checkpoint) error {
	if m.Hash = c.Hash(); m.Hash == "" {
		return fmt.Errorf("%s: %w", c.Dir, loader.ErrShrunk)
	}
	return nil
}

// readOtherwise says in the card that the score head is read as this project's own key says.
func readOtherwise(configJSON []byte) string {
	var config struct {
		Own json.RawMessage `json:"warmserve"`
	}
	if json.Unmarshal(configJSON, &config) != nil || config.Own == nil {
		return ""
	}
	return "\nconfig.json says under `warmserve` how the score head is read, which classes of transformers do not follow. The card of a member that \"warm train\" made has the code that does.\n"
}

// card is the model card of Hugging Face's hub.
func (r *Record) card() []byte {
	var b strings.Builder
	b.WriteString("---\nlibrary_name: transformers\npipeline_tag: text-classification\ntags:\n- reward-model\n- merge\n- warm\n---\n\n" +
		"# Weight average of reward models\n\n")
	fmt.Fprintf(&b, "The average of the weights of %d checkpoints (WARM, arXiv 2401.12187)", len(r.Members))
	if r.Base != nil {
		fmt.Fprintf(&b, ", at the distance α = %v from their shared initialisation", r.Alpha)
	}
	b.WriteString(". [warm_average.json](warm_average.json) says the same to programs.\n\n| checkpoint | weight | hash |\n| --- | --- | --- |\n")
	rows := r.Members
	if r.Base != nil {
		rows = append(rows[:len(rows):len(rows)],
			RecordMember{Name: r.Base.Name + " (θ₀)", Weight: r.Base.Weight, Hash: r.Base.Hash})
	}
	for _, m := range rows {
		fmt.Fprintf(&b, "| `%s` | %v | `%s` |\n",
			strings.NewReplacer("|", "\\|", "`", "'", "\n", " ").Replace(m.Name), m.Weight, m.Hash)
	}
	if len(r.Ignored) > 0 {
		fmt.Fprintf(&b, "\nDifferences that were ignored: %s.\n", strings.Join(r.Ignored, ", "))
	}
	return []byte(b.String())
}
