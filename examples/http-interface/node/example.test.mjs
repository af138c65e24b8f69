import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { GetObjectCommand, HeadObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { ask, drop, sandbox, setup, teardown } from "./stack.mjs";

before(setup);
after(teardown);

test("objects are encrypted, and cannot be read while KES refuses", async (t) => {
  const { bucket, endpoint, key, name, password, region, user } = await sandbox();
  t.after(() => drop({ name }));
  const credentials = { accessKeyId: user, secretAccessKey: password };
  const s3 = new S3Client({ credentials, endpoint, forcePathStyle: true, maxAttempts: 1, region });
  await s3.send(new PutObjectCommand({ Bucket: bucket, Key: "a", Body: "content" }));
  const head = await s3.send(new HeadObjectCommand({ Bucket: bucket, Key: "a" }));
  assert.ok(head.SSEKMSKeyId.endsWith(key));
  await ask("POST", "/v1/faults", { fault: "kes-deny", seconds: 60 });
  await assert.rejects(s3.send(new GetObjectCommand({ Bucket: bucket, Key: "a" })));
  await ask("DELETE", "/v1/faults");
});
