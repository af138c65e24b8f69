import java.net.URI;
import java.net.http.*;
import java.nio.file.*;
import java.util.regex.Pattern;
import org.junit.jupiter.api.extension.*;

/** A sandbox for each test as a parameter, and the proof at the end. KESTACK_INTERFACE names the stack's interface.json. */
class Stack implements ParameterResolver, AfterAllCallback {
    record Sandbox(String json) implements AutoCloseable {
        String of(String name) { return field(json, name); }
        public void close() { ask("DELETE", "/v1/sandboxes/" + of("name"), ""); }
    }

    static String field(String json, String name) {
        var found = Pattern.compile('"' + name + "\"\\s*:\\s*\"?([^\",}]*)").matcher(json);
        return found.find() ? found.group(1) : null;
    }

    static String ask(String method, String path, String body) {
        try {
            var stack = Files.readString(Path.of(System.getenv("KESTACK_INTERFACE")));
            var request = HttpRequest.newBuilder(URI.create(field(stack, "url") + path))
                .header("Authorization", "Bearer " + field(stack, "token")).header("Content-Type", "application/json")
                .method(method, HttpRequest.BodyPublishers.ofString(body)).build();
            var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() >= 300) throw new IllegalStateException(answer.body());
            return answer.body();
        } catch (java.io.IOException | InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }

    public boolean supportsParameter(ParameterContext parameter, ExtensionContext test) {
        return parameter.getParameter().getType() == Sandbox.class;
    }

    /** JUnit closes what the store of a test holds. */
    public Object resolveParameter(ParameterContext parameter, ExtensionContext test) {
        var sandbox = new Sandbox(ask("POST", "/v1/sandboxes", "{\"lease_seconds\": 600}"));
        test.getStore(ExtensionContext.Namespace.create(Stack.class)).put(sandbox.of("name"), sandbox);
        return sandbox;
    }

    public void afterAll(ExtensionContext tests) {
        if (!"true".equals(field(ask("POST", "/v1/verify", ""), "proven"))) throw new AssertionError("it does not encrypt");
    }
}
