package repo

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDocumentIsUpToDate(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "MODEL_CONFIG.md")
	if *update {
		if err := os.WriteFile(file, []byte(Document()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Document() {
		t.Error("docs/MODEL_CONFIG.md is not what the code says: run go test ./internal/repo -update")
	}
}
