package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
)

// Method, path, and how a message calls what follows the path; nothing may follow where it is empty.
var routes = [][3]string{
	{"GET", "/version", ""}, {"GET", "/v1/ready", ""}, {"GET", "/v1/status", ""}, {"GET", "/v1/metrics", ""},
	{"GET", "/v1/api", ""}, {"PUT", "/v1/key/create/", "key name"}, {"PUT", "/v1/key/import/", "key name"},
	{"GET", "/v1/key/describe/", "key name"}, {"GET", "/v1/key/list/", "listing pattern"},
	{"DELETE", "/v1/key/delete/", "key name"}, {"PUT", "/v1/key/encrypt/", "key name"},
	{"PUT", "/v1/key/generate/", "key name"}, {"PUT", "/v1/key/decrypt/", "key name"},
	{"PUT", "/v1/key/hmac/", "key name"}, {"GET", "/v1/policy/describe/", "policy name"},
	{"GET", "/v1/policy/read/", "policy name"}, {"GET", "/v1/policy/list/", "listing pattern"},
	{"GET", "/v1/identity/describe/", "identity"}, {"GET", "/v1/identity/list/", "listing pattern"},
	{"GET", "/v1/identity/self/describe", ""}, {"GET", "/v1/log/error", ""}, {"GET", "/v1/log/audit", ""},
}

var name = regexp.MustCompile(`^[0-9A-Za-z_]([0-9A-Za-z_-]*[0-9A-Za-z_])?$`)
var pattern = regexp.MustCompile(`^([0-9A-Za-z_][0-9A-Za-z_-]*)?\*$`)

func valid(kind, resource string) bool {
	is_name := name.MatchString(resource) && resource != "_"
	if kind == "listing pattern" {
		return len(resource) <= 80 && (resource == "" || is_name || pattern.MatchString(resource))
	}
	return len(resource) <= 80 && is_name
}

func refuse(w http.ResponseWriter, status int, message string) {
	body := new(bytes.Buffer)
	body.WriteString(`{"message":`)
	check(json.NewEncoder(body).Encode(message))
	body.WriteString(`}`)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body.Bytes())
}

func serve(route [3]string) http.HandlerFunc {
	method, path, kind := route[0], route[1], route[2]
	return func(w http.ResponseWriter, r *http.Request) {
		resource := strings.TrimPrefix(r.URL.Path, path)
		if r.Method != method && (method != "PUT" || r.Method != "POST") {
			w.Header().Set("Accept", method)
			refuse(w, 405, fmt.Sprintf("received method '%s' expected '%s'", r.Method, method))
		} else if kind != "" && !valid(kind, resource) {
			end := map[bool]string{true: "is invalid", false: "contains invalid characters"}[kind == "listing pattern"]
			refuse(w, 400, fmt.Sprintf("%s '%s' is empty, too long or %s", kind, resource, end))
		} else {
			fmt.Fprint(w, "served")
		}
	}
}

// Method, what stands before the target's end, and the lines of the head behind the first.
type request struct{ method, target, head string }

const host = "Host: kes\r\n"

func targets() [][]any {
	mux := http.NewServeMux()
	for _, route := range routes {
		mux.HandleFunc(route[1], serve(route))
	}
	server := httptest.NewUnstartedServer(mux)
	server.Config.DisableGeneralOptionsHandler = true
	server.StartTLS()
	defer server.Close()
	var lines [][]any
	for _, r := range requests() {
		lines = append(lines, ask(server.Listener.Addr().String(), r))
	}
	return lines
}

// Status, the headers that matter, and the body; "served" if the request came to its handler.
func ask(address string, r request) []any {
	connection, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	check(err)
	defer connection.Close()
	fmt.Fprintf(connection, "%s %s HTTP/1.1\r\n%sConnection: close\r\n\r\n", r.method, r.target, r.head)
	answer, err := http.ReadResponse(bufio.NewReader(connection), &http.Request{Method: r.method})
	check(err)
	body, err := io.ReadAll(answer.Body)
	check(err)
	head := []string{answer.Header.Get("Content-Type"), answer.Header.Get("Location"), answer.Header.Get("Accept")}
	if answer.StatusCode == 200 {
		head[0] = ""
	}
	return []any{r.method, latin1([]byte(r.target)), latin1([]byte(r.head)), answer.StatusCode, head, string(body)}
}

