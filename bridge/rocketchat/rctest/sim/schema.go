package sim

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// A schema is the strict shape of a body or a query (facts 0.1, 12.6.29): one
// object or, after "|", a choice of objects. Fields are separated by blanks; "!"
// marks a required one and ":t" gives its type: s text, b boolean, n number, o
// object, l list; a capital letter marks one that newer versions do not accept as
// null, unlike all others. "..." opens the schema for unknown fields.
type schema []shape

type shape struct {
	fields   map[string]byte // type letter, 0 for any
	required []string
	open     bool
}

// paging are the query parameters that every list endpoint takes; query and
// fields are accepted and ignored.
const paging = " count offset sort query fields"

func parseSchema(text string) schema {
	var s schema
	for alt := range strings.SplitSeq(text, "|") {
		s = append(s, parseShape(alt))
	}
	return s
}

func parseShape(text string) shape {
	sh := shape{fields: map[string]byte{}}
	for _, f := range strings.Fields(text) {
		if f == "..." {
			sh.open = true
			continue
		}
		name, kind, typed := strings.Cut(f, ":")
		name, required := strings.CutSuffix(name, "!")
		if required {
			sh.required = append(sh.required, name)
		}
		sh.fields[name] = 0
		if typed {
			sh.fields[name] = kind[0]
		}
	}
	return sh
}

// check returns the text of the first violation, or "".
func (s schema) check(d Doc, nulls bool) string {
	var first string
	for i, sh := range s {
		problem := sh.check(d, nulls)
		if problem == "" {
			return ""
		}
		if i == 0 {
			first = problem
		}
	}
	if len(s) > 1 {
		return first + "\n must match a schema in anyOf"
	}
	return first
}

func (sh shape) check(d Doc, nulls bool) string {
	for _, f := range sh.required {
		if !d.has(f) {
			return fmt.Sprintf("must have required property '%s'", f)
		}
	}
	for _, k := range sortedKeys(d) {
		kind, known := sh.fields[k]
		if !known && !sh.open {
			return "must NOT have additional properties"
		}
		mayBeNull := nulls || kind == 0 || kind >= 'a'
		if d[k] == nil && mayBeNull && !slices.Contains(sh.required, k) {
			continue
		}
		if want := wrongType(lower(kind), d[k]); want != "" {
			return "must be " + want
		}
	}
	return ""
}

func lower(kind byte) byte {
	if kind >= 'A' && kind <= 'Z' {
		kind += 'a' - 'A'
	}
	return kind
}

func wrongType(kind byte, v any) string {
	ok, want := true, ""
	switch kind {
	case 's':
		_, ok = v.(string)
		want = "string"
	case 'b':
		_, ok = v.(bool)
		want = "boolean"
	case 'n':
		_, ok = v.(float64)
		want = "number"
	case 'o':
		ok = asDoc(v) != nil
		want = "object"
	case 'l':
		_, ok = v.([]any)
		want = "array"
	}
	if ok {
		return ""
	}
	return want
}

// queryDoc converts a query to a document; "ids[]" and "ids" are one field.
func queryDoc(q url.Values) Doc {
	d := Doc{}
	for k, v := range q {
		name, _, _ := strings.Cut(k, "[")
		d[name] = v[0]
	}
	return d
}

// A Form describes what an endpoint accepts: the alternatives of its body or query.
type Form struct {
	Method   string              `json:"method"`
	Endpoint string              `json:"endpoint"`
	Fields   []map[string]string `json:"fields"`   // by alternative: name to type, "" for any
	Required [][]string          `json:"required"` // by alternative
}

// Forms lists what the endpoints accept, as far as their parameters are checked.
func Forms() []Form {
	var l []Form
	for _, key := range sortedKeys(endpoints) {
		ep := endpoints[key]
		checked := ep.body
		if ep.method == "GET" {
			checked = ep.query
		}
		if checked == nil {
			continue
		}
		f := Form{Method: ep.method, Endpoint: ep.path}
		for _, sh := range checked {
			fields := map[string]string{}
			for name, kind := range sh.fields {
				fields[name] = strings.ToLower(strings.Trim(string(kind), "\x00"))
			}
			f.Fields, f.Required = append(f.Fields, fields), append(f.Required, sh.required)
		}
		l = append(l, f)
	}
	return l
}
