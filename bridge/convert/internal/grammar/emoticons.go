package grammar

import "strings"

// emoticons lists the faces made of characters, after the name of the emoji that
// stands for them. No face begins with another one.
var emoticons = faces(`
heart <3
broken_heart </3
smiley :D :-D =D
laughing >:) >;) >:-) >=)
sweat_smile ':) ':-) '=) ':D ':-D '=D
joy :') :'-)
innocent O:-) 0:-3 0:3 0:-) 0:) 0;^) O:) O;-) O=) 0;-) O:-3 O:3
slight_smile :) :-) =] =) :]
wink ;) ;-) *-) *) ;-] ;] ;D ;^)
kissing_heart :* :-* =* :^*
stuck_out_tongue :P :-P =P :-Þ :Þ :-b :b
stuck_out_tongue_winking_eye >:P X-P
sunglasses B-) B) 8) 8-) B-D 8-D
disappointed >:[ :-( :( :-[ :[ =(
confused >:\ :-/ :-. :/ :\ =/ =\ :L =L
persevere >.<
cry :'( ;( ;-(
angry >:( >:-( :@
flushed :$ =$
fearful D:
sweat ':( ':-( '=(
no_mouth :-X :X :-# :# =X =#
expressionless -_- -__- -___-
open_mouth :-O :O O_O >:O
dizzy_face #-) #) %-) %) X) X-)
thumbsup (y)
person_gesturing_ok *\0/* *\O/*
`)

// Some differ between dialects.
var (
	oldEmoticons = faces(`
confused >:/
cry :'-(
person_gesturing_ok \0/ \O/
`)
	newEmoticons = faces(`
confused >;/
person_gesturing_ok \0\/ \O\/
`)
)

// A face is an emoticon and the shortcode of its emoji.
type face struct{ text, emoji string }

// faces groups emoticons by their first character.
func faces(table string) map[byte][]face {
	m := map[byte][]face{}
	for line := range strings.Lines(strings.TrimSpace(table)) {
		f := strings.Fields(line)
		for _, s := range f[1:] {
			m[s[0]] = append(m[s[0]], face{s, f[0]})
		}
	}
	return m
}

// emoticon reads a face made of characters.
func (p *parser) emoticon(i int) (Node, int) {
	if i >= len(p.s) {
		return none()
	}
	more := newEmoticons
	if p.d == V31 {
		more = oldEmoticons
	}
	for _, m := range []map[byte][]face{emoticons, more} {
		for _, f := range m[p.s[i]] {
			if p.is(i, f.text) {
				return Node{Kind: Emoji, Text: f.text, Target: f.emoji}, i + len(f.text)
			}
		}
	}
	return none()
}

// emoticonEnds reports whether an emoticon may end here.
func (p *parser) emoticonEnds(i int) bool {
	return i >= len(p.s) || p.s[i] == '*' || p.isSpace(i) || p.isEndOfLine(i)
}

// emoticonInLine reads an emoticon that is followed by something other than a character.
func (p *parser) emoticonInLine(i int) (Node, int) {
	n, j := p.emoticon(i)
	if j < 0 || p.emoticonEnds(j) {
		return n, j
	}
	if !p.spend() {
		return none()
	}
	key := memoKey{at: j, skip: p.skip} // needed for each emoticon in a row
	e, ok := p.memo[key]
	if !ok {
		_, e.end = p.item(j)
		if p.memo == nil {
			p.memo = map[memoKey]memoEntry{}
		}
		p.memo[key] = e
	}
	if e.end < 0 {
		return none()
	}
	return n, j
}

// bigEmoji reads a message that consists of up to three emoji and nothing else.
func (p *parser) bigEmoji() (Block, bool) {
	blank := func(i int) int {
		for p.isSpace(i) || p.isEndOfLine(i) {
			i++
		}
		return i
	}
	b := Block{Kind: BigEmoji}
	i := blank(0)
	for range 3 {
		n, j := p.first(i, p.emoji, p.emoticon)
		if j < 0 {
			break
		}
		b.Nodes, i = append(b.Nodes, n), blank(j)
	}
	return b, len(b.Nodes) > 0 && i == len(p.s)
}

// Emoticons returns the emoticons and shortcodes of a message that consists of
// nothing but emoji.
func Emoticons(text string, d Dialect) []string {
	if len(text) > 200 {
		return nil
	}
	b, ok := newParser(text, d).bigEmoji()
	if !ok {
		return nil
	}
	var faces []string
	for _, n := range b.Nodes {
		if n.Target != "" {
			faces = append(faces, n.Text)
		}
	}
	return faces
}
