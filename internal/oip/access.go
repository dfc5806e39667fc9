package oip

import "errors"

// Access is what a call of the server's API needs.
type Access uint8

// The kinds of access.
const (
	Public Access = iota // the server's liveness and readiness: open to everybody
	Use                  // inference, and reading what is served
	Admin                // loading and unloading models
)

// Authorizer decides whether the bearer of a key has access; the key is empty
// where none came. It returns ErrUnauthenticated, ErrForbidden or nil, and is
// never asked about Public. A nil Authorizer lets everybody in.
type Authorizer func(key string, a Access) error

// The answers of an Authorizer.
var (
	ErrUnauthenticated = errors.New("this server needs an API key: send it as \"Authorization: Bearer KEY\" or \"X-Api-Key: KEY\"")
	ErrForbidden       = errors.New("this API key may not do that")
)

// Check asks the authorizer.
func (f Authorizer) Check(key string, a Access) error {
	if f == nil || a == Public {
		return nil
	}
	return f(key, a)
}
