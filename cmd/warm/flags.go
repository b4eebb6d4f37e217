package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// rule refuses flags that have no effect in some case, such as beside another flag: what
// is given on the command line is never passed over in silence.
type rule struct {
	// when says whether the case is there, once the flags are read.
	when func() bool
	// why ends the sentence "--flag has no effect …".
	why string
	// flags are refused then; with but, all others of the command are.
	flags []string
	but   bool
}

// refuses makes a command check its flags before it runs.
func refuses(c *cobra.Command, rules ...rule) {
	c.PreRunE = func(c *cobra.Command, _ []string) error {
		for _, r := range rules {
			if !r.when() {
				continue
			}
			var bad []string
			c.Flags().Visit(func(f *pflag.Flag) {
				if slices.Contains(r.flags, f.Name) != r.but {
					bad = append(bad, "--"+f.Name)
				}
			})
			if len(bad) > 0 {
				verb := "has"
				if len(bad) > 1 {
					verb = "have"
				}
				return usagef("%s %s no effect %s", strings.Join(bad, ", "), verb, r.why)
			}
		}
		return nil
	}
}

// given says whether a flag is on the command line.
func given(c *cobra.Command, name string) func() bool {
	return func() bool { return c.Flags().Changed(name) }
}

// baseAlone refuses --base without --alpha: the average itself does not depend on it.
func baseAlone(c *cobra.Command) rule {
	return rule{when: func() bool { return !c.Flags().Changed("alpha") },
		why: "without --alpha: the average does not depend on it", flags: []string{"base"}}
}

// suggest adds to an unknown flag's error the flags that it may stand for.
func suggest(c *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return err
	}
	near := map[string]int{}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if d := distance(unknown.GetSpecifiedName(), f.Name); d <= max(1, len(f.Name)/3) {
			near[f.Name] = d
		}
	})
	names := slices.SortedFunc(maps.Keys(near), func(a, b string) int {
		return cmp.Or(near[a]-near[b], strings.Compare(a, b))
	})
	if len(names) == 0 {
		return err
	}
	return fmt.Errorf("%w: did you mean --%s?", err, strings.Join(names[:min(len(names), 3)], ", --"))
}

// distance is the number of letters to insert, leave out or change. Where one begins with
// the other it is 1.
func distance(a, b string) int {
	if len(a) > 2 && (strings.HasPrefix(b, a) || strings.HasPrefix(a, b)) {
		return 1
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// files is a flag of several files: one for each time it is given, or several with commas between
// them. A value that names a file is that file, commas and all: some sets are published under such
// names.
type files []string

func (f *files) String() string { return strings.Join(*f, ",") }
func (f *files) Type() string   { return "files" }

func (f *files) Set(value string) error {
	if _, err := os.Stat(value); err == nil {
		*f = append(*f, value)
		return nil
	}
	*f = append(*f, strings.Split(value, ",")...)
	return nil
}
