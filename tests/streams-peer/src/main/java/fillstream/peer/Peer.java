package fillstream.peer;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/** The work of {@code fillstream bench} on Kafka Streams: passes records on, or numbers the records of each key. */
public final class Peer {
    private static final String COUNTS = "counts";

    private Peer() {}

    public static void main(String[] args) throws Exception {
        Map<String, String> given = flags(args);
        Properties config = tuned();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, need(given, "application-id"));
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, need(given, "bootstrap"));
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, need(given, "commit-ms"));
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, need(given, "threads"));
        config.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, need(given, "replication"));
        config.put(StreamsConfig.STATE_DIR_CONFIG, need(given, "state-dir"));
        config.put("consumer.auto.offset.reset", "earliest");
        // A producer waits no longer for more records than half of the time until they are committed.
        long commitMs = Long.parseLong(need(given, "commit-ms"));
        config.put("producer.linger.ms", String.valueOf(Math.min(5, commitMs / 2)));

        KafkaStreams streams = new KafkaStreams(topology(need(given, "work"), given), config);
        CountDownLatch ended = new CountDownLatch(1);
        streams.setUncaughtExceptionHandler(
                e -> {
                    e.printStackTrace();
                    ended.countDown();
                    return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse
                            .SHUTDOWN_CLIENT;
                });
        streams.setStateListener(
                (now, before) -> {
                    if (now == KafkaStreams.State.RUNNING) {
                        System.out.println("READY");
                        System.out.flush();
                    }
                });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
        streams.start();
        ended.await();
        System.exit(1);
    }

    private static Topology topology(String work, Map<String, String> given) {
        var bytes = Serdes.ByteArray();
        Topology topology = new Topology();
        topology.addSource("in", bytes.deserializer(), bytes.deserializer(), need(given, "input"));
        switch (work) {
            case "pass" -> topology.addSink("out", need(given, "output"), bytes.serializer(), bytes.serializer(), "in");
            case "count" -> {
                topology.addProcessor("count", new Count(), "in");
                topology.addSink("out", need(given, "output"), bytes.serializer(), bytes.serializer(), "count");
            }
            default -> throw new IllegalArgumentException("--work " + work + ": pass or count");
        }
        return topology;
    }

    /** Appends to each value the number of its key's records so far, 8 bytes. */
    private static final class Count implements ProcessorSupplier<byte[], byte[], byte[], byte[]> {
        @Override
        public Set<StoreBuilder<?>> stores() {
            return Set.of(
                    Stores.keyValueStoreBuilder(Stores.inMemoryKeyValueStore(COUNTS), Serdes.ByteArray(), Serdes.Long())
                            .withLoggingEnabled(Map.of())
                            .withCachingEnabled());
        }

        @Override
        public Processor<byte[], byte[], byte[], byte[]> get() {
            return new ContextualProcessor<>() {
                private KeyValueStore<byte[], Long> counts;

                @Override
                public void init(ProcessorContext<byte[], byte[]> context) {
                    super.init(context);
                    counts = context.getStateStore(COUNTS);
                }

                @Override
                public void process(Record<byte[], byte[]> record) {
                    Long before = counts.get(record.key());
                    long count = before == null ? 1 : before + 1;
                    counts.put(record.key(), count);
                    byte[] value = record.value();
                    ByteBuffer numbered = ByteBuffer.allocate(value.length + Long.BYTES);
                    context().forward(record.withValue(numbered.put(value).putLong(count).array()));
                }
            };
        }
    }

    private static Properties tuned() throws IOException {
        Properties tuned = new Properties();
        try (InputStream in = Peer.class.getResourceAsStream("/tuned.properties")) {
            tuned.load(in);
        }
        return tuned;
    }

    private static Map<String, String> flags(String[] args) {
        Map<String, String> given = new HashMap<>();
        for (int i = 0; i + 1 < args.length; i += 2) {
            given.put(args[i].replaceFirst("^--", ""), args[i + 1]);
        }
        return given;
    }

    private static String need(Map<String, String> given, String flag) {
        String value = given.get(flag);
        if (value == null) {
            throw new IllegalArgumentException("--" + flag + " is missing");
        }
        return value;
    }
}
