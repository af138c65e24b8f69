// The AWS SDK for JavaScript over TLS: Node.js trusts the stack's authority by NODE_EXTRA_CA_CERTS.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";

const s3 = new S3Client({ forcePathStyle: true });

test("an object under the client's own key reads back with that key alone", async () => {
  const key = randomBytes(32);
  const own = {
    SSECustomerAlgorithm: "AES256",
    SSECustomerKey: key.toString("base64"),
    SSECustomerKeyMD5: createHash("md5").update(key).digest("base64"),
  };
  const object = { Bucket: "encrypted", Key: "js/own" };
  await s3.send(new PutObjectCommand({ ...object, ...own, Body: "hello" }));
  const got = await s3.send(new GetObjectCommand({ ...object, ...own }));
  assert.equal(await got.Body.transformToString(), "hello");
  await assert.rejects(s3.send(new GetObjectCommand(object)));
});
