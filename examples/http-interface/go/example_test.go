package example

import (
	"fmt"
	"net/http"
	"testing"
)

func TestTheSandboxEncryptsAndAFaultHeals(t *testing.T) {
	mine := sandbox(t)
	bucket, err := ask("GET", fmt.Sprint("/v1/buckets/", mine["bucket"]), nil)
	if err != nil || bucket["key"] != mine["key"] {
		t.Fatal(bucket, err)
	}
	if _, err := ask("POST", "/v1/faults", map[string]any{"fault": "kes-deny", "seconds": 60}); err != nil {
		t.Fatal(err)
	}
	if answer, err := http.Get(fmt.Sprint(mine["endpoint"], "/minio/health/live")); err != nil || answer.StatusCode != 200 {
		t.Error("MinIO itself is well: ", err)
	}
	if healed, err := ask("DELETE", "/v1/faults", nil); err != nil || healed["fault"] != "kes-deny" {
		t.Fatal(healed, err)
	}
}
