// Command emojigen writes emoji.txt, the table of emoji shortcodes that package
// convert embeds, from emoji.json of the npm package emoji-toolkit (JoyPixels; its
// data, unlike its artwork, is under the MIT licence):
//
//	npm pack emoji-toolkit@11.0.0 && tar xzf emoji-toolkit-*.tgz
//	go run ./internal/emojigen package/emoji.json > emoji.txt
//
// A line is an emoji and its names, with the one that Rocket.Chat prefers first.
// "~" at the end means that the emoji takes a skin tone in the regular way: the
// modifier follows the first character, and _tone1 to _tone5 follow the name.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

type entry struct {
	Order      int      `json:"order"`
	Name       string   `json:"shortname"`
	Others     []string `json:"shortname_alternates"`
	Children   []string `json:"diversity_children"`
	CodePoints struct {
		Full string `json:"fully_qualified"`
	} `json:"code_points"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "emojigen:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: emojigen emoji.json")
	}
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var all map[string]entry
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	derived := map[string]bool{}
	for _, e := range all {
		if regular(e, all) {
			for _, c := range e.Children {
				derived[c] = true
			}
		}
	}
	keys := make([]string, 0, len(all))
	for k := range all {
		if !derived[k] {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(all[a].Order, all[b].Order), cmp.Compare(a, b))
	})
	w := bufio.NewWriter(os.Stdout)
	for _, k := range keys {
		e := all[k]
		emoji, err := text(e.CodePoints.Full)
		if err != nil {
			return fmt.Errorf("%s: %w", e.Name, err)
		}
		fmt.Fprint(w, emoji, " ", strings.Trim(e.Name, ":"))
		for _, o := range e.Others {
			fmt.Fprint(w, " ", strings.Trim(o, ":"))
		}
		if regular(e, all) {
			fmt.Fprint(w, " ~")
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// regular reports whether the skin tones of e follow the rule.
func regular(e entry, all map[string]entry) bool {
	if len(e.Children) != 5 {
		return false
	}
	parts := strings.Split(e.CodePoints.Full, "-")
	rest := parts[1:]
	if len(rest) > 0 && rest[0] == "fe0f" {
		rest = rest[1:]
	}
	for i, k := range e.Children {
		want := strings.Join(append([]string{parts[0], fmt.Sprintf("1f3f%x", 0xb+i)}, rest...), "-")
		name := fmt.Sprintf(":%s_tone%d:", strings.Trim(e.Name, ":"), i+1)
		if c, ok := all[k]; !ok || c.CodePoints.Full != want || c.Name != name {
			return false
		}
	}
	return true
}

// text returns the characters that hex lists.
func text(hex string) (string, error) {
	var b strings.Builder
	for _, p := range strings.Split(hex, "-") {
		n, err := strconv.ParseUint(p, 16, 32)
		if err != nil {
			return "", err
		}
		b.WriteRune(rune(n))
	}
	return b.String(), nil
}
