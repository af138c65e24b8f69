// Calls every method of MinIO's Go SDK for KES, and prints a line of JSON for each: its name, and what went wrong.
// KES_SERVER, KES_CA_PATH, KES_CLIENT_CERT and KES_CLIENT_KEY name the server and the administrator.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"time"

	"github.com/minio/kms-go/kes"
)

const (
	made     = "sdk-made"
	imported = "sdk-imported"
)

// The policy and the identity of the stack's MinIO, which the server's configuration names.
var policy, identity = os.Getenv("SDK_POLICY"), kes.Identity(os.Getenv("SDK_IDENTITY"))

type check struct {
	method string
	run    func(context.Context, *kes.Client) error
}

// In this order: keys are made first and deleted last.
var checks = []check{
	{"Version", func(ctx context.Context, client *kes.Client) error {
		version, err := client.Version(ctx)
		return both(err, version != "", "no version")
	}},
	{"IsReady", func(ctx context.Context, client *kes.Client) error {
		ready, err := client.IsReady(ctx)
		return both(err, ready, "not ready")
	}},
	{"Status", func(ctx context.Context, client *kes.Client) error {
		state, err := client.Status(ctx)
		return both(err, state.Version != "" && state.KeyStoreReachable, fmt.Sprint(state))
	}},
	{"APIs", func(ctx context.Context, client *kes.Client) error {
		apis, err := client.APIs(ctx)
		has := slices.ContainsFunc(apis, func(api kes.API) bool { return api.Path == "/v1/key/create/" })
		return both(err, has, fmt.Sprint(apis))
	}},
	{"CreateKey", func(ctx context.Context, client *kes.Client) error {
		if err := client.CreateKey(ctx, made); err != nil {
			return err
		}
		return is(client.CreateKey(ctx, made), kes.ErrKeyExists)
	}},
	{"ImportKey", func(ctx context.Context, client *kes.Client) error {
		key := bytes.Repeat([]byte{7}, 32)
		return client.ImportKey(ctx, imported, &kes.ImportKeyRequest{Key: key, Cipher: kes.AES256})
	}},
	{"DescribeKey", func(ctx context.Context, client *kes.Client) error {
		info, err := client.DescribeKey(ctx, made)
		if err != nil {
			return err
		}
		if info.Name != made || time.Since(info.CreatedAt) > time.Hour {
			return fmt.Errorf("%+v", info)
		}
		_, err = client.DescribeKey(ctx, "absent")
		return is(err, kes.ErrKeyNotFound)
	}},
	{"ListKeys", func(ctx context.Context, client *kes.Client) error {
		names, _, err := client.ListKeys(ctx, "sdk", -1)
		slices.Sort(names)
		return both(err, slices.Equal(names, []string{imported, made}), fmt.Sprint(names))
	}},
	{"GenerateKey", func(ctx context.Context, client *kes.Client) error {
		key, err := client.GenerateKey(ctx, made, []byte("context"))
		if err != nil {
			return err
		}
		plaintext, err := client.Decrypt(ctx, made, key.Ciphertext, []byte("context"))
		return both(err, len(plaintext) == 32 && bytes.Equal(plaintext, key.Plaintext), "not the same data key")
	}},
	{"Encrypt", func(ctx context.Context, client *kes.Client) error {
		ciphertext, err := client.Encrypt(ctx, imported, []byte("plain"), nil)
		return both(err, len(ciphertext) > len("plain"), "no ciphertext")
	}},
	{"Decrypt", func(ctx context.Context, client *kes.Client) error {
		ciphertext, err := client.Encrypt(ctx, imported, []byte("plain"), []byte("context"))
		if err != nil {
			return err
		}
		plaintext, err := client.Decrypt(ctx, imported, ciphertext, []byte("context"))
		if err != nil || string(plaintext) != "plain" {
			return fmt.Errorf("%q, %w", plaintext, err)
		}
		_, err = client.Decrypt(ctx, imported, ciphertext, []byte("another"))
		return is(err, kes.ErrDecrypt)
	}},
	{"HMAC", func(ctx context.Context, client *kes.Client) error {
		one, err := client.HMAC(ctx, made, []byte("message"))
		if err != nil {
			return err
		}
		again, err := client.HMAC(ctx, made, []byte("message"))
		return both(err, len(one) == 32 && bytes.Equal(one, again), "not the same")
	}},
	{"DescribePolicy", func(ctx context.Context, client *kes.Client) error {
		info, err := client.DescribePolicy(ctx, policy)
		if err != nil {
			return err
		}
		return both(nil, info.Name == policy, fmt.Sprint(info))
	}},
	{"GetPolicy", func(ctx context.Context, client *kes.Client) error {
		found, err := client.GetPolicy(ctx, policy)
		if err != nil {
			return err
		}
		return both(nil, len(found.Allow) > 0, "it allows nothing")
	}},
	{"ListPolicies", func(ctx context.Context, client *kes.Client) error {
		names, _, err := client.ListPolicies(ctx, "", -1)
		return both(err, slices.Contains(names, policy), fmt.Sprint(names))
	}},
	{"DescribeIdentity", func(ctx context.Context, client *kes.Client) error {
		info, err := client.DescribeIdentity(ctx, identity)
		if err != nil {
			return err
		}
		return both(nil, info.Policy == policy && !info.IsAdmin, fmt.Sprintf("%+v", info))
	}},
	{"DescribeSelf", func(ctx context.Context, client *kes.Client) error {
		info, _, err := client.DescribeSelf(ctx)
		if err != nil {
			return err
		}
		return both(nil, info.IsAdmin, fmt.Sprintf("%+v", info))
	}},
	{"ListIdentities", func(ctx context.Context, client *kes.Client) error {
		found, _, err := client.ListIdentities(ctx, "", -1)
		return both(err, slices.Contains(found, identity), fmt.Sprint(found))
	}},
	{"Metrics", func(ctx context.Context, client *kes.Client) error {
		metric, err := client.Metrics(ctx)
		return both(err, metric.RequestOK > 0, fmt.Sprintf("%+v", metric))
	}},
	{"AuditLog", func(ctx context.Context, client *kes.Client) error {
		stream, err := client.AuditLog(ctx)
		if err != nil {
			return err
		}
		defer stream.Close()
		ended := make(chan bool, 1)
		go func() { ended <- stream.Next() }()
		for {
			if _, err := client.DescribeKey(ctx, made); err != nil {
				return err
			}
			select {
			case found := <-ended:
				path := stream.Event().APIPath
				return both(nil, found && path == "/v1/key/describe/"+made, path)
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(50 * time.Millisecond):
			}
		}
	}},
	{"ErrorLog", func(ctx context.Context, client *kes.Client) error {
		stream, err := client.ErrorLog(ctx)
		if err != nil {
			return err
		}
		return stream.Close()
	}},
	{"DeleteKey", func(ctx context.Context, client *kes.Client) error {
		for _, name := range []string{made, imported} {
			if err := client.DeleteKey(ctx, name); err != nil {
				return err
			}
		}
		return is(client.DeleteKey(ctx, made), kes.ErrKeyNotFound)
	}},
}

