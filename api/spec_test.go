package api_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/warmserve/warmserve/api"
)

// The document stands at the root, where people look for it; Go embeds only
// what lies in a package. `go generate ./api` copies it.
func TestTheEmbeddedDocumentIsTheOneAtTheRoot(t *testing.T) {
	root, err := os.ReadFile("../openapi.yaml")
	require.NoError(t, err)
	assert.True(t, api.OpenAPI() == string(root), "run go generate ./api")
}
