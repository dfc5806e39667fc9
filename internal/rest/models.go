package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/salver-ml/salver/internal/oip"
	"github.com/salver-ml/salver/internal/serve"
)

func (h *Handler) serverMetadata(w http.ResponseWriter, r *http.Request, _ params) {
	h.reply(w, http.StatusOK, struct {
		Name       string   `json:"name"`
		Version    string   `json:"version"`
		Extensions []string `json:"extensions"`
	}{h.opts.Name, h.opts.Version, oip.Extensions})
}

// health answers a probe: 200 or 503, and a field that says the same.
func (h *Handler) health(w http.ResponseWriter, v any, good bool) {
	status := http.StatusOK
	if !good {
		status = http.StatusServiceUnavailable
	}
	h.reply(w, status, v)
}

func (h *Handler) live(w http.ResponseWriter, r *http.Request, _ params) {
	live := h.core.Live()
	h.health(w, map[string]bool{"live": live}, live)
}

func (h *Handler) ready(w http.ResponseWriter, r *http.Request, _ params) {
	ready := h.core.Ready()
	h.health(w, map[string]bool{"ready": ready}, ready)
}

func (h *Handler) modelReady(w http.ResponseWriter, r *http.Request, p params) {
	ready, err := h.core.ModelReady(p.model, p.version)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.health(w, struct {
		Name  string `json:"name"`
		Ready bool   `json:"ready"`
	}{p.model, ready}, ready)
}

type tensorMetadata struct {
	Name     string   `json:"name"`
	Datatype string   `json:"datatype"`
	Shape    []int    `json:"shape"`
	Labels   []string `json:"labels,omitempty"` // of the columns, where the model names them
}

func tensorsMetadata(infos []serve.TensorInfo) []tensorMetadata {
	list := []tensorMetadata{}
	for _, t := range infos {
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		list = append(list, tensorMetadata{t.Name, t.DType.OIP(), shape, t.Labels})
	}
	return list
}

func (h *Handler) modelMetadata(w http.ResponseWriter, r *http.Request, p params) {
	m, err := h.core.Metadata(p.model, p.version)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.reply(w, http.StatusOK, struct {
		Name     string           `json:"name"`
		Versions []string         `json:"versions"`
		Platform string           `json:"platform"`
		Inputs   []tensorMetadata `json:"inputs"`
		Outputs  []tensorMetadata `json:"outputs"`
	}{m.Name, m.Versions, m.Platform, tensorsMetadata(m.Inputs), tensorsMetadata(m.Outputs)})
}

func (h *Handler) modelConfig(w http.ResponseWriter, r *http.Request, p params) {
	c, err := h.core.Config(p.model, p.version)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.reply(w, http.StatusOK, c)
}

func (h *Handler) statistics(w http.ResponseWriter, r *http.Request, p params) {
	s, err := h.core.Statistics(p.model, p.version)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.reply(w, http.StatusOK, struct {
		ModelStats []serve.ModelStatistics `json:"model_stats"`
	}{s})
}

func (h *Handler) metrics(w http.ResponseWriter, r *http.Request, _ params) {
	if h.opts.Metrics == nil {
		h.replyError(w, http.StatusNotFound, "this server has no metrics")
		return
	}
	h.limitWrite(w, r, h.opts.Metrics)
}

func (h *Handler) index(w http.ResponseWriter, r *http.Request, _ params) {
	var body struct {
		Ready bool `json:"ready"`
	}
	if !h.smallBody(w, r, &body) {
		return
	}
	list := h.core.Index(body.Ready)
	if list == nil {
		list = []serve.IndexEntry{}
	}
	h.reply(w, http.StatusOK, list)
}

// repositoryBody is the body of a load or unload.
type repositoryBody struct {
	Parameters map[string]json.RawMessage `json:"parameters"`
}

func (h *Handler) load(w http.ResponseWriter, r *http.Request, p params) {
	var body repositoryBody
	if !h.smallBody(w, r, &body) {
		return
	}
	var config []byte // nil: the model's own
	for name, value := range body.Parameters {
		var text string
		if name != "config" || json.Unmarshal(value, &text) != nil {
			h.replyError(w, http.StatusBadRequest, oip.ErrLoadParameter(name).Error())
			return
		}
		config = []byte(text)
	}
	if err := h.core.LoadConfig(r.Context(), p.model, config); err != nil {
		h.fail(w, r, err)
		return
	}
	h.reply(w, http.StatusOK, struct{}{})
}

func (h *Handler) unload(w http.ResponseWriter, r *http.Request, p params) {
	var body repositoryBody
	if !h.smallBody(w, r, &body) {
		return
	}
	for name := range body.Parameters {
		if name != "unload_dependents" { // no model has dependents
			h.replyError(w, http.StatusBadRequest, fmt.Sprintf("parameter %q: expected unload_dependents or nothing", name))
			return
		}
	}
	if err := h.core.Unload(r.Context(), p.model); err != nil {
		h.fail(w, r, err)
		return
	}
	h.reply(w, http.StatusOK, struct{}{})
}

// smallBody reads a body of JSON into v, which stays as it is where the body is
// empty. It answers errors itself.
func (h *Handler) smallBody(w http.ResponseWriter, r *http.Request, v any) bool {
	const most = 1 << 20
	c := h.calls.Get().(*call)
	defer h.put(c)
	b, err := c.read(h, w, r, 0, min(most, h.opts.MaxBody))
	if err != nil {
		h.failRead(w, r, err)
		return false
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err = d.Decode(v)
	if errors.Is(err, io.EOF) {
		return true
	}
	if _, end := d.Token(); err == nil && end != io.EOF {
		err = errors.New("expected one object, found something after it")
	}
	if err != nil {
		h.replyError(w, http.StatusBadRequest, "request's JSON: "+strings.TrimPrefix(err.Error(), "json: "))
		return false
	}
	return true
}

// unsupported answers calls of an extension that this server does not have.
func unsupported(what string) func(*Handler, http.ResponseWriter, *http.Request, params) {
	return func(h *Handler, w http.ResponseWriter, r *http.Request, _ params) {
		h.replyError(w, http.StatusNotImplemented, what+" are not supported by this server")
	}
}
