// The request of Go's stock module, with another image.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

const body = "seven words that nobody may read there"

func main() {
	ctx := context.Background()
	begun := time.Now()
	container, err := testcontainers.GenericContainer(ctx, testcontainers.GenericContainerRequest{
		ContainerRequest: testcontainers.ContainerRequest{
			Image:        "localhost/kestack",
			Cmd:          []string{"server", "/data"},
			Env:          map[string]string{"MINIO_ROOT_USER": "minioadmin", "MINIO_ROOT_PASSWORD": "minioadmin"},
			ExposedPorts: []string{"9000/tcp"},
			WaitingFor:   wait.ForHTTP("/minio/health/live").WithPort("9000/tcp"),
		},
		Started: true,
	})
	must(err)
	defer container.Terminate(ctx)
	endpoint, err := container.PortEndpoint(ctx, "9000/tcp", "")
	must(err)
	started := time.Now()
	client, err := minio.New(endpoint, &minio.Options{Creds: credentials.NewStaticV4("minioadmin", "minioadmin", "")})
	must(err)
	_, err = put(ctx, client)
	must(err)
	fmt.Printf("# go: start %d ms, first PUT %d ms\n", started.Sub(begun).Milliseconds(), time.Since(started).Milliseconds())

	object, err := client.GetObject(ctx, "encrypted", "hello", minio.GetObjectOptions{})
	must(err)
	got, err := io.ReadAll(object)
	must(err)
	found, err := object.Stat()
	must(err)
	holds(string(got) == body, "read back")
	holds(found.Metadata.Get("x-amz-server-side-encryption") == "aws:kms", "encrypted with KMS")
	holds(strings.HasSuffix(found.Metadata.Get("x-amz-server-side-encryption-aws-kms-key-id"), "minio-backend-key"), "its key")

	holds(run(ctx, container, "grep", "-rlF", body, "/data") == 1, "nothing in clear on the drive")
	holds(run(ctx, container, "sh", "-c", os.Getenv("KESTACK_DENY")) == 0, "deny")
	_, err = put(ctx, client)
	holds(err != nil, "refused without KES")
}

func put(ctx context.Context, client *minio.Client) (minio.UploadInfo, error) {
	bounded, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return client.PutObject(bounded, "encrypted", "hello", bytes.NewReader([]byte(body)), int64(len(body)), minio.PutObjectOptions{})
}

func run(ctx context.Context, container testcontainers.Container, command ...string) int {
	code, output, err := container.Exec(ctx, command)
	must(err)
	_, err = io.Copy(io.Discard, output)
	must(err)
	return code
}

func must(err error) {
	if err != nil {
		log.Panic(err)
	}
}

func holds(condition bool, what string) {
	if !condition {
		log.Panicf("not so: %s", what)
	}
}
