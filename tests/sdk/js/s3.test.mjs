// The AWS SDK for JavaScript against a stack, with the SDK's defaults.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";

const s3 = new S3Client({ forcePathStyle: true });

test("an object is encrypted with the bucket's key and reads back", async () => {
  const body = randomBytes(200_000);
  const put = await s3.send(new PutObjectCommand({ Bucket: "encrypted", Key: "js/object", Body: body }));
  assert.equal(put.ServerSideEncryption, "aws:kms");
  assert.equal(put.SSEKMSKeyId, "arn:aws:kms:sdk-key");
  const got = await s3.send(new GetObjectCommand({ Bucket: "encrypted", Key: "js/object" }));
  assert.deepEqual(Buffer.from(await got.Body.transformToByteArray()), body);
});

test("metadata and listings work", async () => {
  await s3.send(new PutObjectCommand({ Bucket: "default-key", Key: "js/listed", Body: "hello" }));
  const head = await s3.send(new HeadObjectCommand({ Bucket: "default-key", Key: "js/listed" }));
  assert.equal(head.ServerSideEncryption, "AES256");
  const list = await s3.send(new ListObjectsV2Command({ Bucket: "default-key", Prefix: "js/" }));
  assert.deepEqual(list.Contents.map((entry) => entry.Key), ["js/listed"]);
});
