package oip

import "context"

type tenantKey struct{}

// WithTenant notes who sent a request: the name of their API key.
func WithTenant(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, tenantKey{}, name)
}

// Tenant is the name of the API key that a request came with; "" without keys.
func Tenant(ctx context.Context) string {
	name, _ := ctx.Value(tenantKey{}).(string)
	return name
}
