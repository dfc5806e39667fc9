package rest

import (
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Compressors take much memory, so they are used again.
var (
	gzips = sync.Pool{New: func() any {
		z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is valid
		return z
	}}
	zlibs = sync.Pool{New: func() any {
		z, _ := zlib.NewWriterLevel(nil, zlib.BestSpeed)
		return z
	}}
)

// pooled is a compressor that goes back to its pool when it is closed.
type pooled struct {
	io.WriteCloser
	pool *sync.Pool
}

func (p pooled) Close() error {
	err := p.WriteCloser.Close()
	p.pool.Put(p.WriteCloser)
	return err
}

// compress gives a compressor for an answer in the encoding that the client
// prefers, and says so in the answer's header; nil if it takes none of ours.
func compress(w http.ResponseWriter, r *http.Request) io.WriteCloser {
	encoding := accepted(r.Header.Get("Accept-Encoding"))
	if encoding == "" {
		return nil
	}
	w.Header().Set("Content-Encoding", encoding)
	if encoding == "gzip" {
		z := gzips.Get().(*gzip.Writer)
		z.Reset(w)
		return pooled{z, &gzips}
	}
	z := zlibs.Get().(*zlib.Writer)
	z.Reset(w)
	return pooled{z, &zlibs}
}

// accepted picks gzip or deflate from an Accept-Encoding header: the first of
// them that isn't refused by q=0; "" if there is none.
func accepted(header string) string {
	for header != "" {
		var part string
		part, header, _ = strings.Cut(header, ",")
		coding, q, _ := strings.Cut(part, ";")
		coding = strings.ToLower(strings.TrimSpace(coding))
		if (coding == "gzip" || coding == "deflate") && !refused(q) {
			return coding
		}
	}
	return ""
}

// refused reports whether a coding's parameter is q=0, or 0.0 and so on.
func refused(q string) bool {
	value, ok := strings.CutPrefix(strings.ReplaceAll(q, " ", ""), "q=")
	return ok && strings.Trim(value, "0.") == ""
}
