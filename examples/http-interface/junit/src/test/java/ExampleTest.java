import static org.junit.jupiter.api.Assertions.*;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

@ExtendWith(Stack.class)
class ExampleTest {
    @Test
    void theSandboxEncryptsWithItsOwnKey(Stack.Sandbox sandbox) {
        var bucket = Stack.ask("GET", "/v1/buckets/" + sandbox.of("bucket"), "");
        assertEquals(sandbox.of("key"), Stack.field(bucket, "key"));
    }

    @Test
    void aFaultHeals(Stack.Sandbox sandbox) {
        Stack.ask("POST", "/v1/faults", "{\"fault\": \"kes-deny\", \"seconds\": 60}");
        assertEquals("kes-deny", Stack.field(Stack.ask("DELETE", "/v1/faults", ""), "fault"));
        assertNotNull(sandbox.of("password"));
    }
}
