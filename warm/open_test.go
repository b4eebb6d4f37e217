package warm

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/warmserve/warmserve/loader"
)

func TestOpenNamesEveryCheckpointThatDoesNotOpen(t *testing.T) {
	open := func(ref string) (*loader.Checkpoint, error) { return nil, errors.New("no " + ref) }
	_, _, err := Open(open, []string{"a", "b"}, nil, "c", Options{})
	assert.EqualError(t, err, "no a\nno b\nno c")
}