// both is the error, else what was seen if that is not right.
func both(err error, right bool, seen string) error {
	if err == nil && !right {
		return errors.New(seen)
	}
	return err
}

func is(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return fmt.Errorf("%v instead of %w", err, expected)
}

func connect() (*kes.Client, error) {
	certificate, err := tls.LoadX509KeyPair(os.Getenv("KES_CLIENT_CERT"), os.Getenv("KES_CLIENT_KEY"))
	if err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(os.Getenv("KES_CA_PATH"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: roots, MinVersion: tls.VersionTLS12}
	return kes.NewClientWithConfig(os.Getenv("KES_SERVER"), config), nil
}

// untried are the methods of the client that no check calls: none may be forgotten when the SDK gets another.
func untried() []string {
	var names []string
	kind := reflect.TypeFor[*kes.Client]()
	for number := range kind.NumMethod() {
		name := kind.Method(number).Name
		if !slices.ContainsFunc(checks, func(check check) bool { return check.method == name }) {
			names = append(names, name)
		}
	}
	return names
}

func main() {
	client, err := connect()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	said := json.NewEncoder(os.Stdout)
	for _, check := range checks {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		line := map[string]string{"method": check.method}
		if err := check.run(ctx, client); err != nil {
			line["error"] = err.Error()
		}
		cancel()
		_ = said.Encode(line)
	}
	for _, name := range untried() {
		_ = said.Encode(map[string]string{"method": name, "error": "no check calls it"})
	}
}
