// Writes what Prometheus's own code makes of requests and texts, for the tests beside it.
//
//	go run . ../data
package main

import (
	"log"
	"os"
	"path/filepath"
)

func main() {
	dir := os.Args[1]
	for _, files := range []map[string][]byte{remoteWrite(), otlpMetrics()} {
		for name, content := range files {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
				log.Fatal(err)
			}
		}
	}
}
