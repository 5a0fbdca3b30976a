package rollcall;

import com.alipay.sofa.registry.client.api.Configurator;
import com.alipay.sofa.registry.client.api.Publisher;
import com.alipay.sofa.registry.client.api.Register;
import com.alipay.sofa.registry.client.api.Subscriber;
import com.alipay.sofa.registry.client.api.model.ConfigData;
import com.alipay.sofa.registry.client.api.model.UserData;
import com.alipay.sofa.registry.client.api.registration.BaseRegistration;
import com.alipay.sofa.registry.client.api.registration.ConfiguratorRegistration;
import com.alipay.sofa.registry.client.api.registration.PublisherRegistration;
import com.alipay.sofa.registry.client.api.registration.SubscriberRegistration;
import com.alipay.sofa.registry.client.provider.AbstractInternalRegister;
import com.alipay.sofa.registry.client.provider.DefaultRegistryClient;
import com.alipay.sofa.registry.client.provider.DefaultRegistryClientConfigBuilder;
import com.alipay.sofa.registry.core.model.ScopeEnum;
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Puts the published registry client under the command of a test: one JSON command a line on stdin, one JSON event a line on stdout.
 *
 * <p>Nothing of the client is replaced, so that what a test sees is what an application would see. Times are System.nanoTime(), which every
 * process of one host reads from the same clock. Ends when stdin closes, so a dead test leaves no driver behind.
 */
public final class Driver {
    private static final Gson GSON = new GsonBuilder().serializeNulls().disableHtmlEscaping().create();

    private final PrintStream out;
    private final Map<String, Register> registers = new ConcurrentHashMap<>();
    private DefaultRegistryClient client;

    private Driver(PrintStream out) {
        this.out = out;
    }

