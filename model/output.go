package model

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// HeadForms and OutputForms are the forms of [Settings], for people.
const (
	HeadForms   = "NAME, NAME[ROW,…] or NAME[ROW]-NAME[ROW]"
	OutputForms = "an output's name or number, a sum such as 0.7*helpfulness+0.3*1, weights of all as 1,0,0.5, softmax(1) or sigmoid; normalized or raw before it; by min, mean, last or product behind it, for models of steps"
)

// headTerm is a name of tensors and perhaps rows of them, with the sign of a combination.
var headTerm = regexp.MustCompile(`^([+-]?)([A-Za-z_][\w.]*)(?:\[(\d+(?:,\d+)*)\])?`)

// set takes the head that a user names. embedding stands in for an output layer that is tied to it.
// combined is the output that a combination of rows asks for.
func (h *foundHead) set(src Source, s, embedding string) (combined string, err error) {
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("head %s: %s, want %s", s, why, HeadForms)
	}
	var rows []int
	name := ""
	for rest := strings.ReplaceAll(s, " ", ""); rest != ""; {
		m := headTerm.FindStringSubmatch(rest)
		if m == nil || m[1] != "" && combined == "" || m[1] == "" && combined != "" || name != "" &&
			m[2] != name {
			return bad("it names no tensors, or several")
		}
		rest, name = rest[len(m[0]):], m[2]
		if m[3] == "" {
			if rest != "" || combined != "" {
				return bad("a combination is one of rows")
			}
			break
		}
		picked := strings.Split(m[3], ",")
		if len(picked) > 1 && (rest != "" || combined != "") {
			return bad("each part of a combination is one row")
		}
		for _, p := range picked {
			row, err := strconv.Atoi(p)
			if err != nil || row >= maxDim {
				return bad("row " + p + " is too large")
			}
			combined += fmt.Sprintf("%s1*%d", joined(m[1], combined), len(rows))
			rows = append(rows, row)
		}
		if len(picked) > 1 {
			combined = ""
		}
	}
	return combined, h.bindRows(src, s, name, rows, embedding)
}

// joined is the sign of a term, "+" where it follows others without one.
func joined(sign, before string) string {
	if sign == "" && before != "" {
		return "+"
	}
	return sign
}

// bindRows finds the named tensors.
func (h *foundHead) bindRows(src Source, s, name string, rows []int, embedding string) error {
	b, ok := headAt(src, name, "relu")
	if tied := strings.TrimSuffix(embedding, ".weight"); !ok && slices.Contains(languageHeads, name+".weight") { // the embedding is the output layer
		name = tied
		b, ok = headAt(src, name, "relu")
	}
	if !ok {
		return fmt.Errorf("head %s: the checkpoint has no matrix %s.weight and no layers %s.0.weight, …", s, name, name)
	}
	if rows != nil {
		if len(b.Hidden) > 0 || slices.Max(rows) >= b.Outputs {
			return fmt.Errorf("head %s: %s.weight has %d rows", s, name, b.Outputs)
		}
		b.Rows, b.Outputs = rows, len(rows)
	}
	h.name, h.scoring.Branches = name, []HeadBranch{b.rename(name, headNames[0])}
	return nil
}

// choose reads how outputs become the reward, and refuses several outputs of which none is chosen.
// combined is what a combination of rows makes of them, "" for other heads.
func (raw *rawConfig) choose(h *foundHead, s, combined string) error {
	r := &h.scoring.Readout
	n := h.outputs()
	if r.Kind == ReadLinear && n > 1 && r.Steps == "" && h.scoring.Branches[0].Rows == nil {
		if r.Attributes = raw.labels(n); r.Attributes == nil {
			r.Attributes = numbers(n)
		}
	}
	words := strings.Fields(s)
	if k := len(words); k > 1 && words[k-2] == "by" {
		switch by := Steps(words[k-1]); by {
		case StepsMin, StepsMean, StepsLast, StepsProduct:
			r.Steps = by
		default:
			return fmt.Errorf("output %s: by %s, want min, mean, last or product", s, by)
		}
		words = words[:k-2]
	}
	if len(words) > 0 && (words[0] == "normalized" || words[0] == "raw") {
		var err error
		if words[0] == "raw" {
			r.Normal, h.scoring.Constants = nil, slices.DeleteFunc(h.scoring.Constants,
				func(c HeadConstant) bool { return strings.HasPrefix(c.Name, "normalizer.") })
		} else if r.Normal == nil {
			r.Normal, err = raw.normalised()
		}
		if err != nil {
			return err
		}
		words = words[1:]
	}
	expression := strings.Join(words, "")
	if combined != "" {
		var err error
		if expression, err = ofCombination(expression, combined); err != nil {
			return fmt.Errorf("output %s: %w", s, err)
		}
	}
	if err := r.express(expression, n); err != nil {
		return fmt.Errorf("output %s: %w", s, err)
	}
	if r.Kind == ReadLinear && n > 1 && r.Weights == nil {
		return fmt.Errorf("%s.weight has %d outputs (%s) and nothing says which is the reward: set output: %s", h.name, n, listed(r.names(n)), OutputForms)
	}
	return nil
}

