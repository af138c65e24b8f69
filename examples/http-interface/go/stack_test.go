package example

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"
)

var stack struct{ URL, Token string }

// TestMain reads where the stack is, and proves at the end that it encrypts. KESTACK_INTERFACE names its interface.json.
func TestMain(m *testing.M) {
	text, err := os.ReadFile(os.Getenv("KESTACK_INTERFACE"))
	if err != nil || json.Unmarshal(text, &stack) != nil {
		panic("set KESTACK_INTERFACE to the stack's interface.json")
	}
	code := m.Run()
	if proof, err := ask("POST", "/v1/verify", nil); err != nil || proof["proven"] != true {
		panic(fmt.Sprint("the stack does not encrypt: ", proof, err))
	}
	os.Exit(code)
}

func ask(method, path string, body any) (map[string]any, error) {
	text, _ := json.Marshal(body)
	if body == nil {
		text = nil
	}
	request, _ := http.NewRequest(method, stack.URL+path, bytes.NewReader(text))
	request.Header.Set("Authorization", "Bearer "+stack.Token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	said := map[string]any{}
	err = json.NewDecoder(answer.Body).Decode(&said)
	if answer.StatusCode >= 300 {
		err = fmt.Errorf("%v: %v", said["detail"], said["hint"])
	}
	return said, err
}

// sandbox is one for this test: bucket, key, user, password, region and endpoint.
func sandbox(t *testing.T) map[string]any {
	made, err := ask("POST", "/v1/sandboxes", map[string]any{"lease_seconds": 600})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ask("DELETE", fmt.Sprint("/v1/sandboxes/", made["name"]), nil) })
	return made
}
