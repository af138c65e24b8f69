// The stock module of Node, with another image.
import assert from "node:assert/strict";
import test from "node:test";

import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { MinioContainer } from "@testcontainers/minio";

const Body = "seven words that nobody may read there";

test("the stock module encrypts", async () => {
    const begun = performance.now();
    const minio = await new MinioContainer("localhost/kestack").start();
    const client = new S3Client({
        endpoint: minio.getConnectionUrl(),
        credentials: { accessKeyId: minio.getUsername(), secretAccessKey: minio.getPassword() },
        region: "us-east-1",
        forcePathStyle: true,
    });
    try {
        const started = performance.now();
        const put = () => client.send(new PutObjectCommand({ Bucket: "encrypted", Key: "hello", Body }));
        const answer = await put();
        console.log(`# node: start ${Math.round(started - begun)} ms, first PUT ${Math.round(performance.now() - started)} ms`);
        assert.equal(answer.ServerSideEncryption, "aws:kms");
        assert.match(answer.SSEKMSKeyId, /minio-backend-key$/);
        const got = await client.send(new GetObjectCommand({ Bucket: "encrypted", Key: "hello" }));
        assert.equal(await got.Body.transformToString(), Body);
        assert.equal((await minio.exec(["grep", "-rlF", Body, "/data"])).exitCode, 1, "the drive holds it in clear");
        assert.equal((await minio.exec(["sh", "-c", process.env.KESTACK_DENY])).exitCode, 0);
        await assert.rejects(put(), "an object was taken without KES");
    } finally {
        client.destroy();
        await minio.stop();
    }
});
