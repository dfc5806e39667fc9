// Package jinja renders the chat templates that come with language models, as
// Python's jinja2 does when transformers' apply_chat_template sets it up: blocks
// and the white space before them trimmed, no autoescaping, loop controls, the
// `generation` block, raise_exception, strftime_now, a tojson that is Python's
// json.dumps, and the immutable sandbox, in which attributes with a leading
// underscore and methods that change a list or a dict are refused.
//
//	t, err := jinja.Parse(source)
//	text, err := t.Render(vars, jinja.Options{})
//
// A template is data from a stranger. It reaches nothing but the variables that
// it is given and the clock of Options, and its steps, depth and output are
// bounded; a bound that is met is an error that says which.
//
// # Values
//
// nil, bool, int64, *big.Int (beyond int64), float64, string, List, Tuple and *Map
// are Python's None, bool, int, float, str, list, tuple and dict. A Map keeps the
// order of insertion, and DecodeJSON gives these types. Strings are UTF-8 and are
// indexed by code point. Other values (generators, macros, undefined names) exist
// only while a template runs.
//
// # What is left out
//
// include, import, extends and autoescape (a chat template is one text), the filters pprint,
// random, urlize, wordwrap and xmlattr, the methods encode, maketrans and translate,
// and lipsum. Each is an error that names it.
//
// # Errors
//
// Inside the package an error travels as a panic of the type *Error or *Raised from
// where it occurs to Parse or Render, as in text/template; no other panic is caught.
package jinja
