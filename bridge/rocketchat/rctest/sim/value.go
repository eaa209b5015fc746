package sim

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"time"
)

// A Doc is a document as MongoDB would hold it: JSON values plus time.Time. A Doc
// that has been stored is never changed, only replaced, so it may be read
// without the lock.
type Doc map[string]any

func (d Doc) id() string             { return d.str("_id") }
func (d Doc) str(k string) string    { s, _ := d[k].(string); return s }
func (d Doc) flag(k string) bool     { b, _ := d[k].(bool); return b }
func (d Doc) has(k string) bool      { _, ok := d[k]; return ok }
func (d Doc) doc(k string) Doc       { return asDoc(d[k]) }
func (d Doc) strs(k string) []string { return asStrings(d[k]) }

func (d Doc) time(k string) time.Time {
	t, _ := d[k].(time.Time)
	return t
}

func (d Doc) num(k string) int {
	switch n := d[k].(type) {
	case int:
		return n
	case float64:
		return int(n)
	}
	return 0
}

// docs returns the documents of a list, leaving out anything else.
func (d Doc) docs(k string) []Doc {
	var out []Doc
	switch l := d[k].(type) {
	case []Doc:
		return l
	case []any:
		for _, v := range l {
			if m := asDoc(v); m != nil {
				out = append(out, m)
			}
		}
	}
	return out
}

// with returns a copy of d with changes; a nil value removes its key.
func (d Doc) with(changes Doc) Doc {
	out := make(Doc, len(d)+len(changes))
	maps.Copy(out, d)
	for k, v := range changes {
		if v == nil {
			delete(out, k)
			continue
		}
		out[k] = v
	}
	return out
}

// only returns a copy of d with nothing but the given keys.
func (d Doc) only(keys ...string) Doc {
	out := Doc{}
	for _, k := range keys {
		if v, ok := d[k]; ok {
			out[k] = v
		}
	}
	return out
}

// without returns a copy of d without the given keys.
func (d Doc) without(keys ...string) Doc {
	out := maps.Clone(d)
	for _, k := range keys {
		delete(out, k)
	}
	return out
}

func asDoc(v any) Doc {
	switch m := v.(type) {
	case Doc:
		return m
	case map[string]any:
		return Doc(m)
	}
	return nil
}

func asStrings(v any) []string {
	switch l := v.(type) {
	case []string:
		return l
	case []any:
		out := make([]string, 0, len(l))
		for _, x := range l {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// addTo and removeFrom treat a list of strings as a set and never change it.
func addTo(set []string, s string) []string {
	if slices.Contains(set, s) {
		return set
	}
	return append(slices.Clone(set), s)
}

func removeFrom(set []string, s string) []string {
	return slices.DeleteFunc(slices.Clone(set), func(x string) bool { return x == s })
}

// restTime is how REST writes a date (facts 0, conventions).
const restTime = "2006-01-02T15:04:05.000Z"

// restJSON encodes v with dates as ISO strings, ejson with {"$date": ms}.
func restJSON(v any) []byte {
	return encode(v, func(t time.Time) any { return t.UTC().Format(restTime) })
}

func ejson(v any) []byte {
	return encode(v, func(t time.Time) any { return map[string]any{"$date": t.UnixMilli()} })
}

func encode(v any, date func(time.Time) any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(plain(v, date)); err != nil {
		panic(err) // documents are made of JSON values only
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// plain replaces dates throughout v.
func plain(v any, date func(time.Time) any) any {
	switch x := v.(type) {
	case Doc:
		if x == nil {
			return nil
		}
		return plainMap(x, date)
	case map[string]any:
		return plainMap(x, date)
	case []Doc:
		return plainList(x, date)
	case []any:
		return plainList(x, date)
	case []string:
		return plainList(x, date) // never null
	case time.Time:
		return date(x)
	}
	return v
}

func plainMap[M ~map[string]any](m M, date func(time.Time) any) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = plain(v, date)
	}
	return out
}

func plainList[T any](l []T, date func(time.Time) any) []any {
	out := make([]any, len(l))
	for i, v := range l {
		out[i] = plain(v, date)
	}
	return out
}

// revive turns decoded JSON into documents; dates means that {"$date"} is a date,
// as in EJSON.
func revive(v any, dates bool) any {
	switch x := v.(type) {
	case map[string]any:
		if ms, ok := x["$date"].(float64); ok && dates && len(x) == 1 {
			return time.UnixMilli(int64(ms)).UTC()
		}
		out := make(Doc, len(x))
		for k, y := range x {
			out[k] = revive(y, dates)
		}
		return out
	case []any:
		for i, y := range x {
			x[i] = revive(y, dates)
		}
	}
	return v
}

// decodeDoc reads one JSON object.
func decodeDoc(b []byte, dates bool) (Doc, error) {
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, err
	}
	return asDoc(revive(v, dates)), nil
}
