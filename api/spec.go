package api

import _ "embed"

//go:generate cp ../openapi.yaml openapi.yaml

//go:embed openapi.yaml
var openapi string

// OpenAPI returns the OpenAPI document of the server, as YAML.
func OpenAPI() string { return openapi }
