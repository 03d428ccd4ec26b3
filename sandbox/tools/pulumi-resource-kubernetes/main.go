// The Kubernetes provider of Pulumi, of its own module. That module's own main package embeds two files that are made before a release;
// this one makes them from the files that the module brings, which lie in `share/` beside `bin/`.
package main

import (
	"encoding/json"
	"log"
	"os"
	"path/filepath"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version"
)

func main() {
	program, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	share := filepath.Join(filepath.Dir(program), "..", "share")
	schema, err := stamped(filepath.Join(share, "schema.json"))
	if err != nil {
		log.Fatal(err)
	}
	mapping, err := os.ReadFile(filepath.Join(share, "terraform-mapping.json"))
	if err != nil {
		log.Fatal(err)
	}
	provider.Serve("kubernetes", version.Version, schema, mapping)
}

// stamped returns the schema with the version of this build, which the file in the module lacks.
func stamped(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var schema map[string]json.RawMessage
	if err := json.Unmarshal(text, &schema); err != nil {
		return nil, err
	}
	if schema["version"], err = json.Marshal(version.Version); err != nil {
		return nil, err
	}
	return json.Marshal(schema)
}
