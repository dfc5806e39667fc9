package openaiapi

import (
	"net/http"

	"github.com/salver-ml/salver/api/openai"
	"github.com/salver-ml/salver/internal/openaiapi/answer"
	"github.com/salver-ml/salver/internal/openaiapi/reply"
)

// fail answers with an error in OpenAI's form.
func fail(w http.ResponseWriter, p *answer.Problem) {
	if p.RetryAfter > 0 || w.Header().Get("Retry-After") == "" {
		p.SetRetryAfter(w.Header())
	}
	reply.JSON(w, p.Status, errorBody(p))
}

func errorBody(p *answer.Problem) *openai.Error {
	e := openai.ErrorDetail{Message: p.Error(), Type: errorType(p.Status)}
	if p.Param != "" {
		e.Param = &p.Param
	}
	if p.Code != "" {
		e.Code = &p.Code
	}
	switch p.Status {
	case http.StatusUnauthorized:
		e.Code = given("invalid_api_key")
	case http.StatusTooManyRequests:
		e.Code = given("rate_limit_exceeded")
	}
	return &openai.Error{Error: e}
}

// errorType is OpenAI's name for a class of errors.
func errorType(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return "authentication_error"
	case status == http.StatusForbidden:
		return "permission_error"
	case status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case status >= 500:
		return "server_error"
	}
	return "invalid_request_error"
}
