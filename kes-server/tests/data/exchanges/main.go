// Records how Go's own HTTP server and JSON decoder, on which MinIO KES is built, take every kind of request: run
// `go run .` in this folder with the Go release that go.mod names. It has the routes and the rules for names of the
// API, and nothing else of a key server.
package main

import (
	"bufio"
	"encoding/json"
	"os"
)

func main() {
	write("targets.jsonl", targets())
	write("bodies.jsonl", bodies())
}

// One JSON array a line. Bytes are written as the characters of Latin-1.
func write(name string, lines [][]any) {
	file, err := os.Create(name)
	check(err)
	buffered := bufio.NewWriter(file)
	encoder := json.NewEncoder(buffered)
	encoder.SetEscapeHTML(false)
	for _, line := range lines {
		check(encoder.Encode(line))
	}
	check(buffered.Flush())
	check(file.Close())
}

func latin1(bytes []byte) string {
	runes := make([]rune, len(bytes))
	for i, b := range bytes {
		runes[i] = rune(b)
	}
	return string(runes)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
