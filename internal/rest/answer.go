package rest

import (
	"io"
	"net/http"
	"strconv"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/serve"
)

const (
	// oneWrite is the size up to which binary outputs are copied behind the
	// JSON, so that they leave in one write.
	oneWrite = 64 << 10
	// writePiece is what a client has to accept within Options.WriteTimeout.
	writePiece = 1 << 20
	// worthCompressing is the size from which an answer is compressed for a client that takes it.
	worthCompressing = 1024
)

// answer encodes and sends an answer. An error is one of encoding: then nothing has been sent.
func (c *call) answer(h *Handler, w http.ResponseWriter, r *http.Request, resp *serve.Response) error {
	b, binary, err := c.AppendJSON(c.out[:0], resp)
	if err != nil {
		return err
	}
	head := w.Header()
	head["Content-Type"] = typeJSON
	size := len(b)
	if binary {
		head["Content-Type"] = typeBinary
		head.Set(headerLength, strconv.Itoa(len(b)))
		size += c.binarySize(resp)
	}
	together := size <= oneWrite
	if binary && together {
		b = c.appendBinary(b, resp)
	}
	c.out = b
	out := io.Writer(w)
	if size >= worthCompressing {
		if z := compress(w, r); z != nil {
			defer z.Close()
			out = z
		} else {
			head.Set("Content-Length", strconv.Itoa(size))
		}
	}
	t := timedWriter{w: out, h: h, to: w}
	t.Write(b) // if it fails, the client is gone
	if binary && !together {
		c.writeBinary(&t, resp)
	}
	return nil
}

// binarySize is the size of all binary outputs.
func (c *call) binarySize(resp *serve.Response) int {
	n := 0
	for i := range resp.Outputs {
		if binary, _ := c.Wants(i); binary {
			n += oip.RawSize(resp.Outputs[i].Tensor)
		}
	}
	return n
}

// appendBinary appends the binary outputs.
func (c *call) appendBinary(b []byte, resp *serve.Response) []byte {
	for i := range resp.Outputs {
		if binary, _ := c.Wants(i); !binary {
			continue
		}
		if t := resp.Outputs[i].Tensor; t.DType == dtype.String {
			b = oip.AppendStrings(b, t.Strings)
		} else {
			b = append(b, t.Data...)
		}
	}
	return b
}

// writeBinary writes the binary outputs from where they are.
func (c *call) writeBinary(w io.Writer, resp *serve.Response) {
	for i := range resp.Outputs {
		if binary, _ := c.Wants(i); !binary {
			continue
		}
		t := resp.Outputs[i].Tensor
		data := t.Data
		if t.DType == dtype.String {
			data = oip.AppendStrings(nil, t.Strings)
		}
		if _, err := w.Write(data); err != nil {
			return
		}
	}
}

// timedWriter writes an answer in pieces that each have their time.
type timedWriter struct {
	w  io.Writer
	h  *Handler
	to http.ResponseWriter
}

func (t *timedWriter) Write(p []byte) (n int, err error) {
	for err == nil && len(p) > 0 {
		t.h.limitWrite(t.to)
		var m int
		m, err = t.w.Write(p[:min(len(p), writePiece)])
		n, p = n+m, p[m:]
	}
	return n, err
}
