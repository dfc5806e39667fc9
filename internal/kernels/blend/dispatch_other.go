//go:build !amd64 || noasm

package blend

func kernel() rowsFunc { return portable }
