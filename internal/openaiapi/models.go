package openaiapi

import (
	"fmt"
	"net/http"

	"github.com/salver-ml/salver/api/openai"
	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/reply"
	"github.com/salver-ml/salver/internal/serve"
)

func modelOf(e *serve.TextEntry) openai.Model {
	m := openai.Model{ID: e.Name, Object: "model", Created: e.Loaded.Unix(), OwnedBy: "salver", MaxModelLen: e.Info.Context}
	if e.Generates {
		m.Chats = &e.Chats
	}
	return m
}

// models answers /v1/models with those that generate, embed or compare texts.
func (h *handler) models(w http.ResponseWriter, r *http.Request, _ []byte) {
	list := openai.List[openai.Model]{Object: "list", Data: []openai.Model{}}
	for _, e := range h.Core.TextModels() {
		list.Data = append(list.Data, modelOf(&e))
	}
	reply.JSON(w, http.StatusOK, &list)
}

// model answers /v1/models/{model}.
func (h *handler) model(w http.ResponseWriter, r *http.Request, _ []byte) error {
	name := r.PathValue("model")
	if e := h.Entry(name); e != nil {
		m := modelOf(e)
		m.ID = name
		reply.JSON(w, http.StatusOK, m)
		return nil
	}
	return &answer.Problem{Status: http.StatusNotFound, Message: fmt.Sprintf("no model for texts is called %q", name), Param: "model", Code: "model_not_found"}
}
