//go:build never

// Package keep names the module whose files are copied, so that `go mod tidy` keeps it. It is never built.
package keep

import _ "github.com/external-secrets/external-secrets/cmd/esoctl/generator"
