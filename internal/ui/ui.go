// Package ui is the server's pages for people: which models there are, how they
// fare, and a field to draw a digit in; and a chat with its language models. They
// are plain HTML, CSS and JavaScript, embedded as they are written, and speak the
// Open Inference Protocol and OpenAI's to the server that they came from.
package ui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

// The pages' files; index.html is served at /, chat.html at /chat, the others below /ui/.
//
//go:embed static
var static embed.FS

// policy lets the page load and call nothing but its own server.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// addresses are those of the pages that people go to.
var addresses = map[string]string{"index.html": "/", "chat.html": "/chat"}

type file struct {
	name, contentType, etag string
	data                    []byte
}

type handler struct{ files map[string]file }

// Handler serves the pages: GET and HEAD of /, /chat and /ui/…; all else is 404 or 405.
func Handler() http.Handler {
	h := &handler{files: map[string]file{}}
	err := fs.WalkDir(static, "static", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := static.ReadFile(p)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		name := path.Base(p)
		url := "/ui/" + name
		if at, ok := addresses[name]; ok {
			url = at
		}
		h.files[url] = file{name, contentType(name), `"` + hex.EncodeToString(sum[:8]) + `"`, data}
		return nil
	})
	if err != nil { // the files are part of the program: only a broken build comes here
		panic(err)
	}
	return h
}

// contentType does not ask the machine's MIME tables for what the page needs:
// browsers refuse modules of a wrong type.
func contentType(name string) string {
	switch ext := path.Ext(name); ext {
	case ".html", ".css", ".js":
		kind := map[string]string{".html": "text/html", ".css": "text/css", ".js": "text/javascript"}[ext]
		return kind + "; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	default:
		return mime.TypeByExtension(ext)
	}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := h.files[r.URL.Path]
	if !ok {
		http.Error(w, "no such page: expected / or /chat, found "+strings.ToValidUTF8(r.URL.Path, "?")+"; the APIs begin at /v1, /v2 and /api", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "expected GET or HEAD, found "+r.Method, http.StatusMethodNotAllowed)
		return
	}
	head := w.Header()
	head.Set("Content-Type", f.contentType)
	head.Set("Content-Security-Policy", policy)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cache-Control", "no-cache")
	head.Set("Etag", f.etag)
	http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(f.data))
}
