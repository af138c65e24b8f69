import io.minio.GetObjectArgs;
import io.minio.MinioClient;
import io.minio.ObjectWriteResponse;
import io.minio.PutObjectArgs;
import java.io.ByteArrayInputStream;
import org.testcontainers.containers.MinIOContainer;
import org.testcontainers.utility.DockerImageName;

/** The stock module of Java, with another image. */
public class StockModule {
    static final byte[] BODY = "seven words that nobody may read there".getBytes();

    public static void main(String[] arguments) throws Exception {
        long begun = System.nanoTime();
        var image = DockerImageName.parse("localhost/kestack").asCompatibleSubstituteFor("minio/minio");
        try (var minio = new MinIOContainer(image)) {
            minio.start();
            var client = MinioClient.builder()
                .endpoint(minio.getS3URL())
                .credentials(minio.getUserName(), minio.getPassword())
                .build();
            long started = System.nanoTime();
            ObjectWriteResponse answer = put(client);
            System.out.printf("# java: start %d ms, first PUT %d ms%n", (started - begun) / 1_000_000, (System.nanoTime() - started) / 1_000_000);
            check("aws:kms".equals(answer.headers().get("x-amz-server-side-encryption")), "answered " + answer.headers());
            check(answer.headers().get("x-amz-server-side-encryption-aws-kms-key-id").endsWith("minio-backend-key"), "its key");
            var got = client.getObject(GetObjectArgs.builder().bucket("encrypted").object("hello").build()).readAllBytes();
            check(java.util.Arrays.equals(got, BODY), "read back");
            check(minio.execInContainer("grep", "-rlF", new String(BODY), "/data").getExitCode() == 1, "the drive holds it in clear");
            check(minio.execInContainer("sh", "-c", System.getenv("KESTACK_DENY")).getExitCode() == 0, "deny");
            check(isRefused(client), "an object was taken without KES");
        }
    }

    static ObjectWriteResponse put(MinioClient client) throws Exception {
        return client.putObject(PutObjectArgs.builder().bucket("encrypted").object("hello").stream(new ByteArrayInputStream(BODY), BODY.length, -1).build());
    }

    static boolean isRefused(MinioClient client) {
        try {
            put(client);
            return false;
        } catch (Exception refused) {
            return true;
        }
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new IllegalStateException(what);
        }
    }
}