    public static void main(String[] arguments) throws IOException {
        Driver driver = new Driver(System.out);
        // Whatever the client prints must not look like an event.
        System.setOut(System.err);
        driver.say(event("ready"));
        driver.obey(new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)));
        Runtime.getRuntime().halt(0);
    }

    private void obey(BufferedReader commands) throws IOException {
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            JsonObject command = JsonParser.parseString(line).getAsJsonObject();
            long at = System.nanoTime();
            try {
                if (perform(command)) {
                    answer("done", command, at, null);
                }
            } catch (Exception e) {
                answer("failed", command, at, e.toString());
            }
        }
    }

    /** Says whether the command is already done; one that waits answers later by itself. */
    private boolean perform(JsonObject command) {
        switch (command.get("do").getAsString()) {
            case "connect" -> connect(command);
            case "publish" -> publish(command);
            case "republish" -> ((Publisher) register(command)).republish(values(command));
            case "subscribe" -> subscribe(command);
            case "configure" -> configure(command);
            case "unregister" -> register(command).unregister();
            case "peek" -> peek(command);
            case "acknowledged" -> {
                awaitAcknowledgement(command);
                return false;
            }
            default -> throw new IllegalArgumentException("unknown command " + command.get("do"));
        }
        return true;
    }

    private void connect(JsonObject command) {
        DefaultRegistryClientConfigBuilder config = DefaultRegistryClientConfigBuilder.start()
                .setRegistryEndpoint(text(command, "host"))
                .setRegistryEndpointPort(command.get("port").getAsInt())
                .setZone(text(command, "zone"))
                .setAppName(text(command, "app"))
                // With more threads the client itself may call back an older list after a newer one.
                .setObserverThreadCoreSize(1)
                .setObserverThreadMaxSize(1);
        if (text(command, "instance") != null) {
            config.setInstanceId(text(command, "instance"));
        }
        if (text(command, "dataCenter") != null) {
            config.setDataCenter(text(command, "dataCenter"));
        }
        client = new DefaultRegistryClient(config.build());
        client.init();
    }

    private void publish(JsonObject command) {
        PublisherRegistration registration = new PublisherRegistration(text(command, "dataId"));
        group(registration, command);
        registers.put(text(command, "name"), client.register(registration, values(command)));
    }

    private void subscribe(JsonObject command) {
        String name = text(command, "name");
        SubscriberRegistration registration = new SubscriberRegistration(
                text(command, "dataId"), (dataId, data) -> say(list("data", name, data)));
        group(registration, command);
        String scope = text(command, "scope");
        if (scope != null) {
            registration.setScopeEnum(ScopeEnum.valueOf(scope));
        }
        registers.put(name, client.register(registration));
    }

    private void configure(JsonObject command) {
        String name = text(command, "name");
        ConfiguratorRegistration registration = new ConfiguratorRegistration(
                text(command, "dataId"), (dataId, data) -> say(value("config", name, data)));
        group(registration, command);
        registers.put(name, client.register(registration));
    }

    private void peek(JsonObject command) {
        String name = text(command, "name");
        Register register = register(command);
        say(register instanceof Subscriber subscriber
                ? list("peek", name, subscriber.peekData())
                : value("peek", name, ((Configurator) register).peekData()));
    }

    private void awaitAcknowledgement(JsonObject command) {
        AbstractInternalRegister register = (AbstractInternalRegister) register(command);
        Thread waiting = new Thread(() -> {
            // The client tells nobody; its own question is asked until the answer is yes or the test gives up and closes stdin.
            while (!register.isDone()) {
                try {
                    Thread.sleep(0, 200_000);
                } catch (InterruptedException e) {
                    return;
                }
            }
            answer("done", command, System.nanoTime(), null);
        });
        waiting.setDaemon(true);
        waiting.start();
    }

    private Register register(JsonObject command) {
        Register register = registers.get(text(command, "name"));
        if (register == null) {
            throw new IllegalArgumentException("nothing is named " + command.get("name"));
        }
        return register;
    }

    private static JsonObject list(String kind, String name, UserData data) {
        JsonObject event = event(kind);
        event.addProperty("name", name);
        event.addProperty("localZone", data == null ? null : data.getLocalZone());
        event.add("zones", GSON.toJsonTree(data == null ? null : data.getZoneData()));
        return event;
    }

    private static JsonObject value(String kind, String name, ConfigData data) {
        JsonObject event = event(kind);
        event.addProperty("name", name);
        event.addProperty("value", data == null ? null : data.getData());
        return event;
    }

    private void answer(String kind, JsonObject command, long at, String message) {
        JsonObject event = new JsonObject();
        event.addProperty("event", kind);
        event.addProperty("at", at);
        event.add("id", command.get("id"));
        event.addProperty("message", message);
        say(event);
    }

    private static JsonObject event(String kind) {
        JsonObject event = new JsonObject();
        event.addProperty("event", kind);
        event.addProperty("at", System.nanoTime());
        return event;
    }

    private static void group(BaseRegistration registration, JsonObject command) {
        if (text(command, "group") != null) {
            registration.setGroup(text(command, "group"));
        }
    }

    private static String[] values(JsonObject command) {
        return GSON.fromJson(command.get("values"), String[].class);
    }

    private static String text(JsonObject command, String key) {
        JsonElement value = command.get(key);
        return value == null || value.isJsonNull() ? null : value.getAsString();
    }

    /** One line of ASCII: a lone surrogate has no other spelling that survives a stream of bytes. */
    private void say(JsonObject event) {
        String json = GSON.toJson(event);
        StringBuilder line = new StringBuilder(json.length() + 64);
        for (int i = 0; i < json.length(); i++) {
            char unit = json.charAt(i);
            if (unit < 0x7f) {
                line.append(unit);
            } else {
                line.append(String.format("\\u%04x", (int) unit));
            }
        }
        line.append('\n');
        byte[] bytes = line.toString().getBytes(StandardCharsets.US_ASCII);
        synchronized (out) {
            out.write(bytes, 0, bytes.length);
            out.flush();
        }
    }
}