// listed names outputs in an error, the first of many.
func listed(names []string) string {
	const most = 20
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// ofCombination is what an expression over a combination of rows, which is one output, is over the rows.
func ofCombination(s, combined string) (string, error) {
	switch m := squashed.FindStringSubmatch(s); {
	case s == "" || s == "0":
		return combined, nil
	case m != nil && m[1] == "sigmoid" && (m[2] == "" || m[2] == "0") && combined == "1*0-1*1":
		return "softmax(0)", nil // which is the sigmoid of the difference
	}
	return "", errors.New("the head is a combination of rows, which is one output: sigmoid of a difference may be made of it; NAME[ROW,…] has an output for each row")
}

// numbers names outputs by their numbers.
func numbers(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = strconv.Itoa(i)
	}
	return out
}

// squashed is a function of all outputs, of which one is the reward.
var squashed = regexp.MustCompile(`^(softmax|sigmoid)(?:\((.*)\))?$`)

// express reads the sum that is the reward; "" leaves it.
func (r *Readout) express(s string, n int) error {
	if s == "" {
		return nil
	}
	if m := squashed.FindStringSubmatch(s); m != nil {
		if r.Kind != ReadLinear {
			return fmt.Errorf("%s is for outputs as they are", m[1])
		}
		r.Squash, s = Squash(m[1]), m[2]
		if s == "" {
			s = "0"
		}
	}
	if r.Kind != ReadLinear {
		n = len(r.Attributes)
	}
	r.Weights = make([]float64, n)
	if list := strings.Split(s, ","); len(list) > 1 {
		if len(list) != n {
			return fmt.Errorf("%d weights for %d outputs", len(list), n)
		}
		for i, w := range list {
			var err error
			if r.Weights[i], err = number(w); err != nil {
				return err
			}
		}
		return nil
	}
	for rest := s; rest != ""; {
		sign := 1.0
		if rest != s || strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") {
			if rest[0] != '-' && rest[0] != '+' {
				return fmt.Errorf("%q: want + or - there", rest)
			}
			if rest[0] == '-' {
				sign = -1
			}
			rest = rest[1:]
		}
		if factor, behind, ok := strings.Cut(rest, "*"); ok {
			if w, err := number(factor); err == nil { // or a name before it
				sign, rest = sign*w, behind
			}
		}
		i, length := r.find(rest, n)
		if i < 0 {
			return fmt.Errorf("%q is no output: there are %s", rest, listed(r.names(n)))
		}
		r.Weights[i] += sign
		rest = rest[length:]
	}
	return nil
}

func (r *Readout) names(n int) []string {
	if r.Attributes != nil {
		return r.Attributes
	}
	return numbers(n)
}

// find returns the output that s begins with the longest name or number of, -1 for none.
func (r *Readout) find(s string, n int) (at, length int) {
	at = -1
	for i, name := range r.names(n) {
		name = strings.ReplaceAll(name, " ", "")
		if strings.HasPrefix(s, name) && len(name) > length {
			at, length = i, len(name)
		}
	}
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	if i, err := strconv.Atoi(s[:digits]); err == nil && i < n && digits > length {
		return i, digits
	}
	return at, length
}

func number(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v-v != 0 {
		return 0, fmt.Errorf("%q is no number", s)
	}
	return v, nil
}
