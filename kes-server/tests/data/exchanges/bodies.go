package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
)

type importBody struct {
	Key    []byte `json:"key"`
	Cipher string `json:"cipher"`
}
type encryptBody struct {
	Plaintext []byte `json:"plaintext"`
	Context   []byte `json:"context"`
	Version   string `json:"version"`
}
type generateBody struct {
	Context []byte `json:"context"`
	Version string `json:"version"`
}
type decryptBody struct {
	Ciphertext []byte `json:"ciphertext"`
	Context    []byte `json:"context"`
	Version    string `json:"version"`
}
type hmacBody struct {
	Message []byte `json:"message"`
	Version string `json:"version"`
}

// A key as releases before 2023 stored it.
type legacyKey struct {
	Bytes     []byte    `json:"bytes"`
	Algorithm string    `json:"algorithm"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
}

// The route, the document, and the bytes of its fields in hex, or null if the document is refused.
func bodies() [][]any {
	var lines [][]any
	for _, routed := range [][]string{
		{"/v1/key/import/", "key", "cipher"}, {"/v1/key/encrypt/", "plaintext", "context", "version"},
		{"/v1/key/generate/", "context", "version"}, {"/v1/key/decrypt/", "ciphertext", "context", "version"},
		{"/v1/key/hmac/", "message", "version"}, {"stored", "bytes", "algorithm", "created_at", "created_by"},
	} {
		route, fields := routed[0], routed[1:]
		for _, document := range documents(fields) {
			lines = append(lines, []any{route, latin1([]byte(document)), decode(route, []byte(document))})
		}
	}
	return lines
}

func decode(route string, document []byte) []string {
	first := func(into any) error { return json.NewDecoder(bytes.NewReader(document)).Decode(into) }
	switch route {
	case "/v1/key/import/":
		var b importBody
		err := first(&b)
		return hexed(err == nil, b.Key, []byte(b.Cipher))
	case "/v1/key/encrypt/":
		var b encryptBody
		err := first(&b)
		return hexed(err == nil, b.Plaintext, b.Context)
	case "/v1/key/generate/":
		var b generateBody
		err := first(&b)
		return hexed(err == nil, b.Context)
	case "/v1/key/decrypt/":
		var b decryptBody
		err := first(&b)
		return hexed(err == nil, b.Ciphertext, b.Context)
	case "/v1/key/hmac/":
		var b hmacBody
		err := first(&b)
		return hexed(err == nil, b.Message)
	}
	var b legacyKey
	err := json.Unmarshal(document, &b)
	at := b.CreatedAt.Format(time.RFC3339Nano)
	return hexed(err == nil && len(b.Bytes) == 32, b.Bytes, []byte(b.Algorithm), []byte(at), []byte(b.CreatedBy))
}

func hexed(taken bool, fields ...[]byte) []string {
	if !taken {
		return nil
	}
	hexed := make([]string, len(fields))
	for i, field := range fields {
		hexed[i] = hex.EncodeToString(field)
	}
	return hexed
}

var key32 = `"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="`
var key32bytes = `[` + strings.Repeat("1,", 31) + `1]`

var values = []string{
	`null`, `true`, `false`, `0`, `1`, `-1`, `1.5`, `1e3`, `1e999`, `""`, `"aGk="`, `"aGk"`, `"aGl="`, `"aG k="`, `"__8="`,
	`"aG\nk="`, `"aG\r\n\nk="`, `"\u0061Gk="`, `"\ud800"`, `"\ud83d\ude00"`, `"\u0000"`, "\"\xff\"", "\"\xe2\x82\"", "\"\x01\"",
	`"AES256"`, `"<&>"`, `[]`, `[1]`, `[104,105]`, `[null]`, `[1,null,2]`, `[256]`, `[-1]`, `[1.0]`, `[1e0]`, `["a"]`, `[[1]]`,
	`[true]`, `[{}]`, `{}`, `{"a":1}`, `nul`, `tru`, `01`, `+1`, `.5`, `1.`, `"`, `[`, `[1,]`, `{"a":1,}`, `'a'`, `NaN`,
	key32, key32bytes, `"2009-11-10T23:00:00Z"`, `"2021-03-04T05:06:07.123456789+02:00"`, `"yesterday"`,
}

var tops = []string{
	``, ` `, "\ufeff{}", `{}`, `{} x`, `{}}`, `{}[`, `{`, `}`, `{"a"}`, `{"a" 1}`, `{a:1}`, `{"a":1 "b":2}`, `{,}`, `{"a":1,,"b":2}`,
	`nullx`, `null null`, `/**/{}`, "{\"\xff\":1}", `{"\ud800":1}`, `{"\u0000":1}`, "{\"\x00\":1}", "\x00{}", "{}\x00",
	"\t\r\n {} \t", "\f{}", "\v{}", `{"":1}`, `{"a":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}`,
	`{"a":` + strings.Repeat(`{"a":`, 300) + "1" + strings.Repeat("}", 300) + `}`,
}

func documents(fields []string) []string {
	all := append(append([]string{}, tops...), values...)
	for _, field := range fields {
		others := ""
		if field != "bytes" && fields[0] == "bytes" {
			others = `"bytes":` + key32 + `,`
		}
		for _, value := range values {
			all = append(all, `{`+others+`"`+field+`":`+value+`}`)
		}
		folded := strings.NewReplacer("k", "\u212a", "s", "\u017f").Replace(field)
		odd := []string{strings.ToUpper(field), folded, field + " ", " " + field, field + "\u0301", `\u00` + hex.EncodeToString([]byte(field[:1])) + field[1:]}
		for _, spelled := range odd {
			all = append(all, `{`+others+`"`+spelled+`":"aGk="}`, `{`+others+`"`+spelled+`":`+key32+`}`)
		}
		for _, second := range []string{`null`, `"YQ=="`, `1`, `[]`} {
			all = append(all, `{`+others+`"`+field+`":"aGk=","`+strings.ToUpper(field)+`":`+second+`}`)
		}
		all = append(all, `{`+others+`"`+field+`":`+key32+`} x`, ` {`+others+`"`+field+`":`+key32+`,"x":{"`+field+`":1}}`+"\n")
	}
	return all
}
