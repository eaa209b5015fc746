package config

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// A Key is a live key as people see and change it.
type Key struct {
	Name string // dotted path: "flood.per_person"
	Help string // one or two sentences
	// Choices are all values that it takes; none when it takes others.
	Choices []string
	List    bool // its value is a list
	Number  bool // its value is a whole number
}

// help describes every live key, in one place.
var help = map[string]string{
	"enabled":                      "Carry messages. When false, messages in both directions are stored, and delivered once this is true again.",
	"log_level":                    "How much the bridge writes into its log.",
	"servers.allow":                "Patterns of the Matrix servers with which people may talk, such as *.example.org.",
	"servers.deny":                 "Patterns of Matrix servers with which nobody may talk, even if they are allowed.",
	"users.allow":                  "Patterns of the Matrix addresses with which people may talk, such as @*:example.org.",
	"users.deny":                   "Patterns of Matrix addresses with which nobody may talk, even if they are allowed.",
	"permissions.invite":           "Rocket.Chat roles, in the workspace or the room, that may invite people from Matrix. * is everybody.",
	"permissions.bridge":           "Roles that may connect a room with Matrix. * is everybody.",
	"permissions.direct":           "Roles that may open direct messages with people on Matrix. * is everybody.",
	"permissions.join":             "Roles that may list and join public rooms of Matrix. * is everybody.",
	"flood.per_person":             "Messages and reactions a minute from one person on Matrix. 0 is no limit.",
	"flood.per_server":             "Messages and reactions a minute from one Matrix server. 0 is no limit.",
	"flood.invitations_per_person": "Invitations of Rocket.Chat users a day that are accepted from one person on Matrix. 0 is no limit.",
	"flood.invitations_per_server": "Invitations of Rocket.Chat users a day that are accepted from one Matrix server. 0 is no limit.",
	"flood.accounts_per_server":    "People of one Matrix server who get an account in Rocket.Chat a day. Each account is a seat. 0 is no limit.",
	"public_channels":              "Public channels that people on Matrix can find and join by alias: names, or patterns such as help-*.",
	"typing":                       "Show on each side who is typing on the other.",
	"receipts":                     "Show on each side who has read messages on the other.",
	"presence":                     "Show on each side who is online on the other. The homeserver must have presence enabled.",
	"trace_percent":                "The percentage of messages that are traced, from 0 to 100, where the operator has named a collector.",
}

// LiveKeys returns every live key, in the order of the file.
func LiveKeys() []Key {
	var out []Key
	eachKey("", reflect.ValueOf(Live{}), func(name string, v reflect.Value) {
		k := Key{Name: name, Help: help[name], List: v.Kind() == reflect.Slice, Number: v.Kind() == reflect.Int}
		switch {
		case name == "log_level":
			k.Choices = slices.Clone(logLevels)
		case v.Kind() == reflect.Bool:
			k.Choices = []string{"true", "false"}
		}
		out = append(out, k)
	})
	return out
}

// Texts returns the values of all live keys as people type them, with list items on
// separate lines.
func (l Live) Texts() map[string]string {
	out := map[string]string{}
	eachKey("", reflect.ValueOf(l), func(name string, v reflect.Value) {
		switch value := v.Interface().(type) {
		case []string:
			out[name] = strings.Join(value, "\n")
		case bool:
			out[name] = strconv.FormatBool(value)
		default:
			out[name] = fmt.Sprint(value)
		}
	})
	return out
}

// eachKey calls do for each key that has no keys below it.
func eachKey(prefix string, v reflect.Value, do func(name string, v reflect.Value)) {
	for i := range v.NumField() {
		name := prefix + KeyOf(v.Type().Field(i))
		if v.Field(i).Kind() == reflect.Struct {
			eachKey(name+".", v.Field(i), do)
			continue
		}
		do(name, v.Field(i))
	}
}
