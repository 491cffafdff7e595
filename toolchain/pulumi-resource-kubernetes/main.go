// The Pulumi Kubernetes provider, built from its published Go module.
//
// The module ships no runnable main: its own needs files that a generator
// writes. toolchain/build.py lays the two files beside this one before it
// builds (see toolchain/tools.toml), so that the provider serves the schema of
// exactly the version that go.mod pins.
package main

import (
	_ "embed"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version"
)

//go:embed schema.json
var schema []byte

//go:embed terraform-mapping.json
var terraformMapping []byte

func main() {
	provider.Serve("kubernetes", version.Version, schema, terraformMapping)
}
