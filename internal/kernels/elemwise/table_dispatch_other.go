//go:build !amd64 || noasm

package elemwise

func lookupFor() lookup { return portableLookup }
