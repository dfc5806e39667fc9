package auth

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// ErrMissing and ErrWrong refuse a request. Transports answer 401 or UNAUTHENTICATED.
var (
	ErrMissing = errors.New("an API key is needed: send it as \"Authorization: Bearer KEY\" or \"X-API-Key: KEY\"")
	ErrWrong   = errors.New("the API key is not valid")
)

// Allow checks the values of the headers (or gRPC metadata) "authorization" and
// "x-api-key", and returns the name of the key. A nil Keys allows everyone, with the name "".
func (k *Keys) Allow(authorization, apiKey []string) (name string, err error) {
	if k == nil {
		return "", nil
	}
	var secret string
	switch {
	case len(authorization) == 1 && len(authorization[0]) > 7 && strings.EqualFold(authorization[0][:7], "Bearer "):
		secret = strings.TrimSpace(authorization[0][7:])
	case len(authorization) == 0 && len(apiKey) == 1:
		secret = apiKey[0]
	default:
		return "", ErrMissing
	}
	name, ok := k.Check(secret)
	if !ok {
		return "", ErrWrong
	}
	return name, nil
}

type nameKey struct{}

// Name is the name of the key that a request came with; "" without one.
func Name(ctx context.Context) string {
	name, _ := ctx.Value(nameKey{}).(string)
	return name
}

// WithName notes the name of a request's key.
func WithName(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, nameKey{}, name)
}

// HTTP refuses requests without a valid key, before any handler sees them;
// public reports those that need none. A nil Keys changes nothing.
func (k *Keys) HTTP(public func(*http.Request) bool, next http.Handler) http.Handler {
	if k == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, err := k.Allow(r.Header["Authorization"], r.Header["X-Api-Key"])
		if err != nil {
			if public(r) {
				next.ServeHTTP(w, r)
				return
			}
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeError(w, http.StatusUnauthorized, err.Error())
			return
		}
		next.ServeHTTP(w, r.WithContext(WithName(r.Context(), name)))
	})
}

func writeError(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": message}) // a failed write has nobody left to be told
}

// Local protects a server without keys from web pages that a user of the same
// machine visits: it refuses requests whose Host is a name other than
// localhost (a DNS name that was rebound to a loopback address) and
// state-changing requests that come from another origin.
func Local(next http.Handler) http.Handler {
	next = http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localName(r.Host) {
			writeError(w, http.StatusForbidden, "a server without API keys answers to localhost and to IP addresses only, not to the host name of this request")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// localName reports whether a Host header has an IP address or localhost.
func localName(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	_, err := netip.ParseAddr(host)
	return err == nil || host == "" || strings.EqualFold(host, "localhost")
}
