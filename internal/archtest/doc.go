// Package archtest holds the rules that the whole repository keeps, as tests:
// which package may import which, what a source file looks like, that the
// dependencies are those of DEPENDENCIES.md, and that links in the documents lead somewhere.
package archtest
