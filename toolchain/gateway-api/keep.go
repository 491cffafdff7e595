//go:build never

// Package keep names the module whose files are copied, so that `go mod tidy` keeps it. It is never built.
package keep

import _ "sigs.k8s.io/gateway-api/pkg/consts"
