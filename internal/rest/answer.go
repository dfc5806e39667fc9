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
	// smallWrite is what a connection's buffers hold.
	smallWrite = 16 << 10
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
		more, copied := c.binarySize(resp)
		if err := c.Room.Add(copied); err != nil {
			return err
		}
		head["Content-Type"] = typeBinary
		head[headerLength] = c.lengthHeader(len(b))
		size += more
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
	err = h.writeTimed(w, out, b)
	if binary && !together && err == nil {
		c.writeBinary(h, w, out, resp)
	}
	return nil // if writing failed, the client is gone
}

// lengthHeader is the value of a header; answers of one model mostly have the same.
func (c *call) lengthHeader(n int) []string {
	if c.length != n {
		c.length, c.lengthText = n, []string{strconv.Itoa(n)}
	}
	return c.lengthText
}

// binarySize is the size of all binary outputs, and of those that are not sent from where they are.
func (c *call) binarySize(resp *serve.Response) (n, copied int) {
	for i := range resp.Outputs {
		if binary, _ := c.Wants(i); binary {
			t := resp.Outputs[i].Tensor
			size := oip.RawSize(t)
			n += size
			if t.DType == dtype.String {
				copied += size
			}
		}
	}
	return n, copied
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
func (c *call) writeBinary(h *Handler, w http.ResponseWriter, to io.Writer, resp *serve.Response) {
	for i := range resp.Outputs {
		if binary, _ := c.Wants(i); !binary {
			continue
		}
		t := resp.Outputs[i].Tensor
		data := t.Data
		if t.DType == dtype.String {
			data = oip.AppendStrings(nil, t.Strings)
		}
		if err := h.writeTimed(w, to, data); err != nil {
			return
		}
	}
}