func requests() []request {
	var all []request
	for b := 0; b < 256; b++ {
		for _, before := range []string{"/v1/key/describe/mi", "/v1/key/li", "//v1/policy/list/", "/v1/identity/list/x"} {
			after := map[bool]string{true: "st/", false: "ne"}[before == "/v1/key/li"]
			all = append(all, request{"GET", fmt.Sprintf("%s%%%02x%s", before, b, after), host})
			if b > ' ' && b != 0x7f {
				all = append(all, request{"GET", before + string([]byte{byte(b)}) + after, host})
			}
		}
		if b != '\r' && b != '\n' {
			all = append(all, request{"GET", "/version", "Host: k" + string([]byte{byte(b)}) + "s\r\n"})
		}
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO", "get"} {
		for _, route := range routes {
			// a stream has no end, and what is made must not be there
			if strings.HasPrefix(route[1], "/v1/log/") && method == "GET" {
				continue
			}
			path := strings.TrimSuffix(route[1], "/")
			for _, target := range []string{path, path + "/", path + "/a%2fb", "/" + path, path + "?a=b"} {
				all = append(all, request{method, target, host})
			}
		}
	}
	for _, target := range odd {
		all = append(all, request{"GET", target, host}, request{"PUT", target, host})
	}
	for _, head := range []string{"", "Host:\r\n", host + host, "Host: a b\r\n", "Host: user@kes\r\n", "Host: [::1]:7373\r\n"} {
		all = append(all, request{"GET", "/version", head})
	}
	return all
}

var odd = []string{
	"/", "/..", "/.", "/%2e", "/%2f", "/v1", "/v1/", "/v1/key", "/v1/key/", "/v1/nope", "/V1/status", "/v1/key/LIST/",
	"/v1/key/list/..", "/v1/key/list/../", "/v1/key/./list/x", "/v1/key/list/.", "/v1/key/list/x/..", "/v1/../v1/status",
	"/v1/key/encrypt%2fsecret", "/v1/key%2fencrypt/secret", "/v1%2fstatus", "/v1/key/encrypt%2fsecret\"", "/v1/key/list%2f",
	"/v1/key/list/%2e%2e", "/v1/key/list/%2e%2e/x", "/v1/key/%2e%2e/list/", "/v1/key/%2e%2e/key/list/\"", "/v1/key/list%3f",
	"/v1/%6bey/list/", "/v1/key/%6cist", "//v1/key/list", "//v1//key///list//", "/v1//key/list/a%2Fb", "//v1/key/list/a%20b",
	"//v1/key/list?x=%20&y=<>'\"", "//v1/status?", "/v1/key/create?", "//v1/status?a?b", "//v1/key/list?\xc3\xa9",
	"/v1/key/list/a;b", "//v1/status;a", "//a:b@c", "//a!b'c(d)e*f[g]", "/v1//a^b", "/v1//a|b`{c}", "/v1//\xc3\xa9", "/v1//%C3%A9",
	"/v1/key/describe/%", "/v1/key/describe/%4", "/v1/key/describe/%zz", "/v1/key/describe/%4z", "//v1/%zz", "/v1/nope/%zz",
	"/v1/key/describe/%e2%82", "/v1/key/describe/%f0%9f%98%80", "/v1/key/describe/%ed%a0%80", "/v1/key/describe/\xe2\x82\xac",
	"/v1/key/describe/-a", "/v1/key/describe/a-", "/v1/key/describe/_", "/v1/key/describe/" + strings.Repeat("a", 81),
	"/v1/key/list/-", "/v1/key/list/_", "/v1/key/list/a*b", "/v1/key/list/**", "/v1/key/list/-*",
	"/v1/key/list/" + strings.Repeat("a", 80) + "*", "/v1/identity/self", "/v1/identity/self/", "/v1/identity/self/describe/",
	"/v1/identity/self/describe/x", "/v1/log", "/v1/status/", "/v1/status/x", "/version/", "*", "v1/status", "?x",
	"http://kes/v1/key/list/", "https://user@kes/v1/key/list/", "https://kes//v1/status", "/v1/key/list/#x", "/v1/key/list/a#x",
}
